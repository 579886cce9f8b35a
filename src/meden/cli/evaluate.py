"""``meden evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Column, Table

from meden._checks import InputError, check_choice
from meden.cli.console import Decimal, JsonFlag, Missing, Sep, print_json, stdout
from meden.cli.folders import trained
from meden.cli.rows import as_typed, read_rows, reading_as
from meden.data.new_rows import ON_MISSING
from meden.language import Own
from meden.report.numbers import number, percent, plural
from meden.study.evaluation import NEXT, Calibration, Estimate, Evaluation, Residuals
from meden.study.evaluation import evaluate as evaluated
from meden.study.metrics import spoken

MOST_CLASSES = 12
"""Largest number of classes whose confusion matrix is shown whole; beyond, only the most frequent mistakes are."""
MOST_MISTAKES = 12


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder written by `meden tune` or `meden fit`.")],
    rows: Annotated[
        Path,
        typer.Argument(
            help="File of rows that the model has not seen, with the columns it was trained on and the target; for "
            "a language model, a text."
        ),
    ],
    groups: Annotated[
        str | None,
        typer.Option("--groups", help="Column of group labels: intervals are computed over groups."),
    ] = None,
    sep: Sep = None,
    decimal: Decimal = None,
    na: Missing = None,
    on_missing: Annotated[
        str,
        typer.Option(
            "--on-missing",
            help="What to do with rows that cannot be predicted. `error`: stop and score nothing; `empty`: score the "
            "others.",
        ),
    ] = "error",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the bootstrap behind the intervals.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Score a trained model on rows that it has not seen.

    Prints scores with 90 % intervals (bootstrap over rows or groups of rows), the confusion matrix or the errors, and
    the calibration of the probabilities. All columns, including the target, are read as in training, unless `--decimal`
    or `--na` is given. Row 0 in messages is the line below the header.

    Examples:

        meden evaluate runs/study test.csv

        meden evaluate runs/study visits.csv --groups patient --json

        meden evaluate runs/book other.txt
    """  # noqa: D412
    check_choice("--on-missing", on_missing, ON_MISSING)
    options = as_typed(sep, decimal, na)
    run = reading_as(trained(folder, texts=True), options)
    if run.failure:
        raise InputError(f"folder must hold a model that can predict, got {str(folder)!r}, whose run {run.failure}")
    if run.encoder is None:
        given = {"--groups": groups, "--sep": sep, "--decimal": decimal, "--na": na}
        if wrong := [name for name, value in given.items() if value is not None]:
            raise InputError(
                f"{wrong[0]} must not be given for a language model, such as the one in {str(folder)!r}: it is an "
                "option for tables"
            )
        found = evaluated(run, rows, seed=seed)
        print_json(found.to_dict()) if as_json else _show(found)
        return
    label = run.encoder.label
    frame = read_rows(rows, run.encoder, options, labels=[label.name], as_text=label.text_columns)
    found = evaluated(run, frame, groups=groups, on_missing="empty" if on_missing == "empty" else "error", seed=seed)
    if as_json:
        print_json(found.to_dict())
    else:
        _show(found)


def _show(found: Evaluation) -> None:
    left_out = f", {plural(found.num_left_out, 'row')} without a prediction left out" if found.num_left_out else ""
    drawn = "rows" if found.num_groups is None else plural(found.num_groups, "group")
    what = "window" if found.target == NEXT else "row"
    rows = f"{plural(found.num_rows, what)} of {found.target!r}{left_out}"
    stdout.print(f"{rows}; intervals by bootstrap over {drawn}:")
    stdout.print(_scores(found))
    if found.confusion is not None:
        stdout.print(_confusion(found.confusion, [str(label) for label in found.classes]))
    if found.calibration is not None:
        stdout.print(_calibration(found.calibration, found.classes[1] if len(found.classes) == 2 else None))
    if found.residuals is not None:
        stdout.print(_residuals(found.residuals))


def _scores(found: Evaluation) -> Table:
    table = Table("", "score", f"{100 * found.confidence:g} % interval")
    for name, score in found.scores.items():
        table.add_row(spoken(name), number(score.value), _interval(score))
    return table


def _interval(found: Estimate) -> str:
    return f"{number(found.low)} to {number(found.high)}" if np.isfinite(found.low) else number(found.low)


def _confusion(counts: np.ndarray, classes: list[str]) -> Table:
    if len(classes) > MOST_CLASSES:
        return _mistakes(counts, classes)
    table = Table("true \\ predicted", *(Column(Own(label)) for label in classes), "found")
    for label, own in zip(classes, counts, strict=True):
        share = own[classes.index(label)] / own.sum() if own.sum() else np.nan
        table.add_row(Own(label), *map(str, own), percent(share))
    return table


def _mistakes(counts: np.ndarray, classes: list[str]) -> Table:
    """Return the most frequent mistakes among many classes."""
    table = Table("true", "predicted", "rows", title="most frequent mistakes")
    wrong = counts * (1 - np.eye(len(classes), dtype=np.int64))
    for place in np.argsort(-wrong, axis=None, kind="stable")[:MOST_MISTAKES]:
        true, said = np.unravel_index(place, wrong.shape)
        if wrong[true, said]:
            table.add_row(Own(classes[true]), Own(classes[said]), str(wrong[true, said]))
    return table


def _calibration(found: Calibration, second: object) -> Table:
    of = "the predicted class" if second is None else str(second)
    title = f"probability of {of}; expected calibration error {number(found.error)}"
    table = Table("from", "to", "rows", "mean probability", "observed frequency", title=title)
    for one in found.bins:
        ends = (percent(one.low), percent(one.high))
        table.add_row(*ends, str(one.num_rows), percent(one.said), percent(one.right))
    return table


def _residuals(found: Residuals) -> Table:
    table = Table("predicted minus true", "")
    table.add_row("mean (bias)", f"{number(found.bias.value)} ({_interval(found.bias)})")
    for share, error in found.quantiles.items():
        name = {0.0: "lowest", 0.5: "median", 1.0: "highest"}.get(share, f"{100 * share:g} % are below")
        table.add_row(name, number(error))
    return table
