"""What a search on a table starts from by default: the same for the command line and for scikit-learn.

Network, space, first points and strategy are one; what is trained differs on purpose. ``meden tune`` stops each network
by a stop split and keeps one model, refitted on all rows, which a person can look into; the estimators only predict:
their networks learn from all rows of a fold's training part to the end of the schedule, and the folds' models are mixed
with linear models and trees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from meden.data.targets import Task
from meden.optim import Schedule
from meden.recipe import Recipe
from meden.search.strategies import StrategyName
from meden.space import LogUniform, Uniform
from meden.space.dimensions import Choice
from meden.space.names import Space
from meden.stopping import EarlyStopping

Policy = Literal["all", "folds"]
"""How final models are trained."""
MODEL = "tabular"
"""Network of a table unless another is asked for."""
STRATEGY: StrategyName = "sobol"
"""Fills a small space more evenly than chance, and needs no scores to learn from."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """How much is spent on a search on a table."""

    budget: int
    """Configurations, the usual one included."""
    folds: int
    epochs: int | None
    """Length of the schedule; None is that of the network's recipe."""
    refit: Policy
    racing: bool
    seconds: float
    """Of a whole fit of the estimators, which go by time alone."""


PRESETS: Mapping[str, Preset] = {
    "fast": Preset(budget=3, folds=3, epochs=32, refit="all", racing=False, seconds=10.0),
    "good": Preset(budget=8, folds=5, epochs=None, refit="all", racing=False, seconds=60.0),
    "best": Preset(budget=32, folds=10, epochs=256, refit="folds", racing=True, seconds=600.0),
}
"""By name; ``good`` is what is done unless another is asked for. docs/presets.md says what they take and reach."""
BUDGET, FOLDS = PRESETS["good"].budget, PRESETS["good"].folds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a search with one network starts from."""

    recipe: Recipe
    """What all configurations share; its epochs are the length of the schedule."""
    most_epochs: int
    """What the epochs grow to where a time limit leaves room."""
    space: Space
    first: tuple[Mapping[str, Any], ...] = ()
    """Points of the space that are tried before all others, the usual configuration first."""
    of_classes: tuple[str, ...] = ()
    """Names of the space that mean something for classes alone."""

    def space_for(self, task: Task) -> Space:
        """Return what is searched for a task."""
        return self._fitting(self.space, task)

    def first_for(self, task: Task) -> tuple[Mapping[str, Any], ...]:
        """Return the points that are tried first for a task."""
        return tuple(self._fitting(point, task) for point in self.first)

    def _fitting(self, named: Mapping[str, Any], task: Task) -> dict[str, Any]:
        return {name: v for name, v in named.items() if task == "classification" or name not in self.of_classes}


def _point(**values: Any) -> Mapping[str, Any]:
    return values


_PLAIN = Recipe(epochs=100, batch_size=64, early_stopping=EarlyStopping(patience=12))
_STRENGTHS: Space = {"l2": LogUniform(1e-5, 0.3), "l1": LogUniform(1e-6, 1e-2)}
_RATE: Space = {"lr": LogUniform(5e-4, 1e-2)}

DEFAULTS: Mapping[str, Defaults] = {
    "tabular": Defaults(
        recipe=Recipe(
            optimizer="adam",
            lr=0.04,
            betas=(0.9, 0.95),
            batch_size=256,
            epochs=128,
            schedule=Schedule(kind="cosine"),
            early_stopping=EarlyStopping(patience=256),  # never: trained to the schedule's end, kept at the best epoch
            eval_rows=256,
        ),
        most_epochs=256,
        space={
            "lr": LogUniform(0.005, 0.1),
            "weight_decay": LogUniform(1e-3, 10.0),
            "dropout": Uniform(0.0, 0.5),
            "label_smoothing": Uniform(0.0, 0.2),
            "frequency": Choice(0.1, 0.3, 1.0),
            "depth": Choice(1, 2, 3),
        },
        first=(
            _point(lr=0.04, weight_decay=0.02, dropout=0.15, label_smoothing=0.1, frequency=0.3, depth=3),
            _point(lr=0.015, weight_decay=0.1, dropout=0.25, label_smoothing=0.1, frequency=0.3, depth=1),
            _point(lr=0.04, weight_decay=3.0, dropout=0.3, label_smoothing=0.0, frequency=0.1, depth=2),
            _point(lr=0.075, weight_decay=0.015, dropout=0.2, label_smoothing=0.0, frequency=1.0, depth=2),
        ),
        of_classes=("label_smoothing",),
    ),
    "mlp": Defaults(recipe=_PLAIN, most_epochs=100, space={**_STRENGTHS, "dropout": Uniform(0.0, 0.6), **_RATE}),
    "linear": Defaults(recipe=_PLAIN, most_epochs=100, space={**_STRENGTHS, **_RATE}),
}
"""By the name of the network."""
