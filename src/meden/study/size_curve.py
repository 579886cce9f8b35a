"""The loss of one network in the number of rows that train it, and what it says of more rows.

Legend: ``F`` folds, ``S`` sizes, ``D`` draws.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError, check_number
from meden._shown import ShownFields
from meden.report.numbers import number
from meden.study.power_law import DRAWS, FEWEST_SIZES, LawFit, fit_law

Array = NDArray[np.float64]
CONFIDENCE = 0.95
"""Coverage that intervals aim at."""
FARTHEST = 2.0
"""Times the rows there are that a law is believed for: nothing that was measured could contradict it farther out."""
SPAN = 4.0
"""Times the smallest size that the largest must be, so that a step beyond is at most half of what was measured."""
UNLIKELY = 0.001
"""Chance of deviations as large below which no law fits."""
RISES = 0.05
"""Chance of a rise as large, for all pairs of sizes together, below which a curve is not falling."""
MATERIAL = 0.05
"""Share of the whole curve that a rise must have: less is nothing that people act on."""


class Prediction(NamedTuple):
    """What so many rows would give."""

    mean: float
    """The median of what is possible."""
    low: float
    high: float
    """Ends of the 95 % interval."""


@dataclass(frozen=True, eq=False, repr=False)
class SizeCurve(ShownFields):
    """The losses of one network at rising sizes."""

    name: str
    sizes: Array
    """Rows that train, (S,), the mean over the folds."""
    values: Array
    """Loss of the scored rows of each fold, (F, S), averaged over seeds; NaN where a run diverged."""
    seed: int = 0
    """Of the draws: curves of the same folds and seed are drawn together, so that their differences are paired."""

    @property
    def sound(self) -> NDArray[np.bool_]:
        """Whether no run diverged at a size, (S,)."""
        return np.asarray(np.isfinite(self.values).all(axis=0))

    @property
    def rows(self) -> float:
        """The largest size."""
        return float(self.sizes[-1])

    @property
    def mean(self) -> Array:
        """Mean over the folds, (S,); NaN where a run diverged."""
        return np.asarray(self.values.mean(axis=0))

    @property
    def error(self) -> Array:
        """Standard error of the mean over the folds, (S,); most of it is how hard the rows of a fold are."""
        return np.asarray(self.values.std(axis=0, ddof=1) / np.sqrt(len(self.values)))

    @functools.cached_property
    def fit(self) -> LawFit | None:
        """What is known of its law; None if there are too few sizes for one."""
        if self.sound.sum() < FEWEST_SIZES:
            return None
        return fit_law(self.sizes[self.sound], self.values[:, self.sound], seed=self.seed)

    @functools.cached_property
    def reason(self) -> str:
        """Why nothing can be said of more rows, in words; empty where something can."""
        sizes = self.sizes[self.sound]
        if not self.sound[-1]:
            return f"a run with {number(round(self.rows))} rows diverged"
        if self.fit is None:
            return f"it was measured at {len(sizes)} sizes, and a power law needs {FEWEST_SIZES}"
        if sizes[-1] < SPAN * sizes[0]:
            ends = f"{number(round(sizes[0]))} to {number(round(sizes[-1]))}"
            return f"it was measured from {ends} rows, and a power law needs a range of a factor of {SPAN:g}"
        if rise := self._rise():
            return f"it rises from {number(round(rise[0]))} to {number(round(rise[1]))} rows"
        if self.fit.misfit < UNLIKELY:
            return f"no power law fits it, wherever it starts (p-value {self.fit.misfit:.1g})"
        return ""

    def predict(self, n: float) -> Prediction:
        """Return the loss that ``n`` rows would give, from where the law begins to twice the largest size.

        Raises:
            InputError: if ``n`` is beyond, or no law fits, with the reason.
        """
        self._check(n)
        return interval_of(self.possible(n))

    def gain(self, n: float) -> Prediction:
        """Return how much lower than with the largest size the loss would be with ``n`` rows; errors as of predict."""
        self._check(n)
        return interval_of(self.possible_gain(n))

    def above(self, other: SizeCurve, n: float) -> Prediction:
        """Return how much higher it would be than another curve of the same folds; errors as of predict."""
        self._check(n)
        return interval_of(self.possible(n) - other.possible(n))

    def possible(self, n: float) -> Array:
        """Return what would be measured with ``n`` rows as it may be, (D,), however far that is from the sizes."""
        assert self.fit is not None
        found = self.fit.draws.at(n) + np.sqrt(self.fit.noise.at(n)) * self._scatter
        return np.asarray(np.maximum(found, 0.0) if np.nanmin(self.values) >= 0 else found)

    def possible_gain(self, n: float) -> Array:
        """Return how much lower it would be than what was measured with the largest size, paired by draw, (D,)."""
        assert self.fit is not None
        return np.asarray(self.fit.largest - self.possible(n))

    @functools.cached_property
    def _scatter(self) -> Array:
        """What a mean that is measured anew has of noise, in standard errors, (D,); other curves have their own."""
        random = np.random.default_rng([self.seed, *self.name.encode()])
        return random.standard_normal(DRAWS)

    def _check(self, n: float) -> None:
        if self.reason:
            raise InputError(f"the curve of {self.name} has no power law to predict other sizes: {self.reason}")
        assert self.fit is not None
        check_number("n", n, low=self.fit.begins, high=FARTHEST * self.rows)

    def _rise(self) -> tuple[float, float] | None:
        """Return two sizes between which the curve clearly rises, the larger one with the largest rise."""
        from scipy import stats

        sizes, values = self.sizes[self.sound], self.values[:, self.sound]
        mean, num = values.mean(axis=0), len(values)
        worst = max(range(1, len(sizes)), key=lambda place: mean[place] - mean[:place].min())
        lowest = int(mean[:worst].argmin())
        rise = values[:, worst] - values[:, lowest]
        if rise.mean() <= MATERIAL * np.ptp(mean):
            return None
        chance = stats.t.sf(rise.mean() / max(rise.std(ddof=1) / np.sqrt(num), 1e-300), num - 1)
        num_pairs = len(sizes) * (len(sizes) - 1) / 2  # both ends are the worst of all that could have been
        return (float(sizes[lowest]), float(sizes[worst])) if chance < RISES / num_pairs else None


def interval_of(draws: Array) -> Prediction:
    """Return the median of draws, and the ends of their 95 % interval."""
    low, middle, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, 0.5, (1 + CONFIDENCE) / 2])
    return Prediction(float(middle), float(low), float(high))
