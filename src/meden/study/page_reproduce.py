"""How to make a study again: the command or the call that made it, its data, seed and versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from meden.language import Own
from meden.report import Code, Section
from meden.report.numbers import number, plural
from meden.report.recipes import recipe_text, versions
from meden.study.data_summary import SHOWN, DataSummary
from meden.study.model_reference import ModelReference
from meden.study.page_text import folds_text
from meden.study.results import COMMAND, DIVISION, Results

START = "start.yaml"
"""Name of the file of what all configurations start from."""
DIMENSIONS = "Choice, IntUniform, LogUniform, Maybe, Uniform"


def reproduce_section(results: Results, path: Path) -> Section:
    """Return what makes the study again, and what it was made of."""
    first = results.folds[0]
    parts = f"{len(first.fit):,} fitting rows, {len(first.stop):,} stop rows, {len(first.score):,} scored rows"
    facts = data_facts(results.data) | {
        "Folds": f"{folds_text(results)}; in the first one {parts}",
        "Searched": Own("; ".join(f"{name}: {dimension!r}" for name, dimension in results.space.items())),
        "Study seed": str(results.seed),
        "Search time": f"{number(results.seconds)} s",
    }
    text = "The same versions, data and seed give the same numbers on machines of the same type."
    if results.settings.get("time_limit") is not None:
        text = "The search had a time limit, so the configurations tried depend on the speed of the machine."
    codes = _codes(results, path)
    return Section(title="Reproduce", text=(text,), codes=codes, facts=facts | trained_with(results.versions))


def data_facts(data: DataSummary) -> dict[str, str]:
    """Return what the data are."""
    labels = ", ".join(map(str, data.classes[:SHOWN])) + (", …" if len(data.classes) > SHOWN else "")
    return {
        "Target": f"{data.target} ({data.task})",
        "Rows and features": f"{data.num_rows:,} rows, {plural(data.num_features, 'feature')}",
        **({"Classes": Own(f"{len(data.classes)}: {labels}")} if data.classes else {}),
        "Hash of the data": data.hash,
    }


def trained_with(found: Mapping[str, str]) -> dict[str, str]:
    """Return the versions that began a study, where they are known, beside those that made the report."""
    told = ", ".join(f"{name} {version}" for name, version in found.items())
    return ({"Trained with": told} if told else {}) | versions()


def data_code(data: DataSummary) -> list[str]:
    """Return the lines of Python that read the data."""
    if data.origin is None or data.origin.get("data") is None:
        return [f"data = ...  # the study's rows in their order; their hash begins with {data.hash[:SHOWN]}"]
    read = [f"data = meden.as_dataset({arguments_text(data.origin)})"]
    if data.robust:
        read += ["from meden.tabular.network import scaled_for", 'data = scaled_for("tabular", data)']
    return read


def maker_code(model: ModelReference) -> list[str]:
    """Return the lines of Python that say who makes the models."""
    if model.name is None:
        return [f"make_model = ...  # {model.text!r}"]
    if not model.arguments:
        return [f"make_model = meden.models.{model.name}"]
    return [
        "from functools import partial",
        f"make_model = partial(meden.models.{model.name}, {arguments_text(model.arguments)})",
    ]


def arguments_text(arguments: Mapping[str, Any]) -> str:
    """Return ``name=value`` for each, with commas."""
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def call_code(function: str, arguments: Iterable[str]) -> list[str]:
    """Return the lines of a call, an argument each."""
    return [f"{function}(", *(f"    {argument}," for argument in arguments), ")"]


def _codes(results: Results, path: Path) -> tuple[Code, ...]:
    command = results.notes.get(COMMAND)
    if isinstance(command, str):
        return (Code("Command", command),)
    if not results.settings:
        return ()
    return Code("The search in Python", _call(results, path)), Code(START, recipe_text(results.recipe))


def _call(results: Results, path: Path) -> str:
    """Return a call of :func:`meden.tune` with everything that decides its result."""
    division = results.notes.get(DIVISION)
    divided = division if isinstance(division, Mapping) else {}
    given = {name: value for name, value in {**divided, **results.settings}.items() if value is not None}
    folds = [] if divided else [f"folds=meden.load_study({str(path.parent)!r}).folds"]
    recipe = f'recipe=meden.Recipe.load("{START}")'
    if results.model.trains:
        command = results.model.arguments.get("command")
        subject = [
            f"train = ...  # {results.model.text!r}"
            if command is None
            else f"train = meden.search.Command({command!r})",
            f"rows = ...  # {results.data.num_rows:,} rows in their order",
        ]
        first = ["train", "rows=rows", "space=space"]
    else:
        subject = [*data_code(results.data), *maker_code(results.model)]
        first = ["make_model", "data", "space"]
    lines = [
        "import meden",
        f"from meden import {DIMENSIONS}",
        "",
        *subject,
        "space = {",
        *(f"    {name!r}: {dimension!r}," for name, dimension in results.space.items()),
        "}",
        *call_code(
            "study = meden.tune",
            [*first, recipe, *folds, *(f"{name}={value!r}" for name, value in given.items())],
        ),
    ]
    return "\n".join(lines)
