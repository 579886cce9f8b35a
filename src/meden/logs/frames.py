"""Tables of what was logged, as rows of a log, a list for each run that they hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meden._checks import InputError, one_line
from meden.logs.columns import LOSS, Row, step_column, words

ABSENT = ("", "NA", "N/A", "None", "null", "-")
"""Cells in which nothing was logged; ``nan`` is a loss that is not a number."""
SEPARATORS = (",", ";", "\t")
RUN = re.compile(r"(.+) - (.+)")
"""How the columns of an export of several runs are named: the run, and what it logged."""
RANGE = re.compile(r"__(MIN|MAX)$")
"""End of the names of the columns that show the spread of a run, or of a group of runs, around a value."""


def rows_of_frame(frame: pd.DataFrame) -> dict[str, list[Row]]:
    """Return the rows of each run in a table, by the run's name, which is empty where there is one.

    Rows of training and rows of evaluation may alternate, with NaN where the other was logged: where no row has both
    losses NaN is nothing, and where some have, it is a loss that is not a number. Rows in which all is NaN, but for
    what counts them, are skipped.

    Example:
        >>> frame = pd.DataFrame({"step": [1, 1], "loss": [0.9, None], "val_loss": [None, 1.0]})
        >>> rows_of_frame(frame)[""]
        [{'step': 1, 'loss': 0.9}, {'step': 1, 'val_loss': 1.0}]

    Raises:
        InputError: if two columns have one name.
    """
    _check_different([str(column) for column in frame.columns])
    runs: dict[str, dict[str, str]] = {}
    shared: dict[str, str] = {}
    for column in map(str, frame.columns):
        found = RUN.fullmatch(column)
        if found and not RANGE.search(column):
            runs.setdefault(found[1], {})[column] = found[2]
        elif not found:
            shared[column] = column
    if not any(set(words(name)) & set(LOSS) for names in runs.values() for name in names.values()):
        runs, shared = {"": {str(column): str(column) for column in frame.columns}}, {}
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    return {
        run: _rows(frame[[*shared, *names]].set_axis([*shared, *names.values()], axis=1)) for run, names in runs.items()
    }


def rows_of_lists(lists: Mapping[str, Any], name: str) -> list[Row]:
    """Return the rows of lists by name, one for each epoch; of a longer one several values belong to each epoch.

    Raises:
        InputError: if a list is none, or its length is no multiple of the others'.
    """
    values: dict[str, list[Any]] = {}
    for key, given in lists.items():
        if isinstance(given, (str, bytes, Mapping)) or not hasattr(given, "__len__"):
            raise InputError(f"{name} must hold a list of numbers for each name, got {key}={given!r:.60}")
        values[str(key)] = np.asarray(given).tolist() if hasattr(given, "dtype") else list(given)
    lengths = {key: len(numbers) for key, numbers in values.items() if numbers}
    epochs = min(lengths.values(), default=0)
    odd = [f"{key} {length}" for key, length in lengths.items() if length % epochs]
    if odd:
        known = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise InputError(f"{name} must hold lists of the same length, or multiples of the shortest, got {known}")
    longest = max(lengths.values(), default=0)
    rows: list[dict[str, Any]] = [{} for _ in range(longest)]
    for key, length in lengths.items():
        every = longest // length if longest % length == 0 else 1
        for place, number in enumerate(values[key], start=1):
            if number is not None:
                rows[place * every - 1][key] = number
    return [row for row in rows if row]


def rows_of_csv(path: Path) -> dict[str, list[Row]]:
    """Return the rows of each run in a file of comma-separated values.

    Raises:
        InputError: if it is none, or two columns have one name.
    """
    try:
        frames = (pd.read_csv(path, sep=sep, dtype=str, keep_default_na=False) for sep in SEPARATORS)
        frame = next((frame for frame in frames if frame.shape[1] > 1), None)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"path must be a csv file with a header, got {str(path)!r}: {one_line(error)}") from None
    if frame is None:
        raise InputError(f"path must be a csv file with at least two columns, got {str(path)!r}")
    _check_different(_header(path))
    return rows_of_frame(frame)


def _header(path: Path) -> list[str]:
    """Return the names of a file's columns as they stand, where pandas has renamed those that recur."""
    sep = next(sep for sep in SEPARATORS if len(pd.read_csv(path, sep=sep, nrows=0).columns) > 1)
    cells = pd.read_csv(path, sep=sep, dtype=str, keep_default_na=False, header=None, nrows=1)
    return [str(cell) for cell in cells.iloc[0] if cell]


def _check_different(names: Sequence[str]) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"a log must have unique column names, got two of {twice!r}")


def _rows(frame: pd.DataFrame) -> list[Row]:
    """Return the rows of one run."""
    columns = list(frame.columns)
    records = [
        {column: value for column, value in zip(columns, row, strict=True) if not _is_absent(value)}
        for row in frame.astype(object).itertuples(index=False, name=None)
    ]
    counters = {column for column in columns if column == step_column([column])}
    filled = [{name for name, value in row.items() if not _is_nan(value)} for row in records]
    losses = [name for name in columns if set(words(name)) & set(LOSS)] or [n for n in columns if n not in counters]
    together = any(sum(name in names for name in losses) > 1 for names in filled)
    kept = zip(records, filled, strict=True)
    if together:
        return [row for row, names in kept if names]
    return [{name: row[name] for name in row if name in names} for row, names in kept if names - counters]


def _is_absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, str) and value.strip() in ABSENT)


def _is_nan(value: Any) -> bool:
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def check_rows(rows: Any, name: str) -> Sequence[Row]:
    """Check that something is a list of dictionaries, a row each.

    Raises:
        InputError: if it is not.
    """
    for row in rows:
        if not isinstance(row, Mapping):
            raise InputError(f"{name} must be a list of dictionaries, one per row, got {row!r:.60} in it")
    return [{str(key): value for key, value in row.items() if value is not None} for row in rows]
