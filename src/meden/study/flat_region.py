"""How many of the configurations tried are as good as the best, and where in the space they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from meden.report.numbers import number, plural
from meden.space.dimensions import Choice, Dimension, Maybe
from meden.study.metrics import RANGES, SHARES, UNITS, spoken
from meden.study.results import Results, Trial

LITTLE = 0.02
"""Share of the best's loss, or of 1 where the metric is at most 1, that is a small difference."""
LOW, HIGH = 0.25, 0.75
"""Where the lowest quarter of a range ends, and the highest begins."""


@dataclass(frozen=True)
class RegionRange:
    """Where one name lies in the configurations that are as good as the best."""

    name: str
    values: tuple[Any, ...]
    """Its values there, each once, in the order of the dimension; None is off."""
    searched: Dimension
    free: bool
    """Whether they reach from the lowest quarter of what was searched to the highest (off is the least), or, of a
    choice, hold all options: some configuration with almost any value is then as good as the best."""

    @property
    def text(self) -> str:
        """Such as ``dropout 0.02 to 0.45 of 0 to 0.6``."""
        inner = self.searched.inner if isinstance(self.searched, Maybe) else self.searched
        whole = inner.options if isinstance(inner, Choice) else (inner.low, inner.high)
        searched = (None, *whole) if isinstance(self.searched, Maybe) else whole
        return f"{self.name} {_span(self.values, inner)} of {_span(searched, inner)}"


@dataclass(frozen=True, kw_only=True)
class FlatRegion:
    """The configurations whose paired difference from the best is at most its own standard error over the folds.

    The rule of one standard error chooses among these, the simplest.
    """

    status: Literal["ok", "few", "unknown"]
    """``"few"``: a single configuration finished; ``"unknown"``: the noise cannot be estimated."""
    reason: str
    """Why the status is not ok; empty if it is."""
    numbers: tuple[int, ...]
    """Numbers of these configurations, best first; empty if the status is not ok."""
    num_configurations: int
    """Configurations that finished."""
    width: float
    """Difference between the best and the worst of them, in the deciding metric; never negative."""
    little: float
    """Differences up to this are too small to matter in practice."""
    width_text: str
    """The width with its unit, such as ``0.006 nats``."""
    ranges: tuple[RegionRange, ...]
    """Ranges of the settings, in the order of the space."""

    @property
    def flat(self) -> bool:
        """Whether most of what was tried is as good as the best, and so little worse that nobody would mind."""
        return len(self.numbers) > self.num_configurations / 2 and self.width <= self.little

    @property
    def sentence(self) -> str:
        """What to tell, in one sentence or two."""
        if self.status != "ok":
            return f"It is unknown whether other configurations are as good as the best: {self.reason}."
        counts = f"{len(self.numbers)} of {plural(self.num_configurations, 'configuration')}"
        if len(self.numbers) == 1:
            others = self.num_configurations - 1
            if others == 1:
                return "The other configuration is not within one standard error of the best."
            return f"None of the other {plural(others, 'configuration')} is within one standard error of the best."
        within = f"{counts} are within {self.width_text} of the best, that is, within one standard error"
        return f"Strengths hardly matter here: {within}." if self.flat else f"{within}."

    @property
    def ranges_sentence(self) -> str:
        """Where they lie, in one sentence; empty where that is not known."""
        if len(self.numbers) < 2:
            return ""
        bound = [one.text for one in self.ranges if not one.free]
        free = [f"{one.text}" for one in self.ranges if one.free]
        told = [f"They are at {'; '.join(bound)}"] * bool(bound)
        told += [f"{'all over ' if bound else 'They are spread all over '}{'; '.join(free)}"] * bool(free)
        return f"{', and '.join(told)}."


def flat_region(results: Results) -> FlatRegion:
    """Return which configurations are as good as the best, as far as the folds can tell.

    Args:
        results: of a search, finished or not; the metric that decides is compared.

    Example:
        >>> import meden
        >>> space, recipe = {"l2": meden.LogUniform(1e-9, 1e-8)}, meden.Recipe(epochs=1)
        >>> study = meden.tune(meden.models.MLP, "iris", space, folds=3, budget=3, strategy="grid", recipe=recipe)
        >>> flat_region(study).num_configurations
        3
    """
    finished = [trial for trial in results.trials if trial.status == "ok"]
    if len(finished) < 2:
        return _unknown("few", f"{plural(len(finished), 'configuration')} finished", len(finished))
    if results.num_folds_told < 2:
        return _unknown("unknown", "a single fold does not show how much of a difference is noise", len(finished))
    differences, errors = results.differences_from_best()
    inside = np.flatnonzero(differences <= errors)
    order = inside[np.argsort(differences[inside], kind="stable")]
    region, width = [results.trials[place] for place in order], float(differences[order[-1]])
    return FlatRegion(
        status="ok",
        reason="",
        numbers=tuple(trial.number for trial in region),
        num_configurations=len(finished),
        width=width,
        little=LITTLE * (1.0 if RANGES[results.chosen_by][1] == 1.0 else abs(results.decided_by(results.best))),
        width_text=_amount(width, results),
        ranges=tuple(_range(name, dimension, region) for name, dimension in results.space.items()),
    )


def _unknown(status: Literal["few", "unknown"], reason: str, num: int) -> FlatRegion:
    return FlatRegion(
        status=status,
        reason=reason,
        numbers=(),
        num_configurations=num,
        width=np.nan,
        little=0.0,
        width_text="",
        ranges=(),
    )


def _range(name: str, dimension: Dimension, region: list[Trial]) -> RegionRange:
    places = {dimension.position(trial.params[name]): trial.params[name] for trial in region}
    values = tuple(places[place] for place in sorted(places))
    if isinstance(dimension, Choice):
        return RegionRange(name, values, dimension, len(values) == len(set(dimension.options)))
    return RegionRange(name, values, dimension, min(places) <= LOW and max(places) >= HIGH)


def _span(values: tuple[Any, ...], inner: Dimension) -> str:
    """Return the two ends of some values with whether off is among them, or all options of a choice."""
    if isinstance(inner, Choice):
        return ", ".join(map(_value, values))
    on = [_value(value) for value in values if value is not None]
    ends = on[0] if len(set(on)) == 1 else f"{on[0]} to {on[-1]}" if on else ""
    return " or ".join(["off"] * (None in values) + [ends] * bool(on))


def _value(value: Any) -> str:
    if value is None:
        return "off"
    return number(float(f"{value:.2g}")) if isinstance(value, float) else str(value)


def _amount(width: float, results: Results) -> str:
    metric = results.chosen_by
    if metric in SHARES:
        return f"{100 * width:.2g} points of {spoken(metric)}"
    if metric == "loss":
        unit = UNITS[results.data.task]
        return f"{width:.2g} {unit}" if results.data.task == "classification" else f"{width:.2g} ({unit})"
    return f"{width:.2g} of {spoken(metric)}"
