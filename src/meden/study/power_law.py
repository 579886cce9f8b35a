"""A power law for the loss in the number of rows, with draws of what the rows, the form and its beginning leave open.

Three forms compete: ``c + a n^-b``, the same with ``c = 0``, and a constant. So do the sizes at which the form begins,
as small ones often follow another law. Each counts by its weight of evidence, Akaike's, where a size that is left out
costs as much as a parameter (Jay and Neil). The rows count through draws of the mean curve whose every linear function
has Student's distribution over the folds: a wild bootstrap of whole curves, so that what a fold's sizes share stays so.

Legend: ``F`` folds, ``S`` sizes, ``B`` exponents tried, ``D`` draws.

Reference:
    T. Viering and M. Loog, The shape of learning curves: a review, 2022; W. Jay and E. Neil, Bayesian model averaging
    for analysis of lattice field theory results, 2021; C. Wu, Jackknife, bootstrap and other resampling methods in
    regression analysis, 1986.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meden._checks import InputError
from meden._shown import ShownFields

Array = NDArray[np.float64]
Form = Literal["power", "power_to_zero", "constant"]
NUM_PARAMS: dict[Form, int] = {"power": 3, "power_to_zero": 2, "constant": 1}
FEWEST_SIZES = 4
"""Sizes that a law with three parameters needs, to have one left that can contradict it."""
EXPONENTS = np.geomspace(0.05, 2.0, 16)
"""Those tried, before the best is narrowed down: theory has 1/2 and 1, and measured curves go little beyond."""
NARROWED = 4
"""Parabolas through three misfits, four times closer each time: they leave a ten thousandth of the exponent."""
DRAWS = 2000
TINY = 1e-12
"""Of the curve's own height: errors that are smaller are rounding."""


class PowerLaw(NamedTuple):
    """``floor + scale * n ** -exponent``; each a number, or (D,)."""

    floor: Array
    scale: Array
    exponent: Array

    def at(self, n: float | Array) -> Array:
        """Return what it gives for ``n`` rows."""
        return np.asarray(self.floor + self.scale * np.asarray(n, dtype=np.float64) ** -self.exponent)


@dataclass(frozen=True, eq=False, repr=False)
class LawFit(ShownFields):
    """What is known of the law of a curve."""

    form: Form
    """Of the most weight, at any beginning."""
    law: PowerLaw
    """The one of the most weight, fitted to the mean curve."""
    begins: float
    """Rows from which it holds."""
    weights: dict[Form, float]
    """Of each form, at all beginnings together; they add up to 1."""
    misfit: float
    """Chance of deviations as large as those from it, if it held: a small one says that no form fits."""
    draws: PowerLaw
    """(D,): curves, forms and beginnings as they may be."""
    largest: Array
    """The mean over the folds at the largest size, as it may be in each of the draws, (D,)."""
    noise: PowerLaw
    """Variance of a mean over the folds, measured at any size, apart from what all sizes of a fold share."""


