"""Choosing among configurations, and what the choice is worth.

Legend: ``M`` configurations, ``F`` folds times seeds, ``n`` rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BLOCK_SIZE = 2**22
"""Numbers of a bootstrap block: it bounds the memory, and changes no result."""


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
    random = np.random.default_rng(seed)
    blocks = _counts(losses.shape[1], num_draws, random)
    estimates = np.concatenate([_left_out_means(counts, losses) for counts in blocks])
    estimates = estimates[np.isfinite(estimates)]  # a draw of very few rows may leave none out
    low, high = np.quantile(estimates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Score(float(estimates.mean()), float(low), float(high), confidence, naive)


def _counts(num_rows: int, num_draws: int, random: np.random.Generator) -> Iterator[Array]:
    """Yield how often each row was drawn, (draws, n), in blocks that fit into memory."""
    per_block = max(1, BLOCK_SIZE // num_rows)
    for start in range(0, num_draws, per_block):
        drawn = (random.integers(num_rows, size=num_rows) for _ in range(start, min(start + per_block, num_draws)))
        yield np.stack([np.bincount(rows, minlength=num_rows) for rows in drawn]).astype(np.float64)


def _left_out_means(counts: Array, losses: Array) -> Array:
    """Return, for each draw, the mean loss of its winner over the rows it left out, (draws,); NaN if there are none."""
    winners = np.argmin(counts @ losses.T, axis=1)
    left_out = counts == 0
    totals = np.where(left_out, losses[winners], 0.0).sum(axis=1)
    num_left = left_out.sum(axis=1)
    with np.errstate(invalid="ignore"):
        means: Array = totals / num_left
    return means
