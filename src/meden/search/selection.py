"""Choosing among configurations, and what the choice is worth.

Legend: ``M`` configurations, ``F`` folds times seeds, ``n`` rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """An estimate with its interval."""

    estimate: float
    """Held-out loss of the chosen configuration, corrected for having chosen it."""
    low: float
    high: float
    """Ends of the interval."""
    confidence: float
    """Coverage the interval aims at."""
    naive: float
    """The chosen configuration's mean over the folds, uncorrected: too good when many were tried."""


def standard_error(values: Array) -> float:
    """Return the standard error of a mean; infinite for a single value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


def best(scores: Array) -> int:
    """Return the row of the lowest mean; a row with NaN (it diverged) ranks last.

    Args:
        scores: (M, F), lower is better.
    """
    means = scores.mean(axis=1)
    return int(np.argmin(np.where(np.isfinite(means), means, np.inf)))


def one_standard_error(scores: Array, simplicity: Sequence[float]) -> int:
    """Return the simplest row whose paired difference from the best is within one standard error.

    Args:
        scores: (M, F), lower is better; columns are the same folds and seeds for every row.
        simplicity: (M,), larger is simpler.

    Reference:
        L. Breiman, J. Friedman, R. Olshen and C. Stone, Classification and regression trees, 1984 (the rule);
        here with the standard error of paired differences, which shared folds make smaller.
    """
    leader = best(scores)
    close = [row for row in range(len(scores)) if _within_one_error(scores[row] - scores[leader])]
    return max(close, key=lambda row: (simplicity[row], -scores[row].mean()), default=leader)


def _within_one_error(differences: Array) -> bool:
    return bool(np.isfinite(differences).all() and differences.mean() <= standard_error(differences))


def corrected_score(
    losses: Array, *, naive: float, num_draws: int = 1000, confidence: float = 0.9, seed: int = 0
) -> Score:
    """Return what the winner is worth once its having been chosen is accounted for.

    Rows are drawn with replacement; each draw chooses its own winner on the rows drawn and scores it on the rows left
    out, so that no row both chooses and scores.

    Args:
        losses: (M, n), the out-of-fold loss of each configuration on each row; NaN rows (diverged) never win.
        naive: the uncorrected mean, passed through.
        num_draws: bootstrap draws.
        confidence: coverage of the interval, in (0, 1).
        seed: of the draws.

    Reference:
        I. Tsamardinos, E. Greasidou and G. Borboudakis, Bootstrapping the out-of-sample predictions for efficient and
        accurate cross-validation, 2018.
    """
    losses = losses[np.isfinite(losses).all(axis=1)]
    num_rows = losses.shape[1]
    random = np.random.default_rng(seed)
    drawn = random.multinomial(num_rows, np.full(num_rows, 1 / num_rows), size=num_draws)
    winners = np.argmin(drawn @ losses.T, axis=1)
    left_out = (drawn == 0).astype(np.float64)
    estimates = (left_out * losses[winners]).sum(axis=1) / left_out.sum(axis=1)
    low, high = np.quantile(estimates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Score(float(estimates.mean()), float(low), float(high), confidence, naive)
