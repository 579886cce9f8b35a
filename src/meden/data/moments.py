"""Cuts in time: what trains comes before what stops, and both before what scores. No moment is on both sides.

Legend: ``n`` rows, ``m`` distinct moments, numbered from 0 in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from meden._checks import InputError
from meden.data.columns import Values
from meden.data.dataset import Dataset
from meden.data.tables import Table

Rows = npt.NDArray[np.int64]


def moments_of(dataset: Dataset, order: Any) -> Values:
    """Return the moment of each row, (n,): rows that ``order`` puts at the same time share one.

    Args:
        dataset: the rows.
        order: values (n,) that sort them in time, or the name of a column of numbers or dates.

    Raises:
        InputError: if there is no such column, or a row has no value.
    """
    if isinstance(order, str):
        numeric = dataset.inputs if isinstance(dataset.inputs, Table) else Table({}, {})
        known = [name for name, kind in numeric.kinds.items() if kind != "text"]
        if order not in known:
            raise InputError(f"order must be a column of numbers or dates ({', '.join(known)}), got {order!r}")
        order = numeric.values[order]
    values = pd.Series(np.asarray(order))
    if values.dtype.kind == "c":
        raise InputError(f"order must hold numbers, dates or sortable strings, got {values.dtype}")
    if len(values) != dataset.num_rows or values.isna().any():
        raise InputError(
            f"order must have a value for each of {dataset.num_rows} rows, got {len(values)} of which "
            f"{int(values.isna().sum())} are missing"
        )
    return values.rank(method="dense").to_numpy().astype(np.int64) - 1


def past_and_next(moments: Values, folds: int, gap: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield (rows of the past, rows that follow) of each fold: TimeSeriesSplit of the moments.

    Raises:
        InputError: if there are too few moments.
    """
    from sklearn.model_selection import TimeSeriesSplit

    num = int(moments.max()) + 1
    if num - folds * (num // (folds + 1)) <= gap or num <= folds:
        raise InputError(
            f"folds must be at most {_most_folds(num, gap)} for {num} moments{f' and gap={gap}' if gap else ''}, "
            f"got {folds}"
        )
    for past, following in TimeSeriesSplit(folds, gap=gap).split(np.arange(num)):
        yield np.flatnonzero(np.isin(moments, past)), np.flatnonzero(np.isin(moments, following))


def early_and_late(moments: Values, rows: Rows, fraction: float, gap: int) -> tuple[Rows, Rows]:
    """Divide rows at a moment: the latest ``fraction`` of their moments from those that end ``gap`` before them.

    Raises:
        InputError: if nothing is left before them.
    """
    found = np.unique(moments[rows])
    cut = len(found) - max(1, round(fraction * len(found)))
    if cut - gap <= 0:
        before = f" and gap={gap}" if gap else ""
        raise InputError(
            f"stop_fraction must be 0 for a fold that trains on only {len(found)} distinct values of "
            f"order{before}, got {fraction}; or use fewer folds"
        )
    return rows[moments[rows] < found[cut - gap]], rows[moments[rows] >= found[cut]]


def _most_folds(num: int, gap: int) -> int:
    """Return the largest number of folds whose first one still trains."""
    return max((k for k in range(1, num) if num - k * (num // (k + 1)) > gap), default=0)
