"""Cross-entropy as a function of scores.

Legend: ``n`` rows, ``C`` classes, ``K`` scores of a row: one for two classes (that of the second), else one a class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def probabilities(scores: Array) -> Array:
    """Return probabilities (n, C) of scores (n, K).

    Example:
        >>> probabilities(np.array([[0.0]])).tolist(), probabilities(np.zeros((1, 4))).tolist()
        ([[0.5, 0.5]], [[0.25, 0.25, 0.25, 0.25]])
    """
    if scores.shape[1] == 1:
        small = np.exp(-np.abs(scores))
        sure, other = 1 / (1 + small), small / (1 + small)
        return np.hstack([np.where(scores >= 0, other, sure), np.where(scores >= 0, sure, other)])
    moved = np.ascontiguousarray(scores.T)  # numpy adds up few long rows much faster than many short ones
    odds = np.exp(moved - moved.max(axis=0))
    return np.ascontiguousarray((odds / odds.sum(axis=0)).T)


@dataclass(frozen=True, eq=False)
class CrossEntropy:
    """Weighted mean cross-entropy of rows, in nats.

    Attributes:
        targets: 1 where a score's class is the row's own, else 0, (n, K).
        shares: positive weights of the rows, (n,), that add up to 1.
    """

    targets: Array
    shares: Array

    @classmethod
    def of(cls, labels: Array, num_classes: int, shares: Array) -> CrossEntropy:
        """Return that of rows of classes (n,) from 0, of which there are two or more, all present."""
        hot = (labels[:, None] == np.arange(num_classes)).astype(np.float64)
        return cls(hot[:, 1:] if num_classes == 2 else hot, shares)

    @property
    def num_scores(self) -> int:
        """Scores K of a row."""
        return int(self.targets.shape[1])

    @property
    def largest_curvature(self) -> float:
        """A bound of the second derivative in any direction of a row's scores."""
        return 0.25 if self.num_scores == 1 else 0.5

    def start(self) -> Array:
        """Return the best scores that are alike for all rows, (K,).

        Example:
            >>> CrossEntropy.of(np.array([0, 1, 1, 1]), 2, np.full(4, 0.25)).start().round(4).tolist()  # log(3)
            [1.0986]
        """
        share = self.shares @ self.targets
        levels = np.log(share / (1 - share)) if self.num_scores == 1 else np.log(share) - np.log(share).mean()
        return np.asarray(levels)

    def __call__(self, scores: Array) -> tuple[float, Array]:
        """Return the loss, and its gradient in the scores (n, K)."""
        if self.num_scores == 1:
            found = probabilities(scores)[:, 1:]
            losses = np.maximum(scores, 0) - scores * self.targets + np.log1p(np.exp(-np.abs(scores)))
            return float(self.shares @ losses[:, 0]), (found - self.targets) * self.shares[:, None]
        moved = scores.T.copy()
        moved -= moved.max(axis=0)
        odds = np.exp(moved)
        total = odds.sum(axis=0)
        losses = np.log(total) - (moved * self.targets.T).sum(axis=0)
        return float(self.shares @ losses), np.ascontiguousarray(((odds / total - self.targets.T) * self.shares).T)

    def curvature(self, scores: Array) -> float:
        """Return the mean second derivative in a row's scores: how much a step may change."""
        found = probabilities(scores)
        return max(float(self.shares @ (found * (1 - found)).mean(axis=1)), 1e-6)

    def hessian(self, x: Array, scores: Array) -> Array:
        """Return the second derivatives (K D, K D) in weights (K, D) of inputs x (n, D)."""
        found = probabilities(scores)[:, -self.num_scores :]
        parts = [
            [x.T @ (x * (self.shares * found[:, i] * ((i == j) - found[:, j]))[:, None]) for j in range(i + 1)]
            for i in range(self.num_scores)
        ]
        whole = [[parts[max(i, j)][min(i, j)] for j in range(self.num_scores)] for i in range(self.num_scores)]
        return np.block(whole)
