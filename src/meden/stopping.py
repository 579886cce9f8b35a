"""When to stop: a rule, a state, and one pure update that serves one run and a population alike.

Legend: every number of the state is a 0-d array for one run, or an array of shape (K,) for K members.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from meden._settings import Settings


class EarlyStopping(Settings):
    """Stop when the held-out loss has not improved for a while, and go back to the best state.

    Args:
        patience: epochs without an improvement that are waited for, 1 or more.
        min_delta: a fall of the held-out loss counts as an improvement when it is larger than this, 0 or more (same
            units as the loss).

    Example:
        >>> EarlyStopping(patience=5)
        EarlyStopping(patience=5, min_delta=0.0)

    Reference:
        L. Prechelt, Early stopping - but when?, 1998.
    """

    patience: int = Field(default=10, ge=1)
    min_delta: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class StopState(NamedTuple):
    """What early stopping remembers."""

    best: NDArray[np.float64]
    """Lowest score so far."""
    waited: NDArray[np.int64]
    """Epochs since then."""


class Verdict(NamedTuple):
    """What one update says."""

    improved: NDArray[np.bool_]
    stop: NDArray[np.bool_]


def start(shape: tuple[int, ...] = ()) -> StopState:
    """Return the state before the first epoch, for one run or for a stack of ``shape``."""
    return StopState(np.full(shape, np.inf), np.zeros(shape, dtype=np.int64))


def update(
    state: StopState, score: ArrayLike, *, patience: ArrayLike, min_delta: ArrayLike = 0.0
) -> tuple[StopState, Verdict]:
    """Take the score of one more epoch (lower is better; NaN never improves).

    Args:
        state: from :func:`start` or the previous update.
        score: held-out loss, a number or (K,).
        patience: epochs to wait, a number or (K,).
        min_delta: smallest fall that counts, a number or (K,).

    Example:
        >>> state, verdict = update(start(), 1.0, patience=1)
        >>> state, verdict = update(state, 1.2, patience=1)
        >>> bool(verdict.improved), bool(verdict.stop)
        (False, True)
    """
    score = np.asarray(score, dtype=np.float64)
    improved = score < state.best - np.asarray(min_delta)
    waited = np.where(improved, 0, state.waited + 1)
    return StopState(np.where(improved, score, state.best), waited), Verdict(improved, waited >= np.asarray(patience))
