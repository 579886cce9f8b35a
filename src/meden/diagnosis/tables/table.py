"""What is known of a table before any training: its columns, its target, and how its rows are divided.

Legend: ``n`` rows, ``D`` columns, ``k`` values of one of them; a row is a position from 0.
"""

from __future__ import annotations

import dataclasses
import functools
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from meden._checks import InputError, check_count
from meden.data import Dataset
from meden.data.columns import Kind, Values, missing
from meden.data.faults import Faults
from meden.data.reading import Reading
from meden.data.tables import Table as ReadTable
from meden.diagnosis.command import command, data_words

Codes = npt.NDArray[np.int64]
Found = TypeVar("Found")

ALPHA = 0.01
"""Chance that a rule with a test says something where there is nothing, over all columns and rows that it looks at."""
FEWEST = 20
"""Rows from which on tests are made: of fewer, nothing that they found would be sure."""
FOLDS = 5
"""That rows are divided into, unless it is said."""
MOST_CLASSES = 20
"""Classes that are scores of their own."""
PARTS = {
    "fit": ("fit", "train", "training"),
    "stop": ("stop", "valid", "validation", "val", "dev"),
    "score": ("score", "test", "testing", "holdout", "held_out"),
}
"""Parts of a split, and the words for them that are understood."""
STOP_ONLY = "; write test for rows that only give the score (rows that also decide when to stop are a leak)"
"""What to do about a split of two parts whose second stops."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """A table, before any training.

    Raises:
        InputError: if a row has several targets, or a split has other words or no row that fits and none that scores.
    """

    dataset: Dataset
    moments: Codes | None = None
    """Place of each row in time, (n,); None where the rows have no order."""
    order: str | None = None
    """Name of the column that gives it, which is then no input to doubt."""
    split: Values | None = None
    """Part of each row, ``"fit"``, ``"stop"`` or ``"score"``, (n,); None where rows are to be divided at random."""
    divider: str | None = None
    """Name of the column that says so, which is no input."""
    folds: int = FOLDS
    """Folds that the rows are to be divided into."""
    faults: Faults = field(default_factory=Faults)
    """What was left out, since training refuses it."""
    places: Codes | None = None
    """Positions of the rows in the table as it was given, (n,), by which messages name them; None where all are here.
    """
    seed: int = 0
    """Of the rows and columns that are drawn where there are many."""
    _known: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_count("folds", self.folds, low=2)
        check_count("seed", self.seed, low=0)
        if self.dataset.labels.ndim != 1:
            raise InputError(f"data must have one target per row, got {self.dataset.labels.shape[1]}")

    def once(self, analysis: Callable[[Table], Found]) -> Found:
        """Return what an analysis finds in the table; it is made on the first call."""
        if analysis not in self._known:
            self._known[analysis] = analysis(self)
        found: Found = self._known[analysis]
        return found

    @property
    def num_rows(self) -> int:
        """Number of rows n."""
        return self.dataset.num_rows

    @property
    def is_classes(self) -> bool:
        """Whether the target is a class, not a number."""
        return self.dataset.task == "classification"

    @property
    def readings(self) -> tuple[Reading, ...]:
        """How each column was read; empty for arrays."""
        return self.dataset.readings

    @functools.cached_property
    def columns(self) -> Mapping[str, Values]:
        """Canonical values (n,) by name, but of the column that orders the rows; numbers for arrays."""
        inputs = self.dataset.inputs
        if isinstance(inputs, ReadTable):
            return {name: values for name, values in inputs.values.items() if name != self.order}
        flat = inputs.x.detach().cpu().numpy().reshape(self.num_rows, -1)
        return {f"x{place}": flat[:, place].astype(np.float64) for place in range(flat.shape[1])}

    @functools.cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """``"number"``, ``"boolean"``, ``"text"`` or ``"date"`` of each column."""
        inputs = self.dataset.inputs
        kinds = inputs.kinds if isinstance(inputs, ReadTable) else {}
        return {name: kinds.get(name, "number") for name in self.columns}

    @functools.cached_property
    def codes(self) -> Mapping[str, Codes]:
        """Value of each row as a number from 0 in the order of the values, -1 for a missing one, (n,), by column."""
        return {name: coded(values) for name, values in self.columns.items()}

    def scores(self, rows: Codes) -> npt.NDArray[np.float64]:
        """Return the target of some rows as numbers that may be averaged, (r, C), centred.

        They are an indicator of each class, of the most frequent ones where there are many, or the rank of the number.
        """
        labels = self.dataset.labels[rows]
        if self.is_classes:
            frequent = np.argsort(-np.bincount(labels), kind="stable")[:MOST_CLASSES]
            scores = (labels[:, None] == frequent).astype(np.float64)
        else:
            scores = pd.DataFrame(labels).rank().to_numpy(dtype=np.float64)
        centred: npt.NDArray[np.float64] = scores - scores.mean(axis=0)
        return centred

    @property
    def source(self) -> str:
        """How a command line names these data and how they are read, without what was left out of them."""
        origin = self.dataset.origin or {}
        words = data_words(str(origin.get("data") or "DATA"), self.dataset.target, origin)
        left_out = [*self.faults.columns, *([] if self.divider is None else [self.divider])]
        words += [word for name in left_out for word in ("--drop", name)]
        words += [] if self.order is None else ["--order", self.order]
        words += [] if self.folds == FOLDS else ["--folds", str(self.folds)]
        return shlex.join(words)

    def command(self, *options: str) -> str:
        """Return the line that searches on this table, with some options more; empty where none would run."""
        return "" if self.faults.in_cells else command("tune", self.source, options)

    def without(self, names: Sequence[str]) -> str:
        """Return the line that searches on this table without some of its columns."""
        return self.command(*(part for name in names for part in ("--drop", name)))

    def take(self, rows: Codes) -> Table:
        """Return the table of some rows."""
        part = dataclasses.replace(self.dataset.take(rows), origin=self.dataset.origin)
        moments, split = (None if each is None else each[rows] for each in (self.moments, self.split))
        return dataclasses.replace(self, dataset=part, moments=moments, split=split, places=self.named(rows))

    def named(self, rows: Codes) -> Codes:
        """Return what messages call some rows: their positions in the table as it was given."""
        return rows if self.places is None else self.places[rows]

    def known(self, analysis: Callable[[Table], Found]) -> Found | None:
        """Return what an analysis found, if it was made."""
        found: Found | None = self._known.get(analysis)
        return found

    def draw(self, most: int, salt: int = 0) -> Codes:
        """Return all rows, or so many of them drawn at random, in their order."""
        if self.num_rows <= most:
            return np.arange(self.num_rows)
        generator = np.random.default_rng([self.seed, salt])
        return np.sort(generator.choice(self.num_rows, most, replace=False))

    def part(self, name: str) -> Codes:
        """Return the rows of a part of the split."""
        assert self.split is not None
        return np.flatnonzero(self.split == name)


def coded(values: Values) -> Codes:
    """Return the place of each value among the distinct ones, -1 for a missing one, (n,).

    Example:
        >>> coded(np.array([2.5, np.nan, 1.0, 2.5])).tolist()
        [1, -1, 0, 1]
    """
    absent = missing(values)
    codes = np.full(len(values), -1, dtype=np.int64)
    if values.dtype == object:
        codes[~absent] = pd.factorize(values[~absent], sort=True)[0]
    else:
        codes[~absent] = np.unique(values[~absent], return_inverse=True)[1]
    return codes


def parts_of(labels: Any, num_rows: int) -> Values:
    """Return the part of each row, ``"fit"``, ``"stop"`` or ``"score"``, (n,).

    Args:
        labels: (n,) words of ``PARTS``, in any case.
        num_rows: n.

    Raises:
        InputError: naming a word that is none of them, or the part without a row.

    Example:
        >>> parts_of(["train", "test", "Train"], 3).tolist()
        ['fit', 'score', 'fit']
    """
    words = {word: part for part, known in PARTS.items() for word in known}
    column = pd.Series(np.asarray(labels, dtype=object)).reset_index(drop=True)
    if len(column) != num_rows:
        raise InputError(f"split must have a value for each row ({num_rows}), got {len(column)}")
    found = column.map(lambda cell: words.get(str(cell).strip().lower()))
    if found.isna().any():
        row = int(found.isna().to_numpy().argmax())
        known = ", ".join(word for each in PARTS.values() for word in each[:2])
        raise InputError(f"split must be one of {known} in each row, got {column[row]!r} (row {row})")
    parts = found.to_numpy(dtype=str)
    for part in ("fit", "score"):
        if part not in parts:
            given = " and ".join(repr(word) for word in column.astype(str).unique()[:3].tolist())
            hint = STOP_ONLY if part == "score" and "stop" in parts else ""
            raise InputError(f"split must have rows that {part} ({', '.join(PARTS[part][:2])}), got only {given}{hint}")
    return parts
