"""A log's rows as a history: what was logged in training, aligned to what was logged in evaluation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from meden._checks import InputError
from meden.history import History, Record
from meden.logs.columns import Columns, Row, words

PENALTY = "penalty/"
"""What the names of penalties begin with in a log that a callback of meden has written to."""
ZERO_GROUPS = "num_zero_groups/"
"""The same, of the counts of groups that are zero."""


def aligned(rows: Sequence[Row], columns: Columns, name: str) -> History:
    """Return a record for each evaluation, or for each logged training loss where nothing was evaluated.

    The training loss of a record is the one in evaluation mode, if there is one, or else the mean of the losses that
    were logged since the record before, weighted by their steps. What was logged after the last evaluation is left
    out, unless it is not finite: then the run has diverged. A held-out loss that is NaN beside a finite training loss,
    in a log that has finite ones later, was not evaluated there.

    Args:
        rows: in order; those of one step belong together.
        columns: which is which; without a held-out loss every row of a training loss is a record.
        name: what messages call the log.

    Raises:
        InputError: if steps go back, or a step or loss is no number.

    Example:
        >>> rows = [{"loss": 0.7, "step": 5}, {"loss": 0.4, "step": 10}, {"eval_loss": 0.6, "step": 10}]
        >>> history = aligned(rows, Columns(train="loss", valid="eval_loss", step="step"), "log")
        >>> history.column("train.loss"), history.column("valid.loss")
        ([0.55], [0.6])
    """
    steps = _steps(rows, columns.step, name)
    numbers = _where_evaluated([_numbers(row, columns, name) for row in rows], columns)
    parts = _parts(list(zip(steps, numbers, strict=True)), columns)
    return History(tuple(_record(number, *part, columns) for number, part in enumerate(parts, start=1)))


def number(value: Any, what: str) -> float:
    """Return a number that was logged, or that a file holds as text.

    Raises:
        InputError: if it is none; ``what`` begins the message.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{what}, got {value!r:.60}") from None


def _steps(rows: Sequence[Row], column: str | None, name: str) -> list[float]:
    """Return the step of each row, that of the row before where it has none, or its place."""
    if column is None:
        return [float(place) for place in range(1, len(rows) + 1)]
    steps: list[float] = []
    for place, row in enumerate(rows, start=1):
        before = steps[-1] if steps else 0.0
        step = number(row[column], f"{name} must have numbers in {column}") if column in row else before
        if not math.isfinite(step):
            raise InputError(f"{name} must have finite numbers in {column}, got {step} in row {place}")
        if steps and step < before:
            raise InputError(
                f"{name} must not decrease in {column}, got {step:g} after {before:g} in row {place}: separate the "
                "runs that share the log, and remove repeated rows of a resumed one"
            )
        steps.append(step)
    return steps


def _numbers(row: Row, columns: Columns, name: str) -> dict[str, Any]:
    told = dict(row)
    for column in (columns.train, columns.evaluated, columns.valid):
        if column in told and column is not None:
            told[column] = number(told[column], f"{name} must hold losses that are numbers in {column}")
    return told


def _where_evaluated(rows: Sequence[dict[str, Any]], columns: Columns) -> list[dict[str, Any]]:
    """Leave out held-out losses that stand for no evaluation; at the end, of no more rows than in gaps before."""
    blank = [
        math.isnan(row.get(columns.valid or "", 0.0))
        and all(math.isfinite(row.get(name or "", 0.0)) for name in (columns.train, columns.evaluated))
        for row in rows
    ]
    finite = [math.isfinite(row.get(columns.valid or "", math.nan)) for row in rows]
    last = max((place for place, is_finite in enumerate(finite) if is_finite), default=-1)
    gaps = [len(list(run)) for is_blank, run in itertools.groupby(blank[: last + 1]) if is_blank]
    end = len(rows) if len(rows) - last - 1 <= max(gaps, default=0) else last + 1
    return [
        {key: value for key, value in row.items() if key != columns.valid} if blank[place] and place < end else row
        for place, row in enumerate(rows)
    ]


def _parts(rows: Sequence[tuple[float, Row]], columns: Columns) -> Iterator[tuple[float, list[tuple[float, Row]]]]:
    """Cut rows into those of one record each, with the step they begin after."""
    has_valid = any(columns.valid in row for _, row in rows)
    ends = columns.valid if has_valid else columns.train
    ending = {step for step, row in rows if ends in row}
    part: list[tuple[float, Row]] = []
    start = 0.0
    for place, (step, row) in enumerate(rows):
        part.append((step, row))
        is_last = place + 1 == len(rows) or rows[place + 1][0] != step
        if is_last and step in ending and _has_train(part, columns):
            yield start, part
            part, start = [], step
    losses = [row[columns.train] for _, row in part if columns.train is not None and columns.train in row]
    if not all(map(math.isfinite, losses)):
        yield start, part


def _has_train(part: Sequence[tuple[float, Row]], columns: Columns) -> bool:
    return any(columns.train in row or columns.evaluated in row for _, row in part)


def _record(place: int, start: float, rows: Sequence[tuple[float, Row]], columns: Columns) -> Record:
    told: dict[str, Any] = {name: value for _, row in rows for name, value in row.items()}
    held_out = told.get(columns.valid) if columns.valid is not None else None
    evaluated = told.get(columns.evaluated) if columns.evaluated is not None else None
    counts_steps = columns.step is not None and words(columns.step)[-1] != "epoch"
    return Record(
        epoch=place,
        step=int(rows[-1][0]) if counts_steps else place,
        train={"loss": evaluated if evaluated is not None else _mean_loss(start, rows, columns.train)},
        valid=None if held_out is None else {"loss": held_out},
        penalties=_under(PENALTY, told),
        num_zero_groups=_under(ZERO_GROUPS, told),
        lr=_rate(told),
        num_zeros=None if (zeros := _measured(told, "num_zeros")) is None or not math.isfinite(zeros) else int(zeros),
        weight_norm=_measured(told, "weight_norm"),
        seconds=math.nan if (seconds := _measured(told, "seconds")) is None else seconds,
    )


def _measured(told: Row, name: str) -> float | None:
    """Return what a callback of meden has logged; what others log under such a name may be no number."""
    value = told.get(name)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _rate(told: Row) -> float:
    for name, value in told.items():
        if words(name) in (["learning", "rate"], ["lr"]):
            with suppress(InputError):
                return number(value, name)
    return math.nan


def _under(prefix: str, told: Mapping[str, Any]) -> dict[str, Any]:
    names = [name for name in told if name.startswith(prefix) and isinstance(told[name], (int, float))]
    return {name.removeprefix(prefix): told[name] for name in names}


def _mean_loss(start: float, rows: Sequence[tuple[float, Row]], column: str | None) -> float:
    """Return the mean over the steps of losses that each are a mean over the steps since the one before."""
    logged = [(step, float(row[column])) for step, row in rows if column is not None and column in row]
    steps = [start, *(step for step, _ in logged)]
    gaps = [step - before for before, step in itertools.pairwise(steps)]
    least = min((gap for gap in gaps if gap > 0), default=1.0)
    sizes = [max(gap, least) for gap in gaps]
    return math.fsum(size * loss for size, (_, loss) in zip(sizes, logged, strict=True)) / math.fsum(sizes)
