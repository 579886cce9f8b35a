"""Rows of which only the labels are known, or nothing at all: those of a search whose features somebody else reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from meden._checks import InputError, check_choice, check_count
from meden.data.arrays import Arrays
from meden.data.dataset import Dataset, group_codes
from meden.data.targets import TASKS, Target, read_target

ROWS = "rows"


def as_rows(rows: Any, *, task: str | None = None, groups: Any = None) -> Dataset:
    """Return a data set without features.

    Args:
        rows: labels or numbers (n,), by which folds are balanced and predictions scored; or how many rows there are.
        task: ``"classification"`` or ``"regression"``; None infers it from the labels.
        groups: labels (n,) of rows that stay together.

    Raises:
        InputError: if ``rows`` is neither, or cannot be a target.

    Example:
        >>> as_rows(["no", "yes", "no", "yes"]).classes, as_rows(4).task
        (('no', 'yes'), 'losses')
    """
    if isinstance(groups, str):
        raise InputError(
            f"groups must be labels (n,) for a training function, whose rows have no columns, got {groups!r}"
        )
    if isinstance(rows, int | np.integer) and not isinstance(rows, bool):
        check_count(ROWS, rows, low=2)
        if task is not None:
            raise InputError(f"task must be None when rows are {rows} without labels, got {task!r}")
        target = Target(ROWS, "losses", (), np.zeros(int(rows)))
    else:
        if task is not None:
            check_choice("task", task, TASKS)
        target = read_target(_column(rows), _name(rows), task=task)
    num_rows = len(target.labels)
    return Dataset(Arrays(torch.empty(num_rows, 0)), target, group_codes(groups, num_rows))


def _column(rows: Any) -> pd.Series[Any]:
    if isinstance(rows, torch.Tensor):
        rows = rows.detach().cpu().numpy()
    cells = rows.to_numpy() if hasattr(rows, "to_numpy") else rows
    if isinstance(cells, (str, bytes)) or np.ndim(cells) != 1 or len(cells) < 2:
        shape = "" if isinstance(cells, (str, bytes)) else f" of shape {np.shape(cells)}"
        raise InputError(f"rows must be labels (n,) or a number of rows, at least 2, got {type(rows).__name__}{shape}")
    return pd.Series(cells)


def _name(rows: Any) -> str:
    return str(getattr(rows, "name", None) or ROWS)
