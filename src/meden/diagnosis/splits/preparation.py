"""Columns that were prepared with rows that are to score: scaled, or encoded by the target.

Legend: ``N`` rows, ``G`` distinct values of a column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.diagnosis.splits.split import Split

EXACT = 1e-5
"""Of a standard deviation, or of the target's range: float32 rounds finer. Means over all rows of columns that were
scaled by the fitting rows are hundreds of times further from 0."""
FEWEST = 10
"""Rows that a part must have, so that its mean and deviation are its own."""
FEWEST_VALUES, MOST_VALUES = 2, 0.5
"""Distinct values of a column of encoded categories: at least so many, at most this share of the rows."""
ON_A_LINE = 4
"""Values from which lying on a line with the categories' means is no coincidence: two always do. Of the fitting rows,
which may lack some, one less."""
MOST = 0.8
"""Share of the values that must follow: two categories of other sizes may share a value by chance."""
WHOLE = 1e-3
"""Share by which a number of categories may differ from a whole one, as float32 rounds what it follows from."""
SHOWN = 4
"""Columns that a message names."""

Values = NDArray[np.float64]


@rule("honesty", "warning")
def scaled_on_all(split: Split) -> Seen | None:
    """Columns are scaled (mean 0 and deviation 1, or range 0 to 1) over all rows, not over the fitting rows.

    Of a range only what lies beyond the fitting rows shows that others took part. Imputed values and components found
    on all rows are not seen.
    """
    for all_rows, fit, table in _tables(split):
        found = [name for name, column in table.items() if _is_standard(column[all_rows], column[fit])]
        ranged = _ranged(table, all_rows, fit)
        if not found and not ranged:
            continue
        how = "mean 0 and deviation 1 (or median 0 and middle half 1)" if found else "the range 0 to 1"
        names = found or ranged
        return Seen(
            f"{_named(names)} of {len(table)} numeric columns {'has' if len(names) == 1 else 'have'} {how} over "
            "all rows, but not over the fitting rows: scored rows took part in the scaling",
            "Fit the scaler on the fitting rows of each fold only, and apply it to the other rows",
            split.command(),
            len(names) / len(table),
        )
    return None


@rule("honesty", "error")
def target_encoded_on_all(split: Split) -> Seen | None:
    """A column holds mean targets by category over all rows: targets of scored rows leak into the inputs."""
    if split.target is None:
        return None
    indicators = _indicators(np.asarray(split.target))
    for all_rows, fit, table in _tables(split):
        found = [
            name
            for name, column in table.items()
            if any(_is_encoded(column, target, all_rows, fit) for target in indicators)
        ]
        if found:
            return Seen(
                f"{_named(found)} {'holds' if len(found) == 1 else 'hold'} the mean target by category over all "
                "rows, not over the fitting rows: targets of scored rows leak into the inputs",
                "Encode categories with the fitting rows of each fold only, and out of fold for these rows themselves",
                split.command(),
                len(found) / len(table),
            )
    return None


def _tables(split: Split) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], dict[object, Values]]]:
    """Return for each fold all rows, those that fit, and the columns of numbers that vary."""
    if split.inputs is None:
        return
    numbers = split.inputs.select_dtypes(["number", "bool"]).astype(np.float64)
    table = {name: column.to_numpy() for name, column in numbers.items()}
    table = {name: column for name, column in table.items() if np.isfinite(column).all() and np.ptp(column) > 0}
    for fold in split.folds:
        used = split.part(fold, "fit", "stop", "score").astype(np.int64)
        fit = np.unique(np.asarray(fold.fit, dtype=np.int64))
        if len(fit) < FEWEST or len(fit) == len(used):
            continue
        yield used, fit, table
        if len(used) < len(split.inputs):
            yield np.arange(len(split.inputs)), fit, table


def _is_standard(every: Values, fit: Values) -> bool:
    """Say whether all rows, and not those that fit, have mean 0 and deviation 1, or median 0 and middle half 1."""
    offs = (_off_standard, _off_robust) if _is_measured(every) else (_off_standard,)
    return any(off(every) < EXACT < off(fit) for off in offs)


def _is_measured(column: Values) -> bool:
    """Say whether most values occur once or twice: ends, medians and quarters of others are round by nature."""
    return 2 * len(np.unique(column)) > len(column)


def _off_standard(column: Values) -> float:
    return float(max(abs(column.mean()), min(abs(column.std(ddof=ddof) - 1) for ddof in (0, 1))))


def _off_robust(column: Values) -> float:
    low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
    return float(max(abs(middle), abs(high - low - 1)))


def _ranged(table: dict[object, Values], all_rows: NDArray[np.int64], fit: NDArray[np.int64]) -> list[object]:
    """Return columns that reach from 0 to 1 over all rows and not over those that fit, where most columns do.

    Numbers may be shares by nature, so that one column says nothing; pixels and indicators take their ends often, and
    are left out.
    """
    measured = {name: column[all_rows] for name, column in table.items() if _is_measured(column)}
    unit = [name for name, column in measured.items() if column.min() == 0 and abs(column.max() - 1) < EXACT]
    if len(unit) < 2 or 2 * len(unit) < len(measured):
        return []
    return [name for name in unit if table[name][fit].min() > 0 or table[name][fit].max() < 1 - EXACT]


def _indicators(target: NDArray[Any]) -> list[Values]:
    """Return the target, or where it has classes an indicator of each."""
    values = pd.unique(target.reshape(len(target), -1)[:, 0])
    is_number = target.dtype.kind in "iufb"
    column = target.reshape(len(target), -1)[:, 0]
    numbers = [column.astype(np.float64)] if is_number else []
    few = len(values) <= 30 and (not is_number or target.dtype.kind in "iub")
    return numbers + ([(column == value).astype(np.float64) for value in values] if few else [])


def _is_encoded(column: Values, target: Values, all_rows: NDArray[np.int64], fit: NDArray[np.int64]) -> bool:
    """Say whether the values of a column follow from the target of all rows, and not from that of the fitting rows."""
    distinct = len(np.unique(column[all_rows]))
    if not FEWEST_VALUES <= distinct <= MOST_VALUES * len(all_rows):
        return False
    every = _follows(column[all_rows], target[all_rows], ON_A_LINE)
    return every and not _follows(column[fit], target[fit], ON_A_LINE - 1)


def _follows(column: Values, target: Values, on_a_line: int) -> bool:
    """Say whether each value is the mean of the target in the rows that have it: plain, scaled, or drawn to the whole.

    A mean that is drawn to that of all rows, ``(n mean + m prior) / (n + m)`` with one ``m`` for all categories or, as
    scikit-learn has it, with the variance of the target within the category over that in all rows, tells the ``n`` of
    its category, which must go into the number of rows with that value: rare categories often share one.
    """
    values, code = np.unique(column, return_inverse=True)
    num = np.bincount(code).astype(np.float64)
    means = np.bincount(code, target) / num
    spread = np.bincount(code, (target - means[code]) ** 2) / num
    scale = float(np.ptp(target))
    if scale == 0 or np.ptp(means) < EXACT * scale:
        return False
    plain = np.abs(values - means) < EXACT * scale
    if plain.all() or (len(values) >= on_a_line and _is_on_line(means, values)):
        return True
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = num * (means - values) / (values - target.mean())
        by_variance = weight * target.var() / spread
    least = weight[np.isfinite(weight) & (weight > 0) & ~plain]
    fixed = _is_whole(weight / least.min()) if len(least) and len(values) >= ON_A_LINE else np.False_
    return bool(max(np.mean(fixed), np.mean(plain | _is_whole(by_variance))) >= MOST)


def _is_whole(numbers: Values) -> NDArray[np.bool_]:
    """Say which numbers are 1, 2, 3, ..., up to rounding."""
    nearest = np.maximum(np.round(np.nan_to_num(numbers, nan=0.5, posinf=0.5, neginf=0.5)), 1.0)
    return np.abs(numbers - nearest) < WHOLE * nearest


def _is_on_line(x: Values, y: Values) -> bool:
    slope = np.cov(x, y)[0, 1] / x.var(ddof=1)
    left = y - y.mean() - slope * (x - x.mean())
    return bool(np.abs(left).max() < EXACT * np.ptp(y))


def _named(names: list[object]) -> str:
    noun = "column" if len(names) == 1 else "columns"
    listed = ", ".join(repr(name) for name in names[:SHOWN])
    return f"{len(names)} {noun} ({listed}{', ...' if len(names) > SHOWN else ''})"
