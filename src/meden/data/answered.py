"""Rows that come with their answers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from meden._checks import InputError
from meden.data.dataset import check_column
from meden.data.frames import as_pandas
from meden.data.tables import named_columns


def rows_and_target(name: str, data: Any, target: str) -> tuple[Any, Any]:
    """Return rows, and the cells of their target, of a table that has it among its columns or of a pair of both.

    Args:
        name: of the argument, for messages.
        data: the table, or the pair (rows, target).
        target: column of the table.

    Raises:
        InputError: if it is neither, the column is missing, there are no rows, or not as many rows as targets.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2:
        rows, cells = data[0], as_pandas(data[1])
    else:
        frame = as_pandas(data)
        if not isinstance(frame, pd.DataFrame):
            raise InputError(f"{name} must be a table, or a pair (rows, target), got {type(data).__name__}")
        rows = named_columns(frame)
        check_column("target", target, rows)
        cells = rows[target]
    for part in (rows, cells):
        if not hasattr(part, "__len__") or getattr(part, "ndim", 1) == 0:
            raise InputError(f"{name} must be a pair of rows and targets of the same length, got {type(part).__name__}")
    if len(rows) != len(cells):
        raise InputError(f"{name} must have one target per row, got {len(cells)} targets and {len(rows)} rows")
    if len(cells) == 0:
        raise InputError(f"{name} must have rows, got none")
    return rows, cells
