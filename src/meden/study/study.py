"""The outcome of a search: every configuration with its scores, the two choices, and what the choice is worth.

Legend: ``M`` configurations, ``F`` folds, ``n`` scored rows of all folds.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden._checks import InputError, check_choice
from meden.data import Dataset, Fold
from meden.diagnosis import Evidence
from meden.history import Record
from meden.member import Member, ModelMaker, constant_loss
from meden.noise import derive
from meden.recipe import Recipe
from meden.report import Section
from meden.run import LOST, Ensemble, Run
from meden.space.names import Space, configure, simplicity
from meden.study import selection
from meden.study.evidence import curve_of, untrained
from meden.study.ledger import Row
from meden.study.metrics import HIGHER_IS_BETTER, MetricName, check_metric, of_rows
from meden.training.fit_many import fit_many

Array = NDArray[np.float64]
Which = Literal["one_se", "best"]
OnEpoch = Callable[[Record], None]


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
        """``"ok"``, or why it cannot be chosen: it diverged somewhere, or was dropped from a race."""
        return next((f"{lost}: {row.reason}" for lost in LOST for row in self.rows if row.status == lost), "ok")

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
    chosen_by: MetricName = "loss"
    """The metric that decides which configuration is best."""

    @property
    def status(self) -> str:
        """``"ok"``, or ``"diverged"`` if every configuration did: there is nothing to choose then."""
        return "ok" if np.isfinite(self._by_fold).all(axis=1).any() else "diverged"

    @property
    def seconds(self) -> float:
        """Wall time of the search."""
        return math.fsum(row.seconds for trial in self.trials for row in trial.rows)

    @functools.cached_property
    def best(self) -> Trial:
        """The configuration with the best mean over the folds: the lowest held-out loss, unless chosen otherwise.

        Raises:
            InputError: if every configuration diverged.
        """
        self._check_usable()
        return self.trials[selection.best(self._by_fold)]

    @functools.cached_property
    def one_se(self) -> Trial:
        """The simplest configuration within one paired standard error of the best.

        Raises:
            InputError: if every configuration diverged.
        """
        self._check_usable()
        return self.trials[selection.one_standard_error(self._by_fold, [t.simplicity for t in self.trials])]

    @functools.cached_property
    def score(self) -> selection.Score:
        """What the best is worth: its held-out loss, corrected for having been chosen, with a 90 % interval.

        Raises:
            InputError: if every configuration diverged.
        """
        return self.score_of("loss")

    def score_of(self, metric: MetricName | None = None, which: Which = "best") -> selection.Score:
        """Return what a choice is worth in a metric, corrected for having been chosen, with a 90 % interval.

        Each draw chooses among all configurations tried. Those that ``tpe`` or ``gp`` proposed after looking at scores
        are there because these very rows liked their neighbours, so that a part of the optimism stays (on pure noise
        less than a third, within the interval); ``random``, ``sobol`` and ``grid`` leave hardly any, and none is left
        by :func:`meden.search.nested`.

        A race has chosen too, by the rows of the stop splits. Those rows are scored in other folds, and would flatter
        whoever was left; after a race they therefore do not enter the estimate, and the interval is wider for it.

        Args:
            metric: ``"loss"``; ``"accuracy"`` or ``"balanced_accuracy"`` of classes, ``"mse"`` or ``"r2"`` of
                numbers; None is the one that decided, or accuracy or mse where that was the loss.
            which: ``"best"`` or ``"one_se"``: the same rule chooses in each draw of the bootstrap.

        Raises:
            InputError: if every configuration diverged, or the metric does not fit the task.
        """
        metric = metric or (self.metric if self.chosen_by == "loss" else self.chosen_by)
        trial, values, groups = self._which(which), self.values(metric), self.dataset.groups
        place = next(place for place, other in enumerate(self.trials) if other is trial)
        return selection.corrected_score(
            self._sign * self.values(self.chosen_by),
            naive=float(self._fold_means(values[[place]]).mean()),
            values=np.where(self._seen_by_race, np.nan, values),
            folds=self._fold_numbers,
            simplicity=None if which == "best" else [t.simplicity for t in self.trials],
            units=None if groups is None else groups[self._scored],
            metric=metric,
            seed=self.seed,
        )

    def values(self, metric: MetricName) -> Array:
        """Return what each scored row adds to a metric, (M, n), out of fold and averaged over seeds.

        Rows are in the order of the folds. Configurations that diverged, or were dropped, have NaN.

        Raises:
            InputError: if the metric does not fit the task.
        """
        check_metric(metric, self.dataset)
        losses, scores = (np.stack([_by_row(trial, name) for trial in self.trials]) for name in ("losses", "scores"))
        weights = None if self.dataset.weights is None else self.dataset.weights[self._scored]
        return of_rows(metric, losses, scores, self.dataset.labels[self._scored], weights)

    @property
    def metric(self) -> MetricName:
        """Name of :attr:`Trial.score`."""
        return "accuracy" if self.dataset.task == "classification" else "mse"

    def recipe_of(self, trial: Trial) -> tuple[Recipe, dict[str, Any]]:
        """Return a configuration's recipe and the arguments of its model."""
        return configure(self.recipe, trial.params)

    @overload
    def refit(
        self,
        which: Which = "one_se",
        *,
        policy: Literal["all"] = "all",
        seed: int | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Run: ...

    @overload
    def refit(
        self,
        which: Which = "one_se",
        *,
        policy: Literal["folds"],
        seed: int | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Ensemble: ...

    def refit(
        self,
        which: Which = "one_se",
        *,
        policy: Literal["all", "folds"] = "all",
        seed: int | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Run | Ensemble:
        """Train the chosen configuration once more, for use.

        Args:
            which: ``"one_se"`` or ``"best"``.
            policy: ``"all"`` trains one model on all rows, for as many epochs as its folds kept in the median. (Epochs
                are what carries over: the same number of passes over more rows is proportionally more steps.)
                ``"folds"`` trains a model for each fold, on all its training rows and stopped by its scored rows, and
                averages their predictions. No row is left that could say what such a model is worth, so that its
                ``held_out`` is None (:attr:`score` was estimated before); one that diverged is left out if others
                did not.
            seed: of weights, batches and noise; None is the study's.
            on_epoch: called with each epoch's record.

        Returns:
            What predicts new rows and can be saved: a run, or an ensemble of runs.
        """
        check_choice("policy", policy, ("all", "folds"))
        told = None if on_epoch is None else lambda _, record: on_epoch(record)
        base = self.seed if seed is None else seed
        if policy == "all":
            recipe, model_args = self.final(which)
            members = [Member(recipe, seed=base, model_args=model_args)]
            return fit_many(self.make_model, members, self.dataset, on_epoch=told)[0]
        recipe, model_args = self.recipe_of(self._which(which))
        members = [Member(recipe, _whole(fold), derive(base, "final"), model_args) for fold in self.folds]
        runs = [replace(run, held_out=None) for run in fit_many(self.make_model, members, self.dataset, on_epoch=told)]
        return Ensemble(runs=tuple([run for run in runs if run.status != "diverged"] or runs))

    def final(self, which: Which = "one_se") -> tuple[Recipe, dict[str, Any]]:
        """Return the recipe for all rows, and the arguments of the model: the median epoch of the folds ends it."""
        trial = self._which(which)
        recipe, model_args = self.recipe_of(trial)
        return recipe.replace(early_stopping=None, stop_after=max(1, trial.median_epoch)), model_args

    def table(self) -> pd.DataFrame:
        """Return one row per configuration, best first; diverged and dropped ones last with their reason."""
        chosen_by = self._by_fold.mean(axis=1)
        rows = [
            {
                "configuration": trial.number,
                **trial.params,
                "loss": trial.loss,
                "loss_error": trial.loss_error,
                self.metric: trial.score,
                self.chosen_by: self._sign * chosen_by[place],
                "epochs": trial.median_epoch,
                "status": trial.status,
                "chosen": " ".join(name for name, chosen in self._choices().items() if chosen is trial),
            }
            for place, trial in enumerate(self.trials)
        ]
        return pd.DataFrame([rows[place] for place in np.argsort(chosen_by, kind="stable")])

    def evidence(self) -> Evidence:
        """Return what :func:`meden.diagnose` goes by: the trainings of the choice, ``one_se``, in all folds."""
        diverged = (trial for trial in self.trials if trial.status.startswith("diverged"))
        trial = self.one_se if self.status == "ok" else next(diverged)
        recipe, model_args = self.recipe_of(trial)
        model = untrained(self.make_model, self.dataset, Member(recipe, seed=self.seed, model_args=model_args))
        curves = tuple(curve_of(row) for row in trial.rows if row.status != "dropped")
        return Evidence(curves, constant_loss(self.dataset), model)

    def report(self, path: Path | str, *, extra: Sequence[Section] = ()) -> Path:
        """Write one HTML file that opens offline: curves, score against strength, the table, the recipe.

        Args:
            path: of the file.
            extra: more sections, shown after the headline.
        """
        from meden.study.page import study_report  # it imports Study

        return study_report(self, Path(path), extra=extra)

    def _check_usable(self) -> None:
        if self.status != "ok":
            raise InputError(
                f"every configuration {self.trials[0].status}; try lower learning rates, or clip_norm in the recipe"
            )

    def _choices(self) -> dict[str, Trial]:
        return {"best": self.best, "one_se": self.one_se} if self.status == "ok" else {}

    def _which(self, which: Which) -> Trial:
        check_choice("which", which, ("one_se", "best"))
        trial: Trial = getattr(self, which)
        return trial

    @property
    def _sign(self) -> int:
        return -1 if self.chosen_by in HIGHER_IS_BETTER else 1

    @functools.cached_property
    def _by_fold(self) -> Array:
        """What decides, (M, F), lower is better: means over rows and seeds."""
        return self._fold_means(self._sign * self.values(self.chosen_by))

    def _fold_means(self, values: Array) -> Array:
        ends = np.cumsum([len(fold.score) for fold in self.folds])[:-1]
        return np.stack([part.mean(axis=1) for part in np.split(values, ends, axis=1)], axis=1)

    @functools.cached_property
    def _seen_by_race(self) -> NDArray[np.bool_]:
        """Whether each scored row is in a stop split that a race looked at, (n,); of none if that is all of them."""
        raced = any(row.status == "dropped" for trial in self.trials for row in trial.rows)
        seen = np.isin(self._scored, np.concatenate([fold.stop for fold in self.folds]))
        return seen & ~seen.all() & raced

    @functools.cached_property
    def _scored(self) -> NDArray[np.int64]:
        """Positions of the scored rows, (n,)."""
        return np.concatenate([fold.score for fold in self.folds])

    @functools.cached_property
    def _fold_numbers(self) -> NDArray[np.int64]:
        """Fold of each scored row, (n,)."""
        return np.repeat(np.arange(len(self.folds)), [len(fold.score) for fold in self.folds])


def make_trial(number: int, params: Mapping[str, Any], rows: Sequence[Row], space: Space) -> Trial:
    """Put the rows of one configuration together."""
    ordered = tuple(sorted(rows, key=lambda row: row.key))
    return Trial(number, dict(params), ordered, simplicity(space, params))


def _whole(fold: Fold) -> Fold:
    """Return a fold whose stop split is trained on, and whose scored rows stop."""
    return Fold(np.sort(np.concatenate([fold.fit, fold.stop])), fold.score, fold.score)


def _by_row(trial: Trial, name: Literal["losses", "scores"]) -> Array:
    """Return the numbers of all scored rows, (n,), averaged over seeds; NaN wherever a seed has none."""
    folds: dict[int, list[NDArray[np.float32]]] = {}
    for row in trial.rows:
        folds.setdefault(row.fold, []).append(getattr(row, name))
    return np.concatenate([np.mean(per_seed, axis=0, dtype=np.float64) for per_seed in folds.values()])
