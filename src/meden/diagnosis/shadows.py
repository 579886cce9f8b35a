"""Likelihood ratios of membership: how a model's confidence in a row compares with that of other models.

Legend: ``M`` models, ``n`` rows. The models are each other's shadows: of all but the one that is attacked, some were
fitted on a row and others never saw it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
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
        >>> confidences(-np.log([0.5, 0.9]), classified=True).round(3)
        array([0.   , 2.197])

    Reference:
        N. Carlini et al., Membership inference attacks from first principles, 2022, section IV.
    """
    known = np.maximum(np.asarray(losses, dtype=np.float64), SMALLEST)
    if not classified:
        return np.asarray(-np.log(known))
    return np.asarray(-(known + np.log(-np.expm1(-known))))  # -log(exp(loss) - 1), which does not overflow


def shadows_of(model: int, scores: Array, members: Mask, outsiders: Mask) -> Shadows:
    """Return what the other models say of each row.

    The model itself is none of its shadows. With it one model of the other kind is left out, the next one in order, so
    that a row has as many shadows of each kind whether the model was fitted on it or not: else their number, which says
    how far a mean may be off, would give the answer away.

    Args:
        model: place of the one that is attacked.
        scores: confidences, (M, n).
        members: which rows each model was fitted on, (M, n).
        outsiders: which rows it never saw, (M, n).
    """
    there = np.arange(len(scores))[:, None] != model
    partner, columns = _partners(model, members, outsiders), np.arange(scores.shape[1])
    kept = np.broadcast_to(there, scores.shape).copy()
    kept[partner[partner >= 0], columns[partner >= 0]] = False
    (inside, num_inside, first), (outside, num_outside, second) = (
        moments(scores, rows & kept) for rows in (members, outsiders)
    )
    squares, free = first + second, np.maximum(num_inside - 1, 0) + np.maximum(num_outside - 1, 0)
    pooled = np.sum(squares) / max(1, int(np.sum(free)))
    many = num_inside + num_outside >= ENOUGH
    variance = np.maximum(np.where(many, squares / np.maximum(free, 1), pooled), SMALLEST)
    return Shadows(inside, outside, num_inside, num_outside, variance)


def likelihood_ratios(scores: Array, members: Mask, outsiders: Mask) -> Array:
    """Return how much more likely each row's confidence is if the model was fitted on it, (M, n), as logarithms.

    Both kinds of shadows are normal about means of their own, with one variance, so that the ratio is linear in the
    confidence: (gap / variance) (confidence - middle of the means). With few shadows gaps are mostly noise: they are
    drawn to the mean gap by as much as their spread is no larger than noise explains (empirical Bayes). Where no shadow
    has missed a row (of one seed, only the model itself did), all gaps are taken to be alike, and the ratio is the
    confidence less the mean of those that were fitted on it.

    Args:
        scores: confidences, (M, n).
        members: which rows each model was fitted on, (M, n).
        outsiders: which rows it never saw, (M, n).

    Returns:
        NaN for rows that the model is neither of, such as those it was stopped by, and for rows without shadows.

    Reference:
        N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis and F. Tramer, Membership inference attacks from first
        principles, 2022; B. Efron and C. Morris, Stein's estimation rule and its competitors, 1973 (the shrinkage).
    """
    ratios = np.full(scores.shape, np.nan)
    for model, own in enumerate(scores):
        told = members[model] | outsiders[model]
        ratios[model, told] = _ratios(own[told], shadows_of(model, scores, members, outsiders).of(told))
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


def _partners(model: int, members: Mask, outsiders: Mask) -> NDArray[np.int64]:
    """Return for each row the next model that is of the other kind, (n,); -1 where there is none, or this is neither.

    One that was fitted on the row is paired with one that never saw it, and the other way round.
    """
    found = np.full(members.shape[1], -1)
    for step in range(1, len(members)):
        other = (model + step) % len(members)
        fits = (members[model] & outsiders[other]) | (outsiders[model] & members[other])
        found[fits & (found < 0)] = other
    return found


def moments(scores: Array, rows: Mask) -> tuple[Array, NDArray[np.int64], Array]:
    """Return mean, number and sum of squares about the mean, over the models, of each row, (n,)."""
    num = rows.sum(0)
    with np.errstate(invalid="ignore"):
        mean = np.where(rows, scores, 0.0).sum(0) / num
    return mean, num, (np.where(rows, scores - mean, 0.0) ** 2).sum(0)
