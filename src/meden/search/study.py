"""The outcome of a search: every configuration with its scores, the two choices, and what the choice is worth."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden._checks import InputError, check_choice
from meden.data import Dataset, Fold
from meden.history import Record
from meden.member import Member, ModelMaker
from meden.members import fit_many
from meden.objective import SCORE_NAMES
from meden.recipe import Recipe
from meden.report import Section
from meden.run import Run
from meden.search import selection
from meden.search.ledger import Row
from meden.search.space import Space, configure, simplicity

Which = Literal["one_se", "best"]


@dataclass(frozen=True)
class Trial:
    """One configuration and its results on every fold and seed."""

    number: int
    params: dict[str, Any]
    rows: tuple[Row, ...]
    """Ordered by fold, then seed."""
    simplicity: float

    @functools.cached_property
    def fold_losses(self) -> NDArray[np.float64]:
        """Mean data loss on the scored rows of each fold and seed, (F,); NaN where it diverged."""
        return np.array([row.losses.mean(dtype=np.float64) for row in self.rows])

    @functools.cached_property
    def fold_scores(self) -> NDArray[np.float64]:
        """Mean accuracy, or mean squared error in the user's units, of each fold and seed, (F,)."""
        return np.array([row.scores.mean(dtype=np.float64) for row in self.rows])

    @property
    def loss(self) -> float:
        """Mean over folds and seeds."""
        return float(self.fold_losses.mean())

    @property
    def loss_error(self) -> float:
        """Standard error of :attr:`loss`."""
        return selection.standard_error(self.fold_losses)

    @property
    def score(self) -> float:
        """Mean accuracy, or mean squared error in the user's units."""
        return float(self.fold_scores.mean())

    @property
    def status(self) -> str:
        """``"ok"``, or why it cannot be chosen."""
        return next((f"diverged: {row.reason}" for row in self.rows if row.status == "diverged"), "ok")

    @property
    def median_epoch(self) -> int:
        """Median over folds of the epoch that was kept."""
        return round(statistics.median(row.best_epoch for row in self.rows))


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A finished search."""

    make_model: ModelMaker
    dataset: Dataset
    space: Space
    recipe: Recipe
    """What every configuration starts from."""
    folds: Sequence[Fold]
    seed: int
    trials: Sequence[Trial]

    @property
    def status(self) -> str:
        """``"ok"``, or ``"diverged"`` if every configuration did: there is nothing to choose then."""
        return "ok" if np.isfinite(self._losses).all(axis=1).any() else "diverged"

    @property
    def seconds(self) -> float:
        """Wall time of the search."""
        return math.fsum(row.seconds for trial in self.trials for row in trial.rows)

    @functools.cached_property
    def best(self) -> Trial:
        """The configuration with the lowest mean held-out loss.

        Raises:
            InputError: if every configuration diverged.
        """
        self._check_usable()
        return self.trials[selection.best(self._losses)]

    @functools.cached_property
    def one_se(self) -> Trial:
        """The simplest configuration within one paired standard error of the best.

        Raises:
            InputError: if every configuration diverged.
        """
        self._check_usable()
        return self.trials[selection.one_standard_error(self._losses, [t.simplicity for t in self.trials])]

    @functools.cached_property
    def score(self) -> selection.Score:
        """What the best is worth: its held-out loss, corrected for having been chosen, with a 90 % interval.

        Raises:
            InputError: if every configuration diverged.
        """
        return selection.corrected_score(self._row_losses, naive=self.best.loss, seed=self.seed)

    @property
    def metric(self) -> str:
        """Name of :attr:`Trial.score`."""
        return SCORE_NAMES[self.dataset.task]

    def recipe_of(self, trial: Trial) -> tuple[Recipe, dict[str, Any]]:
        """Return a configuration's recipe and the arguments of its model."""
        return configure(self.recipe, trial.params)

    def refit(
        self, which: Which = "one_se", *, seed: int | None = None, on_epoch: Callable[[Record], None] | None = None
    ) -> Run:
        """Train the chosen configuration on all rows, for as many epochs as its folds kept in the median.

        Epochs are what carries over: the same number of passes over more rows is proportionally more steps.

        Args:
            which: ``"one_se"`` or ``"best"``.
            seed: of weights, batches and noise; None is the study's.
            on_epoch: called with each epoch's record.
        """
        recipe, model_args = self.final(which)
        member = Member(recipe, seed=self.seed if seed is None else seed, model_args=model_args)
        told = None if on_epoch is None else lambda _, record: on_epoch(record)
        return fit_many(self.make_model, [member], self.dataset, on_epoch=told)[0]

    def final(self, which: Which = "one_se") -> tuple[Recipe, dict[str, Any]]:
        """Return the recipe for all rows, and the arguments of the model: the median epoch of the folds ends it."""
        check_choice("which", which, ("one_se", "best"))
        trial: Trial = getattr(self, which)
        recipe, model_args = self.recipe_of(trial)
        return recipe.replace(early_stopping=None, stop_after=max(1, trial.median_epoch)), model_args

    def table(self) -> pd.DataFrame:
        """Return one row per configuration, best first; diverged ones last with their reason."""
        rows = [
            {
                "configuration": trial.number,
                **trial.params,
                "loss": trial.loss,
                "loss_error": trial.loss_error,
                self.metric: trial.score,
                "epochs": trial.median_epoch,
                "status": trial.status,
                "chosen": " ".join(name for name, chosen in self._choices().items() if chosen is trial),
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows).sort_values("loss", na_position="last", ignore_index=True)

    def report(self, path: Path | str, *, extra: Sequence[Section] = ()) -> Path:
        """Write one HTML file that opens offline: curves, score against strength, the table, the recipe.

        Args:
            path: of the file.
            extra: more sections, shown after the headline.
        """
        from meden.search.reporting import study_report  # it imports Study

        return study_report(self, Path(path), extra=extra)

    def _check_usable(self) -> None:
        if self.status != "ok":
            raise InputError(
                f"every configuration {self.trials[0].status}; try lower learning rates, or clip_norm in the recipe"
            )

    def _choices(self) -> dict[str, Trial]:
        return {"best": self.best, "one_se": self.one_se} if self.status == "ok" else {}

    @functools.cached_property
    def _losses(self) -> NDArray[np.float64]:
        return np.stack([trial.fold_losses for trial in self.trials])

    @functools.cached_property
    def _row_losses(self) -> NDArray[np.float64]:
        """Out-of-fold losses of all configurations, (M, n scored rows), averaged over seeds."""
        return np.stack([_by_row(trial.rows) for trial in self.trials])


def make_trial(number: int, params: Mapping[str, Any], rows: Sequence[Row], space: Space) -> Trial:
    """Put the rows of one configuration together."""
    ordered = tuple(sorted(rows, key=lambda row: row.key))
    return Trial(number, dict(params), ordered, simplicity(space, params))


def _by_row(rows: Sequence[Row]) -> NDArray[np.float64]:
    folds: dict[int, list[NDArray[np.float32]]] = {}
    for row in rows:
        folds.setdefault(row.fold, []).append(row.losses)
    return np.concatenate([np.mean(per_seed, axis=0, dtype=np.float64) for per_seed in folds.values()])
