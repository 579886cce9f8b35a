"""Where a comparison comes from: what it takes to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meden._shown import ShownFields
from meden.report import Code, Section
from meden.report.page import anchors
from meden.report.recipes import recipe_text, versions
from meden.search.alternative import Alternative
from meden.study.data_summary import DataSummary
from meden.study.model_reference import ModelReference
from meden.study.page_reproduce import call_code, data_code, data_facts, maker_code


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Origin(ShownFields):
    """Data, models and settings of a comparison."""

    data: DataSummary
    model: ModelReference
    division: Mapping[str, Any]
    """Arguments that divide the rows into the same folds; empty if they are not plain values."""
    num_seeds: int
    seed: int


def files_of(alternatives: Sequence[Alternative]) -> list[str]:
    """Return the names of the files of their recipes."""
    return [f"{anchor}.yaml" for anchor in anchors([alternative.name for alternative in alternatives])]


def recipes_section(alternatives: Sequence[Alternative]) -> Section:
    """Return the recipe of each alternative, as the text of a file."""
    codes = tuple(
        Code(file, recipe_text(alternative.recipe))
        for file, alternative in zip(files_of(alternatives), alternatives, strict=True)
    )
    arguments = {
        f"Arguments of the model, {alternative.name}": ", ".join(
            f"{k}={v!r}" for k, v in alternative.model_args.items()
        )
        for alternative in alternatives
        if alternative.model_args
    }
    text = ("Everything that decides how each alternative is trained, apart from model and data.",)
    return Section(title="The recipe of each", text=text, codes=codes, facts=arguments)


def reproduce_section(origin: Origin, alternatives: Sequence[Alternative], command: str) -> Section:
    """Return what makes the comparison again: the command, or a call in Python."""
    code = Code("Command", command) if command else Code("The comparison in Python", _call(origin, alternatives))
    facts = data_facts(origin.data) | {"Model": origin.model.text, "Seed": str(origin.seed)} | versions()
    text = "The same versions, data and seed give the same numbers on machines of the same type."
    return Section(title="Reproduce", text=(text,), codes=(code,), facts=facts)


def _call(origin: Origin, alternatives: Sequence[Alternative]) -> str:
    """Return a call of :func:`meden.compare` with everything that decides its result."""
    given = {name: value for name, value in origin.division.items() if value is not None}
    given |= {"seeds": origin.num_seeds, "seed": origin.seed}
    folds = [] if origin.division else ["folds = ...  # the folds that were given"]
    lines = [
        "import meden",
        "",
        *data_code(origin.data),
        *maker_code(origin.model),
        *folds,
        "alternatives = {",
        *(
            f"    {alternative.name!r}: {_setting(file, alternative)},"
            for file, alternative in zip(files_of(alternatives), alternatives, strict=True)
        ),
        "}",
        *call_code(
            "made = meden.compare",
            [
                "make_model",
                "data",
                "alternatives",
                *["folds=folds"] * bool(folds),
                *(f"{name}={value!r}" for name, value in given.items()),
            ],
        ),
    ]
    return "\n".join(lines)


def _setting(file: str, alternative: Alternative) -> str:
    loaded = f"meden.Recipe.load({file!r})"
    arguments = "".join(f", {name!r}: {value!r}" for name, value in alternative.model_args.items())
    return f"{{**dict({loaded}){arguments}}}" if arguments else loaded
