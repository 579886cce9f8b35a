"""What commands that train share: how a table's network starts out, and how settings are written on a command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from meden._checks import InputError
from meden.models import MLP
from meden.recipe import Recipe
from meden.search import Choice, IntUniform, LogUniform, Uniform
from meden.search.space import Dimension, Space, check_names
from meden.stopping import EarlyStopping

TABLE_SPACE: dict[str, Dimension] = {
    "l2": LogUniform(1e-5, 0.3),
    "l1": LogUniform(1e-6, 1e-2),
    "dropout": Uniform(0.0, 0.6),
    "lr": LogUniform(5e-4, 1e-2),
}
"""What is searched unless ``--search`` says otherwise."""
TABLE_RECIPE = Recipe(epochs=100, batch_size=64, early_stopping=EarlyStopping(patience=12))
"""What every network of a table starts from, unless ``--recipe`` says otherwise."""


def table_recipe(path: Path | None) -> Recipe:
    """Return the recipe of a file, or the usual one of tables."""
    return TABLE_RECIPE if path is None else Recipe.load(path)


def parse_space(texts: Iterable[str]) -> Space:
    """Return the space that ``--search`` options describe; none is the default space of tables.

    Raises:
        InputError: naming the option that cannot be read.

    Example:
        >>> parse_space(["l2=1e-5:1:log", "width=64,128"])
        {'l2': LogUniform(low=1e-05, high=1.0), 'width': Choice(64, 128)}
    """
    return dict(_dimension(text) for text in texts) or TABLE_SPACE


def parse_settings(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Return ``name=value`` texts as values; names are recipe fields, short names or arguments of the MLP.

    Raises:
        InputError: naming the option and the text that cannot be read.

    Example:
        >>> parse_settings(["l2=1e-3", "optimizer=sgd", "early_stopping=none"], "--set")
        {'l2': 0.001, 'optimizer': 'sgd', 'early_stopping': None}
    """
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not name.strip():
            raise InputError(f"{option} must look like lr=0.01, got {text!r}")
    values = {name.strip(): parse_value(value) for name, _, value in pairs}
    try:
        check_names(values, MLP)
    except InputError as error:
        raise InputError(f"{option} {error}") from None
    return values


def parse_alternatives(texts: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Return what ``--with`` options describe.

    Raises:
        InputError: naming the option that cannot be read.

    Example:
        >>> parse_alternatives(["both: l2=0.01, dropout=0.5"])
        {'both': {'l2': 0.01, 'dropout': 0.5}}
    """
    alternatives: dict[str, Mapping[str, Any]] = {}
    for text in texts:
        name, colon, settings = text.partition(":")
        name = name.strip()
        if not colon or not name or not settings.strip():
            raise InputError(f"--with must look like 'both: l2=0.01, dropout=0.5', got {text!r}")
        if name in alternatives:
            raise InputError(f"--with must name each alternative once, got {name!r} twice")
        alternatives[name] = parse_settings(settings.split(","), f"--with {name!r}:")
    return alternatives


def parse_value(text: str) -> Any:
    """Return a number, a boolean, nothing (``none``), what YAML makes of it, or else the text itself.

    Example:
        >>> [parse_value(text) for text in ("3", "1e-3", "true", "none", "{patience: 5}", "sgd")]
        [3, 0.001, True, None, {'patience': 5}, 'sgd']
    """
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text.strip()


def _dimension(text: str) -> tuple[str, Dimension]:
    name, equals, values = text.partition("=")
    try:
        if not equals or not name.strip() or not values.strip():
            raise ValueError
        if ":" not in values:
            return name.strip(), Choice(*(parse_value(value) for value in values.split(",")))
        low, high, *kind = values.split(":")
        if kind == ["int"]:
            return name.strip(), IntUniform(int(low), int(high))
        if kind not in ([], ["log"]):
            raise ValueError
        return name.strip(), (LogUniform if kind else Uniform)(float(low), float(high))
    except InputError as error:
        raise InputError(f"--search {text!r}: {error}") from None
    except ValueError:
        raise InputError(
            f"--search must look like l2=1e-5:1:log, dropout=0:0.6, depth=1:4:int or width=64,128, got {text!r}"
        ) from None
