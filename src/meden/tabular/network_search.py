"""The search among networks for a table: by cross-validation, on a part of the rows first where they are many."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meden import search
from meden.data import Dataset, Fold, make_folds
from meden.data.subsets import nested
from meden.deadline import NEVER, Deadline
from meden.models.placed import HERE
from meden.noise import derive
from meden.recipe import Recipe
from meden.search.budget import Until
from meden.search.progress import OnProgress
from meden.space.names import Space, check_space
from meden.study import Study
from meden.study.metrics import MetricName
from meden.tabular.defaults import MODEL, STRATEGY
from meden.tabular.network import network
from meden.tabular.setup import set_up

LARGE, PART = 100_000, 20_000
"""Rows beyond which configurations are tried on so many of them, and the best are then trained on all."""
PART_SHARE = 0.3
"""Of the time, for trying configurations on a part of the rows."""
NUM_FINALISTS = 2
FEW_FOLDS, SCORED = 2, 0.05
"""Folds where rows are many, and the share of the rows that each scores."""
USUAL_BUDGET, MOST_TIMED = 16, 1_000
"""Configurations; the second where a time limit says how many there are."""
STOP_FRACTION = 0.15
"""Of a fold's training part, where a recipe stops early."""


@dataclass(frozen=True, kw_only=True)
class NetworkSearch:
    """What is searched, and how long."""

    space: Space | None = None
    """None is the usual one."""
    recipe: Recipe | None = None
    """None is the usual one, which is trained to the end of its schedule."""
    budget: int | None = None
    """Configurations; None is the usual number, or as many as there is time for."""
    time_limit: float | None = None
    """Seconds for everything, as they were asked for; None is no limit."""
    deadline: Deadline = NEVER
    """When the search must have ended."""
    after: float = 0.0
    """What follows the search, in configurations."""
    metric: MetricName = "loss"
    """What decides which is best."""
    device: str = HERE
    """That networks are trained on."""
    seed: int = 0
    on_progress: OnProgress | None = None

    @property
    def stops(self) -> bool:
        """Whether folds need a stop split."""
        return self.recipe is not None and self.recipe.early_stopping is not None

    def check(self, dataset: Dataset) -> None:
        """Check that the space fits the network.

        Raises:
            InputError: if it does not.
        """
        if self.space is not None:
            check_space(self.space, network(MODEL, dataset))

    def divide(self, dataset: Dataset, folds: int) -> list[Fold]:
        """Return the folds of a data set, fewer where rows are many."""
        fraction = STOP_FRACTION if self.stops else 0.0
        if dataset.num_rows <= LARGE:
            return make_folds(dataset, folds, seed=self.seed, stop_fraction=fraction)
        return make_folds(dataset, round(1 / SCORED), seed=self.seed, stop_fraction=fraction)[:FEW_FOLDS]

    def run(self, dataset: Dataset, folds: Sequence[Fold], models: Path) -> Study:
        """Search, and keep the models of the folds in a folder.

        Raises:
            InputError: before any compute, if anything does not fit; TimeTooShort if the time is up before a fit ended.
        """
        if dataset.num_rows <= LARGE:
            return self._tried(dataset, folds, models)
        part = part_of(dataset, PART, self.seed)
        share = Deadline.after(PART_SHARE * self.deadline.seconds_left())
        first = dataclasses.replace(self, deadline=share, after=0.0)
        found = first._tried(part, first.divide(part, FEW_FOLDS), None)
        points = [trial.params for trial in found.ranked if trial.status == "ok"][:NUM_FINALISTS]
        return self._tried(dataset, folds, models, points)

    def _tried(
        self, dataset: Dataset, folds: Sequence[Fold], models: Path | None, points: Sequence[Mapping[str, Any]] = ()
    ) -> Study:
        setup = set_up(dataset, device=self.device, space=self.space, recipe=self.recipe, stops=self.stops)
        timed = self.time_limit is not None
        arguments = setup.arguments()
        if timed:
            arguments |= {"time_limit": self.time_limit, "until": Until(self.deadline, self.after)}
        budget = len(points) or self.budget or (MOST_TIMED if timed else USUAL_BUDGET)
        arguments["first"] = points or setup.first
        return search.tune(
            **arguments,
            folds=list(folds),
            budget=budget,
            strategy=STRATEGY,
            baselines=False,  # nobody would see them
            metric=self.metric,
            keep_models=models or False,
            seed=self.seed,
            on_progress=self.on_progress,
        )


def part_of(dataset: Dataset, num_rows: int, seed: int) -> Dataset:
    """Return about so many rows of a data set, whole groups where there are any, with all classes."""
    rows = nested(dataset, np.arange(dataset.num_rows), seed=derive(seed, "part")).first(num_rows)
    return dataset.take(rows)
