"""What a search on a table starts from by default: the same for the command line and for scikit-learn.

Search, choice and score are one; what is trained of the choice differs on purpose. ``meden tune`` keeps one model,
refitted on all rows, which a person can look into; the estimators only predict, and keep the average of a model for
each fold.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from meden.augment import LabelSmoothing
from meden.data.targets import Task
from meden.optim import Regularizer, Schedule
from meden.penalties import L2
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


PRESETS: Mapping[str, Preset] = {
    "fast": Preset(budget=3, folds=3, epochs=32, refit="all", racing=False),
    "good": Preset(budget=8, folds=5, epochs=None, refit="all", racing=False),
    "best": Preset(budget=32, folds=10, epochs=256, refit="folds", racing=True),
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
    smoothing: float = 0.0
    """Share of a label that all classes get alike, where there are classes."""
    space: Space
    first: tuple[Mapping[str, Any], ...] = ()
    """Points of the space that are tried before all others."""

    def recipe_for(self, task: Task) -> Recipe:
        """Return the recipe for a task."""
        smooths = self.smoothing > 0 and task == "classification"
        return self.recipe.replace(augment=(LabelSmoothing(self.smoothing),)) if smooths else self.recipe


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
            regularizers=(Regularizer(L2(0.02), coupling="decoupled"),),
        ),
        most_epochs=256,
        smoothing=0.1,
        space={"lr": LogUniform(0.015, 0.12), "dropout": Uniform(0.0, 0.5), "frequency": Choice(0.1, 0.3, 1.0)},
        first=({"lr": 0.04, "dropout": 0.15, "frequency": 0.3},),
    ),
    "mlp": Defaults(recipe=_PLAIN, most_epochs=100, space={**_STRENGTHS, "dropout": Uniform(0.0, 0.6), **_RATE}),
    "linear": Defaults(recipe=_PLAIN, most_epochs=100, space={**_STRENGTHS, **_RATE}),
}
"""By the name of the network."""
