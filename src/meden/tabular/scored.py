"""The rows of folds that train and that score, and what answers cost.

Legend: ``n`` rows, ``C`` classes, ``M`` numbers to predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meden.data import Dataset, Fold

Array = NDArray[Any]
SMALLEST = float(np.finfo(np.float32).eps)
"""Probability that an impossible class is taken to have had."""


def training_rows(fold: Fold) -> Array:
    """Return the rows that a model without a stop split trains on, in order."""
    return np.sort(np.concatenate([fold.fit, fold.stop]))


def counting(dataset: Dataset, rows: Array) -> Array:
    """Return those of some rows whose weight is above 0; all if none is."""
    if dataset.weights is None or not (dataset.weights[rows] > 0).any():
        return rows
    return np.asarray(rows[dataset.weights[rows] > 0])


@dataclass(frozen=True, eq=False)
class Scored:
    """What is known of the scored rows, one fold behind the other.

    Attributes:
        labels: classes (n,) or numbers (n,) or (n, M).
        shares: their weights, (n,), which add up to 1.
        is_classes: whether they are classes.
    """

    labels: Array
    shares: Array
    is_classes: bool

    @classmethod
    def of(cls, dataset: Dataset, folds: Sequence[Fold]) -> Scored:
        """Return them in the order of :attr:`meden.tabular.candidate.Candidate.outputs`."""
        rows = np.concatenate([fold.score for fold in folds])
        weights = np.ones(len(rows)) if dataset.weights is None else dataset.weights[rows]
        total = weights.sum()
        shares = weights / total if total > 0 else np.full(len(rows), 1 / len(rows))
        return cls(dataset.labels[rows], shares, dataset.task == "classification")

    def loss(self, outputs: Array) -> float:
        """Return the mean cross-entropy in nats, or the mean squared error as a part of the variance, mean over M.

        Example:
            >>> rows = Scored(np.array([0, 1]), np.array([0.5, 0.5]), True)
            >>> round(rows.loss(np.array([[0.5, 0.5], [0.5, 0.5]])), 4)
            0.6931
        """
        if self.is_classes:
            told = np.maximum(outputs[np.arange(len(outputs)), self.labels], SMALLEST)
            return float(self.shares @ -np.log(told))
        y, given = (part.reshape(len(self.labels), -1) for part in (self.labels, outputs))
        spread = self.shares @ (y - self.shares @ y) ** 2
        return float(np.mean((self.shares @ (y - given) ** 2) / np.where(spread > 0, spread, 1.0)))
