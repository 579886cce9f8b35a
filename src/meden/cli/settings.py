"""How settings are written on a command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meden._checks import InputError
from meden.member import ModelMaker
from meden.recipe.yaml_text import read_yaml
from meden.space import Choice, FromData, IntUniform, LogUniform, Maybe, Uniform
from meden.space.dimensions import Dimension
from meden.space.names import AskedSpace, check_names

COCKTAIL = "cocktail"


def parse_space(texts: Sequence[str]) -> AskedSpace:
    """Return the space that ``--search`` options describe; empty if there are none.

    Raises:
        InputError: naming the option that cannot be read.

    Example:
        >>> parse_space(["l2=1e-5:1:log", "width=64,128"])
        {'l2': LogUniform(low=1e-05, high=1.0), 'width': Choice(64, 128)}
        >>> parse_space(["mixup=off:0.1:1", "l1=data"])
        {'mixup': Maybe(dimension=Uniform(low=0.1, high=1.0)), 'l1': FromData(decades=4.0)}
    """
    pairs = [_dimension(text) for text in texts]
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--search must give each setting once, got {twice[0]!r} twice")
    return dict(pairs)


def parse_settings(texts: Iterable[str], option: str, make_model: ModelMaker) -> dict[str, Any]:
    """Return ``name=value`` texts as values; names are recipe fields, short names or arguments of ``make_model``.

    Raises:
        InputError: naming the option and the text that cannot be read.

    Example:
        >>> from meden.models import MLP
        >>> parse_settings(["l2=1e-3", "optimizer=sgd", "early_stopping=none"], "--set", MLP)
        {'l2': 0.001, 'optimizer': 'sgd', 'early_stopping': None}
    """
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not name.strip():
            raise InputError(f"{option} must look like lr=0.01, got {text!r}")
    values: dict[str, Any] = {}
    for name, _, value in pairs:
        if name.strip() in values:
            raise InputError(f"{option} must give each setting once, got {name.strip()!r} twice")
        values[name.strip()] = parse_value(value)
    try:
        check_names(values, make_model)
    except InputError as error:
        raise InputError(f"{option} {error}") from None
    return values


def parse_alternatives(texts: Iterable[str], make_model: ModelMaker) -> dict[str, Mapping[str, Any]]:
    """Return what ``--with`` options describe.

    Raises:
        InputError: naming the option that cannot be read.

    Example:
        >>> from meden.models import MLP
        >>> parse_alternatives(["both: l2=0.01, dropout=0.5"], MLP)
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
        alternatives[name] = parse_settings(settings.split(","), f"--with {name!r}:", make_model)
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
        return read_yaml(text)
    except InputError:
        return text.strip()


def _dimension(text: str) -> tuple[str, Dimension | FromData]:
    name, equals, values = text.partition("=")
    try:
        if not equals or not name.strip():
            raise ValueError
        maybe, range_of = values.startswith("off:"), values.removeprefix("off:")
        dimension = _range(range_of)
        return name.strip(), Maybe(dimension) if maybe else dimension  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"--search {text!r}: {error}") from None
    except ValueError:
        raise InputError(
            "--search must look like l2=1e-5:1:log, dropout=0:0.6, depth=1:4:int, width=64,128, mixup=off:0.1:1 or "
            f"l1=data, or be cocktail alone, got {text!r}"
        ) from None


def _range(text: str) -> Dimension | FromData:
    if not text.strip():
        raise ValueError
    if text == "data":
        return FromData()
    if ":" not in text:
        return Choice(*(parse_value(value) for value in text.split(",")))
    low, high, *kind = text.split(":")
    if kind == ["int"]:
        return IntUniform(int(low), int(high))
    if kind not in ([], ["log"]):
        raise ValueError
    return (LogUniform if kind else Uniform)(float(low), float(high))
