"""What a search found, as plain data: every configuration with its scores, the two choices, and what they are worth.

Legend: ``M`` configurations, ``F`` folds, ``n`` scored rows of all folds.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden._checks import InputError, check_choice
from meden._shown import Pair, Shown, as_lines, text
from meden.data import Fold
from meden.data.targets import Task
from meden.progress import LOST, Lost
from meden.recipe import Recipe
from meden.run import HeldOut
from meden.space.names import Space, configure, simplicity
from meden.study import selection
from meden.study.data_summary import DataSummary
from meden.study.ledger import Row
from meden.study.metrics import (
    HIGHER_IS_BETTER,
    RANGES,
    MetricName,
    Truth,
    check_metric,
    fitting,
    is_defined,
    of_rows,
    truths_of,
)
from meden.study.model_reference import ModelReference

Array = NDArray[np.float64]
BASELINES = {
    "constant": "constant model",
    "linear": "linear model",
    "trees": "boosted trees",
    "plain": "plain network",
    "plain_stopped": "plain, stopped early",
}
"""What a search's configurations are compared with, by the name of its rows: the best constant model, a linear model
whose ridge is chosen by cross-validation, histogram gradient boosting, and the network of the choice with nothing that
regularises, at the end of its training and at the state that early stopping keeps."""
PLAIN = ("plain", "plain_stopped")
"""Those that are of the choice."""
DIVISION, COMMAND, REFIT = "division", "command", "refit"
"""Notes of a study: how its rows were divided into folds, the command line that made it, which models it trained in the
end."""
Which = Literal["one_se", "best"]
RULES: dict[Which, str] = {"one_se": "the simplest within one standard error of the best", "best": "the best"}
CHOICE: Which = "one_se"
"""The rule of the choice, everywhere: what terminal, page, ``--json`` and estimators show, and what is trained in the
end. This line switches it; docs/log.md has what either is worth on new rows."""
TrialStatus = Literal["ok"] | Lost


@dataclass(frozen=True, repr=False)
class Trial(Shown):
    """One configuration and its results on every fold and seed.

    Attributes:
        number: of the configuration, in the order of proposals.
        params: values of the space's names.
        rows: its fits, ordered by fold, then seed.
        simplicity: what the one-standard-error rule goes by among equals.
        baseline: which of :data:`BASELINES` it is, if it is no configuration of the space; it is never chosen.
    """

    number: int
    params: dict[str, Any]
    rows: tuple[Row, ...]
    simplicity: float
    baseline: str = ""

    @functools.cached_property
    def fold_losses(self) -> NDArray[np.float64]:
        """Mean data loss on the scored rows of each fold and seed, (F,); NaN where it diverged."""
        return np.array([row.losses.mean(dtype=np.float64) for row in self.rows])

    @functools.cached_property
    def fold_scores(self) -> NDArray[np.float64]:
        """Mean accuracy, or mean squared error in the user's units, of each fold and seed, (F,)."""
        return np.array([row.scores.mean(dtype=np.float64) for row in self.rows])

    @functools.cached_property
    def fold_train_losses(self) -> NDArray[np.float64]:
        """Training loss of the state that was kept on each fold and seed, (F,); NaN where it is not known."""
        kept = [dict(enumerate(row.train_loss, start=1)).get(row.best_epoch, math.nan) for row in self.rows]
        return np.array(kept, dtype=np.float64)

    @property
    def train_loss(self) -> float:
        """Mean training loss, over folds and seeds, of the states that were kept; NaN if one is not known."""
        return float(self.fold_train_losses.mean())

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
    def status(self) -> TrialStatus:
        """``"ok"``, or what keeps it from being chosen: it diverged somewhere, or was dropped from a race."""
        return next((lost for lost in LOST if any(row.status == lost for row in self.rows)), "ok")

    @property
    def reason(self) -> str:
        """Why it diverged or was dropped; empty where it is ok."""
        return next((row.reason for row in self.rows if row.status == self.status), "")

    @property
    def outcome(self) -> str:
        """Status and reason, to be read."""
        return f"{self.status}: {self.reason}" if self.reason else self.status

    @property
    def longest_schedule(self) -> int | None:
        """Length of its longest schedule, in epochs, if the time was too short for that of its recipe; else None."""
        return max((row.epochs for row in self.rows if row.epochs is not None), default=None)

    @property
    def median_epoch(self) -> int:
        """Median over folds of the epoch that was kept."""
        return round(statistics.median(row.best_epoch for row in self.rows))

    def _pairs(self) -> Iterable[Pair]:
        yield ("baseline", self.baseline) if self.baseline else ("configuration", self.number)
        if self.status == "ok":
            yield from (("loss", f"{self.loss:.4g} ± {self.loss_error:.2g}"), ("score", self.score))
        else:
            yield "status", self.outcome
        yield from self.params.items()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Results(Shown):
    """What a search found; neither the model nor the features are needed to read it.

    Attributes:
        data: what the data set was.
        folds: the rows of each fold.
        space: what could be chosen, by name.
        recipe: what every configuration starts from.
        seed: of folds, proposals, weights, batches and noise.
        model: who makes the models.
        trials: configurations all of whose fits have ended.
        chosen_by: the metric that decides which configuration is best.
        baselines: what the configurations are compared with, on the same folds.
        incomplete: what has ended of the other configurations.
        num_missing: fits that an unfinished search has still to do.
        settings: those arguments of :func:`meden.tune` that decide the result and are plain values; empty where not
            known.
        notes: plain values that the caller of the search left.
        versions: those of the libraries that began the study, by name; empty where no folder says so.
        shortened: what a time limit has cost, in words with numbers; empty where there was none, or time enough.
    """

    data: DataSummary
    folds: Sequence[Fold]
    space: Space
    recipe: Recipe
    seed: int
    model: ModelReference
    trials: Sequence[Trial]
    chosen_by: MetricName = "loss"
    baselines: Sequence[Trial] = ()
    incomplete: Sequence[Row] = ()
    num_missing: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    shortened: str = ""

    def __str__(self) -> str:
        return as_lines(type(self).__name__, self._pairs())

    def _pairs(self) -> Iterable[Pair]:
        lost = Counter(trial.status for trial in self.trials if trial.status != "ok")
        yield "status", f"{self.status}: {self.reason}" if self.reason else self.status
        yield "configurations", ", ".join([str(len(self.trials)), *(f"{num} {status}" for status, num in lost.items())])
        for trial in {trial.number: trial for trial in reversed(self._choices().values())}.values():
            name = " and ".join(name for name, chosen in self._choices().items() if chosen is trial)
            worth = f"held-out {self.chosen_by} {self.decided_by(trial):.4g} (uncorrected)"
            yield name, f"{worth} with {text(trial.params)}"
        for (metric, which), score in self._scores.items():  # those that were asked for: thousands of draws make each
            if which in BASELINES:
                continue
            interval = f"{score.low:.4g} to {score.high:.4g} ({score.confidence:.0%})"
            yield f"{metric} of {which}", f"{score.estimate:.4g}, {interval}, corrected for the choice"
        yield "folds", len(self.folds)
        yield "data", f"{self.data.task} of {self.data.target}, rows: {self.data.num_rows}"
        yield "model", self.model.text

    @property
    def mixed(self) -> str:
        """Which other versions of the libraries trained some of the fits, in words; empty where none did."""
        others = [row.versions for row in self._rows if row.versions is not None]
        told = sorted({" and ".join(f"{name} {version}" for name, version in one.items()) for one in others})
        if not told:
            return ""
        return (
            f"{len(others)} of {len(self._rows)} fits were trained with {'; '.join(told)}, not with the versions "
            "that started the study: their numbers may differ"
        )

    @property
    def status(self) -> Literal["ok", "diverged", "unfinished"]:
        """``"ok"``; ``"diverged"`` if every configuration did; ``"unfinished"`` if the search was cut off."""
        if self.num_missing:
            return "unfinished"
        return "ok" if self.usable else "diverged"

    @property
    def reason(self) -> str:
        """What is missing of an unfinished search, or why every configuration diverged; empty where it is ok."""
        if self.num_missing:
            done, missing = len(self._rows), self.num_missing
            counts = f"{done} of at most {done + missing} planned fits are done, {missing} missing"
            return f"{counts}; complete configurations: {len(self.trials)}"
        return "" if self.usable else self._all_lost

    @property
    def usable(self) -> bool:
        """Whether there is a configuration to choose."""
        return bool(np.isfinite(self._by_fold).all(axis=1).any())

    @property
    def seconds(self) -> float:
        """Wall time of the search, baselines included."""
        compared = (row for trial in self.baselines for row in trial.rows)
        return math.fsum(row.seconds for row in (*self._rows, *compared))

    @functools.cached_property
    def best(self) -> Trial:
        """The configuration with the best mean over the folds: the lowest held-out loss, unless chosen otherwise.

        Raises:
            InputError: if every configuration diverged, or none is complete.
        """
        self._check_usable()
        return self.trials[selection.best(self._by_fold)]

    @functools.cached_property
    def one_se(self) -> Trial:
        """The simplest configuration within one paired standard error of the best.

        Raises:
            InputError: if every configuration diverged, or none is complete.
        """
        self._check_usable()
        return self.trials[selection.one_standard_error(self._by_fold, [t.simplicity for t in self.trials])]

    @property
    def choice(self) -> Trial:
        """The configuration to use: :attr:`one_se`, as :data:`CHOICE` says.

        Raises:
            InputError: if every configuration diverged, or none is complete.
        """
        return self._which(CHOICE)

    def baseline(self, name: str) -> Trial:
        """Return a baseline of this search.

        Raises:
            InputError: if there is none of that name.
        """
        named = {trial.baseline: trial for trial in self.baselines}
        if not named:
            raise InputError(f"baseline must be one that the study has, got {name!r}, but it has none")
        check_choice("baseline", name, named)
        return named[name]

    @functools.cached_property
    def score(self) -> selection.Score:
        """What the choice is worth: its held-out loss, corrected for having been chosen, with a 90 % interval.

        Raises:
            InputError: if every configuration diverged, or none is complete.
        """
        return self.score_of("loss")

    def score_of(self, metric: MetricName | None = None, which: Which = CHOICE) -> selection.Score:
        """Return what a choice is worth in a metric, corrected for having been chosen, with a 90 % interval.

        Each draw chooses among all configurations tried. Those that ``tpe`` or ``gp`` proposed after looking at scores
        are there because these very rows liked their neighbours, so that a part of the optimism stays (on pure noise
        less than a third, within the interval); ``random``, ``sobol`` and ``grid`` leave hardly any, and none is left
        by :func:`meden.search.nested`.

        A race has chosen too, by the rows of the stop splits, which are scored in other folds: what that flatters the
        survivors stays. In simulations where nothing was to be chosen it was a seventh of the optimism of the best,
        and a third of the smaller one of ``"one_se"``: a third of the error's standard deviation at most. To leave
        those rows out costs more, a third more error.

        Args:
            metric: ``"loss"``; ``"accuracy"``, ``"balanced_accuracy"``, ``"roc_auc"``, ``"average_precision"`` or
                ``"f1"`` of classes, ``"mse"``, ``"rmse"``, ``"mae"`` or ``"r2"`` of numbers
                (:func:`meden.study.metrics.of_rows` says what they are); None is the one that decided, or accuracy or
                mse where that was the loss.
            which: ``"one_se"``, the choice, or ``"best"``: the same rule chooses in each draw of the bootstrap.

        Raises:
            InputError: if there is no configuration to choose, or the metric does not fit the task, or cannot be told
                in any fold.
        """
        metric = metric or self.told
        if (metric, which) not in self._scores:
            found = self._corrected(self.values(metric), metric, which)
            self._scores[metric, which] = found.within(*self._range(metric))
        return self._scores[metric, which]

    def gain_over(self, baseline: str, metric: MetricName | None = None) -> selection.Score:
        """Return how much better the choice is than a baseline on new rows, corrected as :meth:`score_of` is.

        Both are compared row by row. Above 0 is better, whether the metric is to be high or low.

        Args:
            baseline: name of one that this search has, see :data:`BASELINES`.
            metric: as for :meth:`score_of`; None is :attr:`told`.

        Raises:
            InputError: if there is no configuration to choose, no such baseline, or the metric does not fit the task.
        """
        metric = metric or self.told
        sign = 1 if metric in HIGHER_IS_BETTER else -1
        if (metric, baseline) not in self._scores:
            gains = sign * (self.values(metric) - self.values(metric, [self.baseline(baseline)]))
            self._scores[metric, baseline] = self._corrected(gains, metric, CHOICE)
        return self._scores[metric, baseline]

    def baseline_score(self, name: str, metric: MetricName | None = None) -> selection.Score:
        """Return what a baseline is worth: its mean over the folds, with a 90 % interval by the same bootstrap.

        Nothing was chosen among baselines, so that nothing is corrected: the estimate is the mean.

        Args:
            name: of one that this search has, see :data:`BASELINES`.
            metric: as for :meth:`score_of`; None is :attr:`told`.

        Raises:
            InputError: if there is no such baseline, it diverged, or the metric does not fit the task.
        """
        metric, trial, groups = metric or self.told, self.baseline(name), self.data.groups
        if trial.status != "ok":
            raise InputError(f"baseline must be one with a result, got {name!r}, which {trial.outcome}")
        counted = self._defined(metric)[self._fold_numbers]
        found = selection.corrected_score(
            self.values(metric, [trial])[:, counted],
            naive=self.mean_of(metric, trial),
            folds=self._fold_numbers[counted],
            units=None if groups is None else groups[self._scored][counted],
            metric=metric,
            seed=self.seed,
        )
        return found.within(*self._range(metric))

    def _range(self, metric: MetricName) -> tuple[float, float]:
        """Return what a metric can be; a function's own losses may be below 0."""
        return (-math.inf, math.inf) if self.data.task == "losses" else RANGES[metric]

    def _corrected(self, values: Array, metric: MetricName, which: Which) -> selection.Score:
        trial, groups = self._which(which), self.data.groups
        place = next(place for place, other in enumerate(self.trials) if other is trial)
        counted = (self._defined(self.chosen_by) & self._defined(metric))[self._fold_numbers]
        return selection.corrected_score(
            self._sign * self.values(self.chosen_by)[:, counted],
            naive=float(self._fold_means(metric, values[[place]]).mean()),
            values=values[:, counted],
            folds=self._fold_numbers[counted],
            simplicity=None if which == "best" else [t.simplicity for t in self.trials],
            units=None if groups is None else groups[self._scored][counted],
            metric=metric,
            seed=self.seed,
        )

    def values(self, metric: MetricName, trials: Sequence[Trial] | None = None) -> Array:
        """Return what each scored row adds to a metric, (M, n), out of fold and averaged over seeds.

        The mean over a fold's rows is the metric of the fold. Rows are in the order of the folds. Configurations that
        diverged, or were dropped, have NaN, and so have the rows of a fold in which the metric cannot be told, such as
        the ROC AUC of a single class.

        Args:
            metric: as for :meth:`score_of`.
            trials: M of them, such as baselines; None are the configurations.

        Raises:
            InputError: if the metric does not fit the task.
        """
        check_metric(metric, self.data, self.folds)
        return np.stack([_by_row(trial, metric, self._truths) for trial in (self.trials if trials is None else trials)])

    @property
    def metric(self) -> MetricName:
        """Name of :attr:`Trial.score`."""
        names: dict[Task, MetricName] = {"classification": "accuracy", "regression": "mse", "losses": "loss"}
        return names[self.data.task]

    def recipe_of(self, trial: Trial) -> tuple[Recipe, dict[str, Any]]:
        """Return a configuration's recipe, as long as there was time for, and the arguments of its model."""
        if self.model.trains:
            return self.recipe, dict(trial.params)
        recipe, model_args = configure(self.recipe, trial.params)
        return recipe.shortened(min(recipe.last_epoch, trial.longest_schedule or recipe.last_epoch)), model_args

    def final(self, which: Which | Trial = CHOICE) -> tuple[Recipe, dict[str, Any]]:
        """Return the recipe for all rows, and the arguments of the model: the median epoch of the folds ends it."""
        trial = self._which(which)
        recipe, model_args = self.recipe_of(trial)
        return recipe.replace(early_stopping=None, stop_after=max(1, trial.median_epoch)), model_args

    @property
    def ranked(self) -> list[Trial]:
        """The configurations by what decides, best first; diverged and dropped ones last."""
        return [self.trials[place] for place in np.argsort(self._by_fold.mean(axis=1), kind="stable")]

    @property
    def told(self) -> MetricName:
        """The metric that people read: what decides; for the loss, accuracy, RMSE or (several numbers) MSE."""
        if self.chosen_by != "loss":
            return self.chosen_by
        return "rmse" if "rmse" in fitting(self.data.task, self.data.labels) else self.metric

    def mean_of(self, metric: MetricName, trial: Trial) -> float:
        """Return a metric's mean over the folds, of a configuration or a baseline."""
        return float(self._fold_means(metric, self.values(metric, [trial])).mean())

    def decided_by(self, trial: Trial) -> float:
        """Return the mean over the folds of the metric that decides, of a configuration or a baseline."""
        return self.mean_of(self.chosen_by, trial)

    @property
    def num_folds_told(self) -> int:
        """Folds in which the metric that decides can be told."""
        return int(self._defined(self.chosen_by).sum())

    def differences_from_best(self) -> tuple[Array, Array]:
        """Return how much worse each configuration is than the best, fold by fold, in what decides, (M,).

        Returns:
            Means over the folds, NaN for those that diverged or were dropped, and their standard errors.

        Raises:
            InputError: if every configuration diverged, or none is complete.
        """
        self._check_usable()
        return selection.differences_from_best(self._by_fold)

    def table(self) -> pd.DataFrame:
        """Return one row per configuration and baseline, best first; diverged and dropped ones last with the reason.

        Baselines have their name in the column ``baseline``, which is empty for configurations, and no number.
        """
        decided = {id(trial): self.decided_by(trial) for trial in (*self.trials, *self.baselines)}
        ranked = sorted((*self.trials, *self.baselines), key=lambda trial: _last(self._sign * decided[id(trial)]))
        rows = [
            {
                "configuration": pd.NA if trial.baseline else trial.number,
                "baseline": trial.baseline,
                **{name: trial.params.get(name) for name in self.space},
                "loss": trial.loss,
                "loss_error": trial.loss_error,
                self.metric: trial.score,
                self.told: self.mean_of(self.told, trial),
                self.chosen_by: decided[id(trial)],
                "epochs": trial.median_epoch,
                "status": trial.outcome,
                "chosen": " ".join(name for name, chosen in self._choices().items() if chosen is trial),
            }
            for trial in ranked
        ]
        return pd.DataFrame(rows).astype({"configuration": "Int64"}) if rows else pd.DataFrame()

    def _check_usable(self) -> None:
        if not self.usable and self.num_missing:
            raise InputError(f"there is no configuration to choose yet: {self.reason}")
        if not self.usable:
            advice = "" if self.model.trains else ", or clip_norm in the recipe"
            raise InputError(f"{self._all_lost}; try lower learning rates{advice}")

    @property
    def _all_lost(self) -> str:
        if not self.trials:
            return "no configuration is complete"
        worst = next((trial for trial in self.trials if trial.status == "diverged"), self.trials[0])
        return f"every configuration {worst.outcome}"

    @property
    def _rows(self) -> list[Row]:
        return [*(row for trial in self.trials for row in trial.rows), *self.incomplete]

    def _choices(self) -> dict[str, Trial]:
        return {"best": self.best, "one_se": self.one_se} if self.usable else {}

    def _which(self, which: Which | Trial) -> Trial:
        if isinstance(which, Trial):
            return which
        check_choice("which", which, RULES)
        trial: Trial = getattr(self, which)
        return trial

    @property
    def _sign(self) -> int:
        return -1 if self.chosen_by in HIGHER_IS_BETTER else 1

    @functools.cached_property
    def _scores(self) -> dict[tuple[MetricName, str], selection.Score]:
        """Corrected scores of a choice, and gains over a baseline, that were asked for: many draws make each."""
        return {}

    @functools.cached_property
    def _by_fold(self) -> Array:
        """What decides, (M, F), lower is better: means over rows and seeds."""
        if not self.trials:
            return np.empty((0, len(self.folds)))
        return self._fold_means(self.chosen_by, self._sign * self.values(self.chosen_by))

    def _fold_means(self, metric: MetricName, values: Array) -> Array:
        """Return means over the rows of each fold in which the metric can be told."""
        ends = np.cumsum([len(fold.score) for fold in self.folds])[:-1]
        means = np.stack([part.mean(axis=1) for part in np.split(values, ends, axis=1)], axis=1)
        return means[:, self._defined(metric)]

    def _defined(self, metric: MetricName) -> NDArray[np.bool_]:
        """Say in which folds a metric can be told, (F,)."""
        return np.array([is_defined(metric, truth) for truth in self._truths])

    @functools.cached_property
    def _truths(self) -> list[Truth]:
        """What is true of the scored rows of each fold."""
        return truths_of(self.data, self.folds)

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


def make_baseline(name: str, rows: Sequence[Row]) -> Trial:
    """Put the rows of one baseline together."""
    ordered = tuple(sorted(rows, key=lambda row: row.key))
    return Trial(list(BASELINES).index(name), dict(ordered[0].params), ordered, math.nan, name)


def _last(value: float) -> float:
    """Return a number to sort by: what is not finite comes last."""
    return value if math.isfinite(value) else math.inf


def _by_row(trial: Trial, metric: MetricName, truths: Sequence[Truth]) -> Array:
    """Return what all scored rows add to a metric, (n,), averaged over seeds; NaN wherever a seed has none."""
    folds: dict[int, list[Array]] = {}
    for row in trial.rows:
        told = HeldOut(row.losses, row.scores, row.outputs)
        folds.setdefault(row.fold, []).append(of_rows(metric, told, truths[row.fold]))
    return np.concatenate([np.mean(per_seed, axis=0) for per_seed in folds.values()])
