"""Likelihood ratios of membership: how a model's confidence in a row compares with that of other models.

Legend: ``M`` models, ``n`` rows. The models are each other's shadows: of those beside the one that is attacked, some
were fitted on a row and others never saw it. Models of one fold were fitted on the same rows, and what these rows did
to them they have in common, whichever row is asked about: none of them is a shadow of another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Folds = NDArray[np.int64]
"""Division of the rows, and fold in it, of each model, (M, 2)."""
SMALLEST = 2.0**-24
"""Smallest loss that is told from none, that of half precision: losses that were kept are of it."""
ENOUGH = 64
"""Shadows of a row for a variance of its own: with fewer, one of all rows together served the paper better."""


@dataclass(frozen=True, eq=False)
class Shadows:
    """Confidence in each row, of the shadows of one model, about normal."""

    inside: Array
    """Mean of those that were fitted on the row, (n,); NaN where there are none."""
    outside: Array
    """Mean of those that never saw it, (n,)."""
    num_inside: NDArray[np.int64]
    """How many they are, (n,): as many whether the model itself was fitted on the row or not."""
    num_outside: NDArray[np.int64]
    variance: Array
    """Within either kind, (n,)."""

    def of(self, rows: Mask) -> Shadows:
        """Return those of some rows."""
        return Shadows(**{name: values[rows] for name, values in vars(self).items()})


def confidences(losses: NDArray[Any], *, classified: bool) -> Array:
    """Return losses on a scale on which those of one row are about normal, higher for smaller losses.

    Of a class with probability p = exp(-loss) that is log(p / (1 - p)); of numbers, whose loss is a square, -log(loss).

    Args:
        losses: data losses, any shape, without weights.
        classified: whether they are cross-entropies.

    Example:
        >>> import numpy as np
        >>> confidences(-np.log([0.2, 0.9]), classified=True).round(3)
        array([-1.386,  2.197])

    Reference:
        N. Carlini et al., Membership inference attacks from first principles, 2022, section IV.
    """
    known = np.maximum(np.asarray(losses, dtype=np.float64), SMALLEST)
    if not classified:
        return np.asarray(-np.log(known))
    return np.asarray(-(known + np.log(-np.expm1(-known))))  # -log(exp(loss) - 1), which does not overflow


def shadows_of(model: int, scores: Array, members: Mask, outsiders: Mask, folds: Folds) -> Shadows:
    """Return what the shadows of a model say of each row.

    Where the rows were divided several times, they are the models of all other divisions: which of them were fitted on
    a row has nothing to do with whether this one was. In a single division they are the models of other folds that were
    fitted on the row; for a row that this model has not seen, those of one fold, the next in order, are left out, so
    that a row has as many shadows either way: else their number, which says how far a mean may be off, would give the
    answer away.

    Args:
        model: place of the one that is attacked.
        scores: confidences, (M, n).
        members: which rows each model was fitted on, (M, n).
        outsiders: which rows it never saw, (M, n).
        folds: division and fold of each model, (M, 2).
    """
    division, fold = folds[model]
    others = folds[:, 0] != division
    if others.any():
        kept = np.broadcast_to(others[:, None], scores.shape)
    else:
        own, next_fold = folds[:, 1], _next_folds(fold, members, folds[:, 1])
        kept = members & (own != fold)[:, None] & ~(outsiders[model] & (own[:, None] == next_fold))
    (inside, num_inside, first), (outside, num_outside, second) = (
        moments(scores, rows & kept) for rows in (members, outsiders)
    )
    squares, free = first + second, np.maximum(num_inside - 1, 0) + np.maximum(num_outside - 1, 0)
    pooled = np.sum(squares) / max(1, int(np.sum(free)))
    many = num_inside + num_outside >= ENOUGH
    variance = np.maximum(np.where(many, squares / np.maximum(free, 1), pooled), SMALLEST)
    return Shadows(inside, outside, num_inside, num_outside, variance)


def likelihood_ratios(scores: Array, members: Mask, outsiders: Mask, folds: Folds) -> Array:
    """Return how much more likely each row's confidence is if the model was fitted on it, (M, n), as logarithms.

    Both kinds of shadows are normal about means of their own, with one variance, so that the ratio is linear in the
    confidence: (gap / variance) (confidence - middle of the means). With few shadows gaps are mostly noise: they are
    drawn to the mean gap by as much as their spread is no larger than noise explains (empirical Bayes). In a single
    division no shadow has missed a row: all gaps are then taken to be alike, and the ratio is the confidence less the
    mean of those that were fitted on the row.

    Args:
        scores: confidences, (M, n).
        members: which rows each model was fitted on, (M, n).
        outsiders: which rows it never saw, (M, n).
        folds: division and fold of each model, (M, 2).

    Returns:
        NaN for rows that the model is neither of, such as those it was stopped by, and for rows without shadows.

    Reference:
        N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis and F. Tramer, Membership inference attacks from first
        principles, 2022; B. Efron and C. Morris, Stein's estimation rule and its competitors, 1973 (the shrinkage).
    """
    ratios = np.full(scores.shape, np.nan)
    for model, own in enumerate(scores):
        told = members[model] | outsiders[model]
        ratios[model, told] = _ratios(own[told], shadows_of(model, scores, members, outsiders, folds).of(told))
    return ratios


def _ratios(confidence: Array, found: Shadows) -> Array:
    both = (found.num_inside > 0) & (found.num_outside > 0)
    if not both.any():
        return np.asarray((confidence - found.inside) / np.sqrt(found.variance))
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = found.variance * (1 / found.num_inside + 1 / found.num_outside)
        weight = found.num_inside / (found.num_inside + found.num_outside)
    gap = found.inside - found.outside
    error, spread = math.sqrt(noise[both].mean() / both.sum()), gap[both].var() - noise[both].mean()
    mean = max(float(gap[both].mean()), error)  # a sign of noise would turn all models' scores at once
    gap = mean + (gap - mean) * (share := max(float(spread), 0.0)) / (share + noise)
    middle = weight * (found.inside - gap / 2) + (1 - weight) * (found.outside + gap / 2)
    return np.asarray(gap / found.variance * (confidence - middle))


def _next_folds(fold: int, members: Mask, folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row the next fold after one whose models were fitted on it, (n,); -1 where there is none."""
    names = np.unique(folds)
    found = np.full(members.shape[1], -1)
    for name in np.roll(names, -1 - int(np.searchsorted(names, fold)))[:-1]:
        found[members[folds == name].any(0) & (found < 0)] = name
    return found


def moments(scores: Array, rows: Mask) -> tuple[Array, NDArray[np.int64], Array]:
    """Return mean, number and sum of squares about the mean, over the models, of each row, (n,)."""
    num = rows.sum(0)
    with np.errstate(invalid="ignore"):
        mean = np.where(rows, scores, 0.0).sum(0) / num
    return mean, num, (np.where(rows, scores - mean, 0.0) ** 2).sum(0)