def fit_law(sizes: ArrayLike, values: ArrayLike, *, seed: int = 0, draws: int = DRAWS) -> LawFit:
    """Fit the three forms to a curve that was measured in folds.

    Args:
        sizes: rows, (S,), rising, four or more.
        values: loss of each fold at each size, (F, S), two folds or more, all finite.
        seed: of the draws.
        draws: their number.

    Raises:
        InputError: if sizes or folds are too few, or sizes do not rise.

    Example:
        >>> sizes = np.array([100, 200, 400, 800, 1600])
        >>> folds = np.random.default_rng(0).normal(size=(5, 1)) * 0.01
        >>> found = fit_law(sizes, 0.2 + 3 * sizes**-0.5 + folds)
        >>> round(float(np.median(found.draws.at(3200))), 2), found.form
        (0.25, 'power')
    """
    n, y = np.asarray(sizes, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if n.ndim != 1 or len(n) < FEWEST_SIZES or not (np.diff(n) > 0).all():
        raise InputError(f"sizes must be {FEWEST_SIZES} or more increasing numbers, got {n.tolist()!r:.80}")
    if y.ndim != 2 or len(y) < 2 or y.shape[1] != len(n) or not np.isfinite(y).all():
        raise InputError(f"values must be finite and have shape (F, {len(n)}) with at least 2 folds, got {y.shape}")
    noise = noise_of(n, y)
    mean, precision = y.mean(axis=0), len(y) / noise.at(n)
    lowest = 0.0 if (y >= 0).all() else -math.inf
    kinds: list[tuple[Form, int]] = [(f, k) for k in range(len(n) - FEWEST_SIZES + 1) for f in NUM_PARAMS]
    fits = [_fitted(form, n[k:], mean[None, k:], precision[k:], lowest) for form, k in kinds]
    costs = [fit.misfit[0] + 2 * (NUM_PARAMS[form] + k) for fit, (form, k) in zip(fits, kinds, strict=True)]
    weights = np.exp(-0.5 * (np.array(costs) - min(costs)))
    weights /= weights.sum()
    best = int(weights.argmax())
    form, first = kinds[best]
    random = np.random.default_rng(seed)
    drawn, asked = _drawn_means(y, draws, random), random.choice(len(kinds), size=draws, p=weights)
    params = np.empty((3, draws))
    for number in np.unique(asked):
        own, (other, k) = asked == number, kinds[number]
        params[:, own] = _fitted(other, n[k:], drawn[own, k:], precision[k:], lowest).law
    return LawFit(
        form=form,
        law=PowerLaw(*(part[0] for part in fits[best].law)),
        begins=float(n[first]),
        weights={name: float(weights[[f == name for f, _ in kinds]].sum()) for name in NUM_PARAMS},
        misfit=_chance(fits[best].misfit[0], len(n) - first - NUM_PARAMS[form], len(y) - 1),
        draws=PowerLaw(*params),
        largest=drawn[:, -1],
        noise=noise._replace(scale=noise.scale / len(y), floor=noise.floor / len(y)),
    )


def noise_of(sizes: Array, values: Array) -> PowerLaw:
    """Return the variance of a fold's loss at a size, apart from what all sizes of the fold share.

    A fold whose rows are harder lies higher everywhere, which says nothing of the curve's shape. Variances of a few
    folds scatter: they are smoothed by a power of the size.
    """
    num_folds, num_sizes = values.shape
    smallest = (TINY * max(np.abs(values).max(), 1e-300)) ** 2
    apart = values - values.mean(axis=0)
    variance = np.ones(num_sizes)
    for _ in range(5):
        shared = (apart / variance).sum(axis=1, keepdims=True) / (1 / variance).sum()
        share = 1 - (1 / variance) / (1 / variance).sum()  # what is left of a size's variance without the shared part
        found = ((apart - shared) ** 2).sum(axis=0) / (num_folds - 1) / np.maximum(share, 1 / num_sizes)
        logs = np.log(np.maximum(found, smallest))
        slope, start = np.polyfit(np.log(sizes), logs, 1)
        variance = np.exp(start) * sizes**slope
    scale = np.exp(start) * _log_bias(num_folds - 1)
    return PowerLaw(np.asarray(smallest), np.asarray(scale), np.asarray(-slope))


def _log_bias(freedom: int) -> float:
    """Return by how much a variance exceeds the exponent of the mean logarithm of its estimates."""
    from scipy.special import digamma

    return float(freedom / 2 / math.exp(digamma(freedom / 2)))


def _drawn_means(values: Array, draws: int, random: np.random.Generator) -> Array:
    """Return mean curves as they may be, (D, S): each linear function of them is Student's around the measured one."""
    num = len(values)
    signs = random.standard_normal((draws, num))
    scale = np.sqrt((num - 1) / random.chisquare(num - 1, size=(draws, 1)))
    mean = values.mean(axis=0)
    drawn: Array = mean + scale * (signs @ (values - mean)) / math.sqrt(num * (num - 1))
    return drawn


class _Fits(NamedTuple):
    law: PowerLaw
    misfit: Array
    """Sum of squared deviations in standard errors, (D,)."""


def _fitted(form: Form, n: Array, y: Array, precision: Array, lowest: float) -> _Fits:
    """Fit curves (D, S) by weighted least squares: exactly for an exponent, and the best of the exponents."""
    if form == "constant":
        mean = np.maximum(y @ precision / precision.sum(), lowest)
        misfit = np.asarray(((y - mean[:, None]) ** 2) @ precision)
        return _Fits(PowerLaw(mean, np.zeros_like(mean), np.ones_like(mean)), misfit)
    of = functools.partial(_with_exponent, n / n[0], y, precision, lowest, form == "power_to_zero")
    tried = np.log(EXPONENTS)
    at, step = tried[of(EXPONENTS[:, None]).misfit.argmin(axis=0)], tried[1] - tried[0]
    for _ in range(NARROWED):
        beside = at + step * np.array([-1.0, 0.0, 1.0])[:, None]
        low, middle, high = of(np.exp(np.clip(beside, tried[0], tried[-1]))).misfit
        bend = low - 2 * middle + high
        to_vertex = np.divide(low - high, 2 * bend, out=np.zeros_like(bend), where=bend > 0)
        at, step = np.clip(at + step * np.clip(to_vertex, -1, 1), tried[0], tried[-1]), step / 4
    (floor, scale, exponent), misfit = of(np.exp(at)[None])
    return _Fits(PowerLaw(floor[0], scale[0] * n[0] ** exponent[0], exponent[0]), misfit[0])


def _with_exponent(n: Array, y: Array, precision: Array, lowest: float, to_zero: bool, exponent: Array) -> _Fits:
    """Fit floor and scale to curves (D, S) for exponents (B, 1), or (B, D) of their own; all results are (B, D)."""
    falls = n ** -exponent[..., None]  # (B, 1 or D, S); 1 at the smallest size
    weighed = precision * falls
    through = (weighed * y).sum(-1), (weighed * falls).sum(-1)
    if to_zero:
        scale = np.maximum(through[0] / through[1], 0.0)
        floor = np.zeros_like(scale)
    else:
        mean, centre = y @ precision / precision.sum(), falls @ precision / precision.sum()
        inner = falls - centre[..., None]
        scale = np.maximum((precision * inner * y).sum(-1) / (precision * inner**2).sum(-1), 0.0)
        floor = mean - scale * centre
        below = floor < lowest
        scale = np.where(below, np.maximum(through[0] / through[1], 0.0), scale)
        floor = np.where(below, 0.0, floor)
    misfit = (precision * (y - floor[..., None] - scale[..., None] * falls) ** 2).sum(-1)
    return _Fits(PowerLaw(floor, scale, exponent), misfit)


def _chance(misfit: float, freedom: int, of_noise: int) -> float:
    """Return the chance of a misfit as large, where the noise was estimated too."""
    from scipy import stats

    return float(stats.f.sf(misfit / freedom, freedom, of_noise))
