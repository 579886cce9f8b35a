"""One of the ways to train that a comparison holds against each other, and means of its results over the folds.

Legend: ``F`` folds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meden._shown import ShownFields
from meden.data import Fold
from meden.recipe import Recipe
from meden.study.ledger import Row
from meden.study.results import TrialStatus

Array = NDArray[np.float64]
CONFIDENCE = 0.95


class FoldMean(NamedTuple):
    """A mean over folds, of results or of paired differences.

    Attributes:
        mean: mean over the folds.
        error: standard error, corrected for what the training parts of the folds share.
        low: lower end of its interval.
        high: upper end of its interval.
    """

    mean: float
    error: float
    low: float
    high: float


@dataclass(frozen=True, repr=False)
class Alternative(ShownFields):
    """One way to train, and its results; arrays are (F,), one number for each fold, averaged over seeds.

    Attributes:
        name: what it is called.
        recipe: how it is trained.
        model_args: what its model is made with.
        losses: mean data loss of the held-out rows; NaN where a run diverged.
        scores: mean accuracy, or mean squared error in the units of the target, of the held-out rows.
        train_losses: mean data loss of the fitting rows.
        status: ``"ok"``, or what became of it: ``"diverged"``, ``"failed"`` or ``"dropped"``.
        reason: why it diverged; empty where it is ok.
        rows: its fits, ordered by fold, then seed.
    """

    name: str
    recipe: Recipe
    model_args: Mapping[str, Any]
    losses: Array
    scores: Array
    train_losses: Array
    status: TrialStatus
    reason: str
    rows: tuple[Row, ...] = ()

    @property
    def outcome(self) -> str:
        """Status and reason, to be read."""
        return f"{self.status}: {self.reason}" if self.reason else self.status


def mean_over_folds(values: Array, overlap: float, confidence: float = CONFIDENCE) -> FoldMean:
    """Return mean, corrected standard error and interval of results, or differences, in folds of a cross-validation.

    Args:
        values: (F,), two or more.
        overlap: scored rows for each row that trains. Folds share training rows, so that their results are not
            independent; the variance of the mean is s^2 (1/F + overlap) and not s^2 / F.
        confidence: coverage of the interval, in (0, 1).

    Example:
        >>> found = mean_over_folds(np.array([1.0, 2.0, 3.0]), overlap=0.5)
        >>> round(found.mean, 3), round(found.error, 3)
        (2.0, 0.913)
    """
    from scipy import stats

    num_folds = len(values)
    mean = float(values.mean())
    error = float(values.std(ddof=1) * math.sqrt(1 / num_folds + overlap))
    half = error * float(stats.t.ppf((1 + confidence) / 2, num_folds - 1))
    return FoldMean(mean, error, mean - half, mean + half)


def overlap(folds: Sequence[Fold]) -> float:
    """Return the scored rows for each row that trains, on average over the folds."""
    return float(np.mean([len(fold.score) / (len(fold.fit) + len(fold.stop)) for fold in folds]))
