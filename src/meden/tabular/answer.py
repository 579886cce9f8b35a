"""The best answer on a table: a mixture of networks, linear models and trees, chosen by cross-validation.

All families learn from the same folds, without the rows that score. What is mixed, how probabilities are tempered and
which label is named is decided by their out-of-fold answers, for the metric that was asked for; the score of the
mixture is corrected for all of that, but not for which strengths of a path, and which of more than forty networks, may
be chosen.

Legend: ``n`` scored rows, ``C`` classes, ``M`` numbers to predict, ``K`` candidates.
"""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError, check_choice, check_number
from meden.data import Dataset, Fold
from meden.deadline import NEVER, Deadline, now
from meden.search.budget import TimeTooShort
from meden.study import Study
from meden.study.ensemble_score import Mixing, ensemble_score
from meden.study.metrics import MetricName, Truth, check_metric, truths_of
from meden.study.selection import Score
from meden.tabular.candidate import Candidate, Family
from meden.tabular.linear import few_columns, linear_candidates
from meden.tabular.mixture import Mixture, Part
from meden.tabular.network_search import NetworkSearch, part_of
from meden.tabular.networks import networks_of, out_of_fold
from meden.tabular.scored import Scored
from meden.tabular.trees import tree_candidates

Array = NDArray[Any]
FAMILIES: tuple[Family, ...] = ("network", "linear", "trees")
Refit = Literal["folds", "all", "seeds"]
REFITS: tuple[Refit, ...] = ("folds", "all", "seeds")
SEEDS = 5
"""Models of a configuration on all rows, where several are asked for."""
FINAL_COST = {"folds": 0.0, "all": 2.5, "seeds": 10.0}
"""Time of the networks that predict, in configurations, by how they are trained."""
LINEAR_SHARE, WIDE_SHARE, TREES_SHARE, MIXING_SHARE = 0.1, 0.5, 0.35, 0.06
"""Of the time: linear models (the second: of more columns than rows) and trees may take so much, and the choice of the
mixture is left so much."""
ROWS_A_SECOND, FEWEST_ROWS = 1_000, 200
"""Of a time limit: of more rows a part is used; so many are always."""
MOST_POOLED = 40
"""Networks of which a mixture is chosen, the best by their loss."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What was found for a table."""

    mixture: Mixture
    """What predicts."""
    score: Score
    """What the mixture is worth on new rows, corrected for having been chosen."""
    study: Study | None
    """Of the networks; None where none was asked for, or there was no time for one."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a table.

    Reference:
        R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, Ensemble selection from libraries of models, 2004.
    """

    dataset: Dataset
    families: Sequence[Family] = FAMILIES
    """Kinds of models that may be mixed."""
    metric: MetricName = "loss"
    """What counts: it decides what is mixed and, for classes, which label is named."""
    costs: Array | None = None
    """(C, C), what it costs to say a class (column) where another (row) is true; None for what the metric says."""
    folds: int = 5
    search: NetworkSearch = dataclasses.field(default_factory=NetworkSearch)
    refit: Refit = "folds"
    """What predicts of a network that is mixed: the models of its folds, one that is trained on all rows, or several
    seeds of that. Linear models and trees are always those of the folds."""
    time_limit: float | None = None
    """Seconds for everything; None is no limit."""
    since: float | None = None
    """When that began, on the clock :func:`time.time`; None is now."""

    def __post_init__(self) -> None:
        for family in self.families:
            check_choice("families", family, FAMILIES)
        if not self.families:
            raise InputError(f"families must name at least one of {', '.join(FAMILIES)}, got none")
        check_metric(self.metric, self.dataset)
        check_choice("refit", self.refit, REFITS)
        if self.several and "network" not in self.families:
            raise InputError(f"families must include 'network' for several labels per row, got {list(self.families)!r}")
        if "network" in self.families:
            self.search.check(self.dataset)

    @property
    def several(self) -> bool:
        """Whether rows have several labels, which networks alone answer."""
        return self.dataset.task == "classification" and self.dataset.labels.ndim > 1

    def answer(self) -> Answer:
        """Find it.

        Raises:
            InputError: before any compute, if anything does not fit; or if nothing could be trained, or not in time.
        """
        deadline = NEVER
        if self.time_limit is not None:
            check_number("time_limit", self.time_limit, low=0.0, low_open=True)
            deadline = Deadline.after(self.time_limit, since=self.since)
            if deadline.passed():
                begun = now() - deadline.at + self.time_limit
                raise InputError(
                    f"time_limit must be at least about {2 * begun:.2g} s, since reading the data took {begun:.2g} "
                    f"s, got {self.time_limit:g} s"
                )
        return dataclasses.replace(self, dataset=self._affordable())._found(deadline)

    def _affordable(self) -> Dataset:
        """Return the rows that there is time for."""
        if self.time_limit is None:
            return self.dataset
        most = max(FEWEST_ROWS, int(ROWS_A_SECOND * self.time_limit))
        if self.dataset.num_rows <= most:
            return self.dataset
        part = part_of(self.dataset, most, self.search.seed)
        warnings.warn(
            f"time_limit is too short for all {self.dataset.num_rows:,} rows, {self.time_limit:g} s: only "
            f"{part.num_rows:,} are used",
            stacklevel=6,
        )
        return part

    def _found(self, deadline: Deadline) -> Answer:
        folds = self.search.divide(self.dataset, self.folds)
        others = self._others(folds, deadline)
        if "network" not in self.families:
            return self._mixed(folds, others, None, deadline)
        with tempfile.TemporaryDirectory() as models:
            study = self._study(folds, Path(models), deadline, needed=not others)
            return self._mixed(folds, others, study, deadline)

    def _others(self, folds: Sequence[Fold], deadline: Deadline) -> list[Candidate]:
        """Return the linear models and trees that there is time for."""
        found: list[Candidate] = []
        if self.several:
            return found
        left = deadline.seconds_left()
        if "linear" in self.families:
            wide = len(self.dataset.feature_names) > self.dataset.num_rows
            share = (WIDE_SHARE if wide or "network" not in self.families else LINEAR_SHARE) * left
            found += linear_candidates(self.dataset, folds, deadline=Deadline.after(share))
        if "trees" in self.families:
            share = deadline.seconds_left() if "network" not in self.families else TREES_SHARE * left
            found += tree_candidates(
                self.dataset,
                folds,
                seed=self.search.seed,
                deadline=Deadline.after(share),
                few=few_columns(found, self.dataset),
            )
        return found

    def _study(self, folds: Sequence[Fold], models: Path, deadline: Deadline, *, needed: bool) -> Study | None:
        """Search among networks; None if there was no time for one, or all diverged, and others may answer."""
        if deadline.passed() and not needed:
            return None
        timed = dataclasses.replace(
            self.search,
            metric=self.metric,
            time_limit=self.time_limit,
            deadline=deadline.earlier(self._spare),
            after=FINAL_COST[self.refit],
        )
        try:
            study = timed.run(self.dataset, folds, models)
        except TimeTooShort:
            if needed:
                raise
            return None
        if not study.usable:
            if needed:
                raise InputError(f"every network failed: {study.reason}")
            warnings.warn(f"every network failed, other models are used: {study.reason}", stacklevel=7)
        return study

    def _mixed(
        self, folds: Sequence[Fold], others: Sequence[Candidate], study: Study | None, deadline: Deadline
    ) -> Answer:
        """Choose the mixture by the out-of-fold answers to the folds that all have."""
        kept = study.folds if study is not None and study.usable else folds
        trials = [] if study is None else [trial for trial in study.ranked if trial.status == "ok"][:MOST_POOLED]
        if self.several:
            assert study is not None
            return self._choice_alone(study, deadline)
        pool = [_of_folds(candidate, folds, kept) for candidate in others]
        pool += [Candidate(f"network {trial.number}", "network", out_of_fold(trial), ()) for trial in trials]
        if not pool:
            limit = "" if self.time_limit is None else f" in {self.time_limit:g} s"
            raise InputError(
                f"families must include one that can learn these rows{limit}, got {', '.join(self.families)}"
            )
        truth, parts = self._truth(kept), np.repeat(np.arange(len(kept)), [len(fold.score) for fold in kept])
        outputs = np.stack([candidate.outputs.reshape(len(truth.labels), *self._shape) for candidate in pool])
        mixing = Mixing.of(outputs, truth, self.metric, parts, self.costs)
        weights = mixing.weights
        losses = [Scored.of(self.dataset, kept).loss(one) for one in outputs]
        order = [int(place) for place in np.argsort(-weights, kind="stable") if weights[place] > 0]
        mixed = [Part(pool[k].name, pool[k].family, float(weights[k]), losses[k]) for k in order]
        models = [(model, weights[k] / len(pool[k].models)) for k in order for model in pool[k].models]
        taken = {trial.number: float(weight) for trial, weight in zip(trials, weights[len(others) :], strict=True)}
        taken = {number: weight for number, weight in taken.items() if weight > 0}
        if taken:
            assert study is not None
            before = deadline.earlier(self._spare)
            found = networks_of(study, taken, refit=self.refit, seeds=self._seeds, deadline=before)
            models.append((found, sum(taken.values())))
        mixture = Mixture(
            parts=tuple(mixed),
            models=tuple(model for model, _ in models),
            weights=tuple(float(weight) for _, weight in models),
            temperature=mixing.temperature,
            decision=mixing.decision,
        )
        score = ensemble_score(
            outputs, truth, self.metric, folds=parts, units=self._units(kept), costs=self.costs, deadline=deadline
        )
        return Answer(mixture=mixture, score=score, study=_without_models(study))

    def _choice_alone(self, study: Study, deadline: Deadline) -> Answer:
        """Return the network of the choice, where rows have several labels."""
        choice = study.choice
        found = networks_of(study, {choice.number: 1.0}, refit=self.refit, seeds=self._seeds, deadline=deadline)
        part = Part(f"network {choice.number}", "network", 1.0, choice.loss)
        mixture = Mixture(parts=(part,), models=(found,), weights=(1.0,))
        return Answer(mixture=mixture, score=study.score_of(), study=_without_models(study))

    def _truth(self, folds: Sequence[Fold]) -> Truth:
        """Return what is true of the scored rows, one fold behind the other."""
        each = truths_of(self.dataset, folds)
        weights = None if each[0].weights is None else np.concatenate([one.weights for one in each])
        labels = np.concatenate([one.labels for one in each])
        return Truth(labels, each[0].num_classes, weights, each[0].variance)

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of an answer: (C,), (M,) or () for one number."""
        classes = self.dataset.task == "classification"
        return (self.dataset.num_outputs,) if classes else self.dataset.labels.shape[1:]

    @property
    def _spare(self) -> float:
        """Seconds that choosing the mixture is left."""
        return 0.0 if self.time_limit is None else MIXING_SHARE * self.time_limit

    @property
    def _seeds(self) -> int:
        """Models of a configuration on all rows."""
        return SEEDS if self.refit == "seeds" else 1

    def _units(self, folds: Sequence[Fold]) -> Array | None:
        """Return the groups of the scored rows, (n,), if rows have groups."""
        groups = self.dataset.groups
        return None if groups is None else groups[np.concatenate([fold.score for fold in folds])]


def _of_folds(candidate: Candidate, folds: Sequence[Fold], kept: Sequence[Fold]) -> Candidate:
    """Return a candidate of all folds with its answers to the scored rows of some."""
    parts = np.split(candidate.outputs, np.cumsum([len(fold.score) for fold in folds])[:-1])
    places = [next(place for place, fold in enumerate(folds) if fold is one) for one in kept]
    return dataclasses.replace(candidate, outputs=np.concatenate([parts[place] for place in places]))


def _without_models(study: Study | None) -> Study | None:
    """Return a study whose models of the folds were kept for the mixture alone."""
    return None if study is None else dataclasses.replace(study, ends=None)
