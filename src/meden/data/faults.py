"""Reading a table of which some cells, rows or columns can train nothing: what they are, and a data set of the rest.

Legend: ``n`` rows of the table, ``r`` of them that are read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from meden._checks import BadCells, InputError
from meden.data.columns import text_of
from meden.data.dataset import Dataset, chosen_columns, from_table, group_codes, read_dataset
from meden.data.numerals import Hint
from meden.data.reading import Reading, ReadOptions, hint_of, read_column, without
from meden.data.tables import read_columns
from meden.data.targets import read_target

Cells = tuple[tuple[int, str], ...]
"""Rows, as positions in the table from 0, and the text of a cell of each; empty where there is none."""


@dataclasses.dataclass(frozen=True)
class Faults:
    """What of a table was left out of its data set, since training refuses it."""

    empty: tuple[str, ...] = ()
    """Columns without a value, left out."""
    unreadable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Columns left out, and why."""
    cells: Mapping[str, Cells] = dataclasses.field(default_factory=dict)
    """Numbers by column that are infinite, or beside which all others vanish; taken as missing."""
    unlabelled: Cells = ()
    """Rows whose target is missing or no number among numbers, left out."""
    ungrouped: Cells = ()
    """Rows without a group, left out."""
    rows: npt.NDArray[np.int64] | None = None
    """Positions in the table of the rows that are read, (r,); None where all are."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that were left out."""
        return (*self.empty, *self.unreadable)

    @property
    def in_cells(self) -> bool:
        """Whether no option leaves out what is wrong, only a change of the table."""
        return bool(self.cells or self.unlabelled or self.ungrouped)


def read_with_faults(
    data: Any,
    *,
    target: str | None = None,
    task: str | None = None,
    groups: Any = None,
    drop: Sequence[str] = (),
    options: ReadOptions | None = None,
) -> tuple[Dataset, Faults]:
    """Read a data set as :func:`meden.as_dataset` does, but of a table also what is left without its faults.

    Args:
        data: as there.
        target: as there.
        task: as there.
        groups: as there.
        drop: as there.
        options: of reading.

    Raises:
        InputError: for what cannot be read at all: arguments, arrays, a target of one value or of none.

    Example:
        >>> frame = pd.DataFrame({"a": [1.0, np.inf, 2.0, 3.0], "b": None, "y": ["no", "yes", None, "no"]})
        >>> dataset, faults = read_with_faults(frame, target="y")
        >>> dataset.num_rows, faults.empty, faults.cells, faults.unlabelled
        (3, ('b',), {'a': ((1, 'inf'),)}, ((2, ''),))
    """
    found = [Faults()]

    def make(*table: Any) -> Dataset:
        try:
            return from_table(*table)
        except InputError:  # what is not mended below is refused there too
            dataset, found[0] = _mended(*table)
            return dataset

    return read_dataset(data, make, target, task, groups, drop, options or ReadOptions()), found[0]


def _mended(
    frame: pd.DataFrame,
    y: pd.Series[Any],
    name: str,
    task: str | None,
    groups: Any,
    drop: Sequence[str],
    options: ReadOptions,
    separator: str | None,
) -> tuple[Dataset, Faults]:
    features, groups = chosen_columns(frame, name, groups, drop, options)
    hint = hint_of([y, *(frame[column] for column in frame.columns)], separator)
    rows = np.arange(len(frame))

    def read(labels: pd.Series[Any]) -> Any:
        return read_target(labels, name, task=task, options=options, hint=hint)

    if groups is not None:
        groups = pd.Series(np.asarray(groups))
        if len(groups) != len(frame):
            group_codes(groups, len(frame))
    rows, ungrouped = _usable(rows, groups, lambda labels: group_codes(labels, len(labels)))
    rows, unlabelled = _usable(rows, y, read)
    features, faults = _usable_columns(features.iloc[rows], rows, options, hint)
    table = read_columns(features, options, hint)
    codes = None if groups is None else group_codes(groups.iloc[rows], len(rows))
    target = read(y.iloc[rows])
    if target.reading is not None:
        target = dataclasses.replace(target, reading=_placed(target.reading, rows))
    table = dataclasses.replace(table, readings=tuple(_placed(reading, rows) for reading in table.readings))
    left = rows if len(rows) < len(frame) else None
    faults = dataclasses.replace(faults, unlabelled=unlabelled, ungrouped=ungrouped, rows=left)
    return Dataset(table, target, codes), faults


def _usable(
    rows: npt.NDArray[np.int64], column: pd.Series[Any] | None, read: Callable[[pd.Series[Any]], object]
) -> tuple[npt.NDArray[np.int64], Cells]:
    """Return the rows whose cells can be read, and those whose cannot."""
    if column is None:
        return rows, ()
    wrong = list[tuple[int, str]]()
    while True:
        try:
            read(column.iloc[rows])
        except BadCells as error:
            gone = rows[list(error.rows)]
            if len(gone) == len(rows):
                raise
            wrong += _texts(column, gone)
            rows = np.setdiff1d(rows, gone)
        else:
            return rows, tuple(sorted(wrong))


def _usable_columns(
    features: pd.DataFrame, rows: npt.NDArray[np.int64], options: ReadOptions, hint: Hint | None
) -> tuple[pd.DataFrame, Faults]:
    """Return the columns that can be read, without cells that cannot."""
    kept, empty, unreadable, wrong = {}, [], {}, {}
    for name in features.columns:
        column, cells = features[name].reset_index(drop=True), list[tuple[int, str]]()
        kept[name] = column
        while options.read.get(name) != "drop":
            if without(column, options.na).isna().all():
                empty.append(name)
                break
            try:
                read_column(column, options, hint)
                break
            except BadCells as error:
                gone = list(error.rows)
                cells += [(int(rows[row]), text) for row, text in _texts(column, gone)]
                column = column.mask(np.isin(np.arange(len(column)), gone))
                kept[name] = column
            except InputError as error:
                if name in options.read:
                    raise
                unreadable[name] = str(error)
                break
        if cells:
            wrong[name] = tuple(sorted(cells))
    left = {name: column for name, column in kept.items() if name not in empty and name not in unreadable}
    return pd.DataFrame(left), Faults(tuple(empty), unreadable, wrong)


def _texts(column: pd.Series[Any], rows: Sequence[int] | npt.NDArray[np.int64]) -> list[tuple[int, str]]:
    cells = ((int(row), column.iloc[row]) for row in rows)
    return [
        (row, "" if pd.isna(cell) else f"{cell:g}" if isinstance(cell, float) else text_of(cell)) for row, cell in cells
    ]


def _placed(reading: Reading, rows: npt.NDArray[np.int64]) -> Reading:
    """Return a reading whose rows are places in the table."""
    return dataclasses.replace(reading, unread=tuple((int(rows[row]), text) for row, text in reading.unread))
