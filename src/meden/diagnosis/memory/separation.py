"""How far two groups of rows are told apart by a score, when models score the same rows: AUC and low error rates.

Legend: ``M`` models, ``n`` rows. A row is a member of a model that was fitted on it, and an outsider of one that never
saw it; the score of a member should be the higher one if the model knows it by heart.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
CONFIDENCE = 0.95
MOST_POINTS = 100
"""Of a curve that is drawn."""
ROUNDING = 1e-9
"""By so much an AUC may be off: where each row is once in either group, one of 0.5 has no spread at all."""


@dataclass(frozen=True)
class Auc:
    """Probability that a member scores higher than an outsider, ties counted half, with a 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def to_dict(self) -> dict[str, float]:
        """Return plain values that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class TruePositives:
    """Share of the members above a threshold that so few outsiders are above, with a 95 % interval."""

    false_positives: float
    """Share of the outsiders."""
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2%} ({self.low:.2%} to {self.high:.2%}) at {self.false_positives:.2%} false positives"

    def to_dict(self) -> dict[str, float]:
        """Return plain values that JSON can hold."""
        return asdict(self)


def auc(
    scores: Scores,
    members: Mask,
    outsiders: Mask,
    clusters: NDArray[np.int64] | None = None,
    *,
    compared: bool = False,
) -> Auc | None:
    """Return the AUC, averaged over models, with DeLong's interval.

    A model's AUC is a mean over its members of the share of outsiders below them, and likewise over outsiders; what a
    row adds to both, in all models, is its influence, and the variance is the sum of squared influences. A row that is
    a member here and an outsider there counts once, as do the rows of a cluster. Where scores compare models with each
    other, rows of one model are no longer independent: what models differ by beyond their rows is added. The interval
    is symmetric on the scale of log odds; one of a perfect separation reaches down to what luck could have shown.

    Args:
        scores: (M, n), any numbers.
        members: which rows each model was fitted on, (M, n).
        outsiders: which rows it never saw, (M, n).
        clusters: of rows that depend on each other, (n,); None is each row by itself.
        compared: whether scores compare models with each other.

    Returns:
        None if no model has two of both.

    Example:
        >>> import numpy as np
        >>> scores, members = np.array([[0.9, 0.8, 0.4, 0.7, 0.2, 0.1]]), np.array([[True] * 3 + [False] * 3])
        >>> print(auc(scores, members, ~members))
        0.889 (0.330 to 0.992)

    Reference:
        E. DeLong, D. DeLong and D. Clarke-Pearson, Comparing the areas under two or more correlated receiver operating
        characteristic curves, 1988; N. Obuchowski, Nonparametric analysis of clustered ROC curve data, 1997;
        A. Cameron, J. Gelbach and D. Miller, Robust inference with multiway clustering, 2011 (rows and models).
    """
    influence, values, fewest, within = np.zeros(scores.shape[1]), [], scores.shape[1], 0.0
    for own, inside, outside in zip(scores, members, outsiders, strict=True):
        places, others = np.flatnonzero(inside), np.flatnonzero(outside)
        if min(len(places), len(others)) < 2:
            continue
        above = _share_below(own[places], own[others])
        below = 1 - _share_below(own[others], own[places])
        values.append(float(above.mean()))
        inner, outer = (above - values[-1]) / len(places), (below - values[-1]) / len(others)
        influence[places] += inner
        influence[others] += outer
        within += float(inner @ inner + outer @ outer)
        fewest = min(fewest, len(places), len(others))
    if not values:
        return None
    value = math.fsum(values) / len(values)
    summed = influence if clusters is None else np.bincount(clusters, weights=influence)
    num = np.count_nonzero((members | outsiders).any(0)) if clusters is None else len(np.unique(clusters))
    squares = float(summed @ summed) * num / max(1, num - 1)
    if compared and len(values) > 1:
        between = float(np.var(values, ddof=1)) * len(values)
        squares += max(0.0, between - within)
    return _interval(value, math.sqrt(squares) / len(values), fewest)


def true_positives(
    scores: Scores,
    members: Mask,
    outsiders: Mask,
    false_positives: float,
    clusters: NDArray[np.int64] | None = None,
) -> TruePositives | None:
    """Return the share of members found by one threshold for all models, at a low share of outsiders taken for one.

    The interval assumes nothing of how scores are distributed. The threshold that so few outsiders are above lies,
    with 97.5 %, between two of their scores, whose ranks are binomial; at both, the share of members has the interval
    of Clopper and Pearson, with 97.5 % again. Rows that several models score count once. With fewer outsiders than
    one over their share, no score of theirs bounds the threshold from above, and the interval begins at 0.

    Args:
        scores: (M, n).
        members: (M, n).
        outsiders: (M, n).
        false_positives: share of outsiders above the threshold, in (0, 1).
        clusters: as for :func:`auc`.

    Returns:
        None if there are no members or outsiders.

    Reference:
        N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis and F. Tramer, Membership inference attacks from first
        principles, 2022 (why low error rates); C. Clopper and E. Pearson, 1934.
    """
    from scipy.stats import beta, binom

    found, others = np.sort(scores[members]), np.sort(scores[outsiders])[::-1]
    if not len(found) or not len(others):
        return None
    num, num_others = _independent(members, clusters), _independent(outsiders, clusters)
    level = (1 - CONFIDENCE) / 4  # half of what may be missed for the threshold, half for the share, on two sides each
    fewest, most = (int(binom.ppf(side, num_others, false_positives)) for side in (level, 1 - level))

    def share_above(num_above: float) -> float:
        """Return the share of members above all but so many outsiders."""
        place = min(int(num_above), len(others) - 1)
        return 1 - int(np.searchsorted(found, others[place], side="right")) / len(found)

    scale = len(others) / num_others
    value = share_above(false_positives * len(others))
    strict = 0.0 if fewest == 0 else share_above((fewest - 1) * scale)
    loose = share_above(most * scale) if most < num_others else 1.0
    low = float(beta.ppf(level, strict * num, num - strict * num + 1)) if strict > 0 else 0.0
    high = float(beta.ppf(1 - level, loose * num + 1, num - loose * num)) if loose < 1 else 1.0
    return TruePositives(false_positives, value, min(low, value), max(high, value))


def roc(scores: Scores, members: Mask, outsiders: Mask) -> NDArray[np.float64]:
    """Return shares of outsiders and of members above thresholds, (2, k), the strictest first.

    Outsiders' shares are spread evenly over their logarithm, from one of them to all; k is 100 at most.
    """
    found, others = np.sort(scores[members]), np.sort(scores[outsiders])[::-1]
    counts = np.unique(np.geomspace(1, len(others), MOST_POINTS).round().astype(int))
    thresholds = others[counts - 1]
    above = [1 - np.searchsorted(ordered, thresholds, side="left") / len(ordered) for ordered in (others[::-1], found)]
    return np.stack(above)


def _share_below(values: Scores, others: Scores) -> NDArray[np.float64]:
    """Return for each value the share of others below it, ties counted half."""
    ordered = np.sort(others)
    counted = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(counted / (2 * len(ordered)))


def _interval(value: float, error: float, fewest: int) -> Auc:
    from scipy.special import expit, logit, ndtri

    tail = (1 - CONFIDENCE) / 2
    certain = tail ** (1 / fewest)  # of so many independent draws, each as far as can be
    if value >= 1.0 - ROUNDING or value <= ROUNDING:
        return Auc(value, min(certain, value), max(1 - certain, value))
    half = -ndtri(tail) * error / (value * (1 - value))
    low, high = (float(expit(logit(value) + sign * half)) for sign in (-1, 1))
    return Auc(value, min(low, value - ROUNDING), max(high, value + ROUNDING))


def _independent(rows: Mask, clusters: NDArray[np.int64] | None) -> int:
    there = rows.any(0)
    return int(there.sum()) if clusters is None else len(np.unique(clusters[there]))
