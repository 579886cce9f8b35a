"""New rows on their way to a model: their inputs, which of them have no answer, and what is said of the others.

Legend: ``n`` rows. A row is a position from 0, in messages too: row 0 is the first under a header.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from torch import Tensor

from meden._checks import InputError
from meden._shown import ShownFields
from meden.data.columns import Values

OnMissing = Literal["error", "empty"]
ON_MISSING = ("error", "empty")
"""What becomes of rows without an answer: nothing is predicted, or they alone are left empty."""
SHOWN = 3


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class NewRows(ShownFields):
    """What an encoder makes of new rows."""

    x: Tensor
    """Inputs (n, ...), zeros in rows that are refused."""
    refused: Mapping[int, str]
    """Rows that no model can answer, with the reason."""
    remarks: Mapping[str, str]
    """What is said of columns, by what the remark is about: another encoder of the same rows says it likewise."""


def check_answered(refused: Mapping[int, str], num_rows: int) -> None:
    """Check that every row has an answer.

    Raises:
        InputError: naming rows and reasons.
    """
    if refused:
        raise InputError(
            f"rows must all be predictable, but {unanswered(refused, num_rows)}; correct them, or leave their "
            "predictions empty: on_missing='empty', or --on-missing empty on the command line"
        )


def warn_unanswered(refused: Mapping[int, str], num_rows: int) -> None:
    """Say which rows have no answer."""
    if refused:
        warnings.warn(f"predictions are left empty: {unanswered(refused, num_rows)}", stacklevel=4)


def unanswered(refused: Mapping[int, str], num_rows: int) -> str:
    """Return which rows have no answer, and why, in one line; rows of one reason are named together.

    Example:
        >>> unanswered({1: "column 'a' must hold numbers, got 'x'"}, 9)
        "1 of 9 rows cannot be predicted: column 'a' must hold numbers, got 'x' (row 1)"
    """
    reasons: dict[str, list[int]] = {}
    for row in sorted(refused):
        reasons.setdefault(refused[row], []).append(row)
    named = [f"{reason} ({_numbered(rows)})" for reason, rows in list(reasons.items())[:SHOWN]]
    left = sum(map(len, list(reasons.values())[SHOWN:]))
    more = f"; and {left} more" if left else ""
    return f"{len(refused)} of {num_rows} rows cannot be predicted: {'; '.join(named)}{more}"


def far_remark(values: Values, far: Values, low: float, high: float, shown: Callable[[float], str], taken: str) -> str:
    """Return what is said of numbers far outside of the fitted range.

    Example:
        >>> far_remark(np.array([1.0, 900.0]), np.array([False, True]), 0, 2, "{:g}".format, "clipped")
        '1 of 2 rows lie far outside the training range 0 to 2 (up to 900), clipped'
    """
    furthest = max(values[far], key=lambda value: abs(value - (low + high) / 2))
    return (
        f"{int(np.count_nonzero(far))} of {len(values)} rows lie far outside the training range {shown(low)} to "
        f"{shown(high)} (up to {shown(float(furthest))}), {taken}"
    )


def _numbered(rows: list[int]) -> str:
    shown = ", ".join(map(str, rows[:SHOWN]))
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"
