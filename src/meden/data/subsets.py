"""Smaller and smaller parts of some rows, each within the next: what a training would have had with fewer rows.

Legend: ``m`` rows that are divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from meden._checks import InputError
from meden.data.columns import Values
from meden.data.dataset import Dataset
from meden.data.moments import Rows, moments_of


@dataclass(frozen=True, eq=False)
class Nested:
    """Rows in an order of which each beginning is a smaller data set like the whole."""

    rows: Rows
    """int64 (m,)."""
    ends: Rows
    """Where the order may be cut, rising; the last is ``m``."""

    def first(self, size: int) -> Rows:
        """Return the largest beginning of at most ``size`` rows, sorted; the smallest that there is, if all have more.

        Args:
            size: number of rows, 1 or more.
        """
        place = max(int(np.searchsorted(self.ends, size, side="right")) - 1, 0)
        return np.sort(self.rows[: self.ends[place]])


def nested(dataset: Dataset, rows: Rows, *, seed: int, order: Any = None) -> Nested:
    """Put rows in an order of which each beginning is like the whole.

    Classes are balanced in every beginning, and each class has a row before any has its second. Groups are kept whole:
    those that bring a class first come first, the others at random. With ``order`` a beginning is the latest past: the
    newest moments, which are kept whole, or the groups whose newest rows are newest.

    Args:
        dataset: of which the rows are.
        rows: positions, such as the fitting rows of a fold, (m,), one or more.
        seed: 0 or more.
        order: values (n,) that sort all rows of the data set in time, or the name of a column.

    Raises:
        InputError: if there is no such column, or there are no rows.

    Example:
        >>> from meden.data import as_dataset
        >>> iris = as_dataset("iris")
        >>> order = nested(iris, np.arange(150), seed=0)
        >>> [np.bincount(iris.labels[order.first(size)]).tolist() for size in (3, 9, 60)]
        [[1, 1, 1], [3, 3, 3], [20, 20, 20]]
    """
    rows = np.asarray(rows, dtype=np.int64)
    if not len(rows):
        raise InputError("rows must hold at least one position, got none")
    random = np.random.default_rng(seed)
    by_class = dataset.task == "classification" and dataset.labels.ndim == 1
    labels = dataset.labels[rows] if by_class else np.zeros(len(rows), dtype=np.int64)
    shuffled = random.permutation(len(rows))
    if order is not None:
        units, rank = _newest_first(-moments_of(dataset, order)[rows], dataset, rows)
    elif dataset.groups is not None:
        units = dataset.groups[rows]
        rank = _groups_first_seen(units, labels, random)
    else:
        units, rank = np.arange(len(rows)), _balanced(labels, shuffled, random)
    placed = shuffled[np.argsort(rank[shuffled], kind="stable")]  # ties at random
    units = units[placed]
    ends = np.flatnonzero(np.append(units[1:] != units[:-1], True)) + 1
    return Nested(rows[placed], ends)


def _newest_first(age: Values, dataset: Dataset, rows: Rows) -> tuple[Values, Values]:
    """Return what is kept whole, moments or groups, and its rank in time, the newest first."""
    if dataset.groups is None:
        return age, age
    groups = dataset.groups[rows]
    newest = np.full(int(groups.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(newest, groups, age)
    ranked = np.lexsort([np.arange(len(newest)), newest])  # two of the same age stay apart
    rank = np.empty(len(newest), dtype=np.int64)
    rank[ranked] = np.arange(len(newest))
    return groups, rank[groups]


def _groups_first_seen(groups: Values, labels: Values, random: np.random.Generator) -> Values:
    """Return a rank for the group of each row: those that bring a class first, then the others, at random."""
    names = random.permutation(np.unique(groups))
    seen: set[int] = set()
    bring: list[int] = []
    others: list[int] = []
    for name in names:
        own = set(np.unique(labels[groups == name]).tolist())
        (bring if own - seen else others).append(name)
        seen |= own
    rank = np.empty(int(groups.max()) + 1, dtype=np.int64)
    rank[[*bring, *others]] = np.arange(len(names))
    return rank[groups]


def _balanced(labels: Values, shuffled: Rows, random: np.random.Generator) -> Values:
    """Return a rank for each row, by which every class is spread evenly, and each has a row first."""
    rank = np.empty(len(labels))
    for one in np.unique(labels):
        own = shuffled[labels[shuffled] == one]
        rank[own] = (np.arange(len(own)) + random.random()) / len(own)
        rank[own[0]] = -1.0
    return rank
