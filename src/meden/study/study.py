"""A study: what a search found, with the model and the data that it takes to train again."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, overload

import numpy as np

from meden._checks import InputError, check_choice
from meden.data import Dataset, Fold
from meden.deadline import Deadline
from meden.diagnosis import Evidence
from meden.diagnosis.memory.memorisation import Memorisation, memorisation_of
from meden.history import Record
from meden.member import Member, ModelMaker, as_taken, encode_folds
from meden.noise import derive
from meden.report import Format, Section
from meden.run import Ensemble, Run
from meden.space.names import OFF
from meden.study.evidence import evidence_of
from meden.study.final_states import FinalStates, run_of
from meden.study.learning_curve import LearningCurve
from meden.study.page import study_report
from meden.study.results import CHOICE, DIVISION, Results, Trial, Which
from meden.study.row_losses import are_kept, kept_losses, trained_losses
from meden.study.tradeoff import Tradeoff, tradeoff_of
from meden.study.verdict import Verdict, verdict_of
from meden.training.fit_many import fit_many


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Study(Results):
    """The results of a search and what trains its choice; made by :func:`meden.tune` and :func:`meden.load_study`.

    Attributes:
        make_model: makes the models; None where a loaded study has none, and was given none.
        dataset: the rows; None where a loaded study was given none.
        ends: where the fits ended, if a search kept that (``keep_models=True``).
    """

    make_model: ModelMaker | None = None
    dataset: Dataset | None = None
    ends: FinalStates | None = None

    @classmethod
    def of(
        cls, results: Results, make_model: ModelMaker | None, dataset: Dataset | None, ends: FinalStates | None = None
    ) -> Self:
        """Return results with model and data."""
        found = {field.name: getattr(results, field.name) for field in dataclasses.fields(Results)}
        return cls(**found, make_model=make_model, dataset=dataset, ends=ends)

    @overload
    def refit(
        self,
        which: Which = CHOICE,
        *,
        policy: Literal["all"] = "all",
        seed: int | None = None,
        data: Any = None,
        make_model: ModelMaker | None = None,
        on_epoch: Callable[[Record], None] | None = None,
        deadline: Deadline | None = None,
    ) -> Run: ...

    @overload
    def refit(
        self,
        which: Which = CHOICE,
        *,
        policy: Literal["folds"],
        seed: int | None = None,
        data: Any = None,
        make_model: ModelMaker | None = None,
        on_epoch: Callable[[Record], None] | None = None,
        deadline: Deadline | None = None,
    ) -> Ensemble: ...

    def refit(
        self,
        which: Which = CHOICE,
        *,
        policy: Literal["all", "folds"] = "all",
        seed: int | None = None,
        data: Any = None,
        make_model: ModelMaker | None = None,
        on_epoch: Callable[[Record], None] | None = None,
        deadline: Deadline | None = None,
    ) -> Run | Ensemble:
        """Train the chosen configuration once more, for use.

        Args:
            which: ``"one_se"``, the choice, or ``"best"``.
            policy: ``"all"`` trains one model on all rows, for as many epochs as its folds kept in the median. (Epochs
                are what carries over: the same number of passes over more rows is proportionally more steps.)
                ``"folds"`` trains a model for each fold, on all its training rows and stopped by its scored rows, and
                averages their predictions. No row is left that could say what such a model is worth, so that its
                ``held_out`` is None (:attr:`score` was estimated before); one that diverged is left out if others
                did not.
            seed: of weights, batches and noise; None is the study's.
            data: the rows, as for :func:`meden.tune`; None are the study's, or are read again from where they came.
            make_model: as for :func:`meden.tune`; None is the study's.
            on_epoch: called with each epoch's record.
            deadline: as for :func:`meden.fit_many`.

        Returns:
            What predicts new rows and can be saved: a run, or an ensemble of runs.

        Raises:
            InputError: if there is no configuration to choose; if data or model are not there and were not given; or
                if the data are not those of the search.
        """
        check_choice("policy", policy, ("all", "folds"))
        make_model, dataset = self.trainable(data, make_model)
        report = None if on_epoch is None else lambda _, record: on_epoch(record)
        base = self.seed if seed is None else seed
        if policy == "all":
            recipe, model_args = self.final(which)
            members = [Member(recipe, seed=base, model_args=model_args)]
            return fit_many(make_model, members, dataset, on_epoch=report, deadline=deadline)[0]
        recipe, model_args = self.recipe_of(self._which(which))
        members = [Member(recipe, _whole(fold), derive(base, "final"), model_args) for fold in self.folds]
        trained = fit_many(make_model, members, dataset, on_epoch=report, deadline=deadline)
        runs = [dataclasses.replace(run, held_out=None) for run in trained]
        return Ensemble(runs=tuple([run for run in runs if run.status != "diverged"] or runs))

    def fold_models(
        self, which: Which | Trial = CHOICE, *, data: Any = None, make_model: ModelMaker | None = None
    ) -> Ensemble:
        """Return the models of a configuration's folds as they were when they were scored; nothing is trained.

        Each has its ``held_out``; the mean of their answers is what they say of new rows.

        Args:
            which: ``"one_se"``, the choice, ``"best"``, or a configuration of :attr:`trials`.
            data: as for :meth:`refit`.
            make_model: as for :meth:`refit`.

        Raises:
            InputError: if the search did not keep its models (``keep_models=True``); if a fit of it was lost; or as
                :meth:`refit` does.
        """
        trial = self._which(which)
        if trial.status != "ok":
            raise InputError(f"configuration must be one with a result, got {trial.number}, which {trial.outcome}")
        if self.ends is None:
            raise InputError("models of the folds must have been kept by the search (keep_models=True), got none")
        make_model, dataset = self.trainable(data, make_model)
        recipe, model_args = self.recipe_of(trial)
        members = [
            Member(recipe, self.folds[r.fold], derive(self.seed, "seed", r.seed), model_args) for r in trial.rows
        ]
        dataset = as_taken(make_model, dataset, members[0])
        shares = encode_folds(dataset, self.folds)
        each = zip(members, trial.rows, strict=True)
        return Ensemble(
            runs=tuple(run_of(make_model, dataset, shares[m.fold], m, self.ends[row.key], row) for m, row in each)
        )

    def trainable(self, data: Any = None, make_model: ModelMaker | None = None) -> tuple[ModelMaker, Dataset]:
        """Return what makes the models, and the rows; arguments and errors are those of :meth:`refit`."""
        maker = make_model or self.make_model
        if self.model.trains:
            raise InputError(
                f"a study of a training function ({self.model.text}) cannot train by itself: call the function "
                "with meden.Job(params=study.choice.params, fit=..., stop=..., score=...)"
            )
        if maker is None:
            raise InputError(
                f"make_model must be given to train again, since the study was made with {self.model.text}"
            )
        return maker, self.dataset if data is None and self.dataset is not None else self.data.read(data)

    def learning_curve(
        self,
        which: Which = CHOICE,
        *,
        plain: bool = False,
        sizes: Sequence[int] | None = None,
        seeds: int | None = None,
        data: Any = None,
        make_model: ModelMaker | None = None,
        study_dir: Path | str | None = None,
        **options: Any,
    ) -> LearningCurve:
        """Train the choice on smaller and smaller parts of each fold's rows, and say what more rows would give.

        It stands beside what regularisation gains: by the study's own plain network, or, with ``plain``, by that
        network's own curve. Losses are those of the folds, as measured: not corrected for having chosen there, as
        :attr:`score` is.

        Args:
            which: ``"one_se"``, the choice, or ``"best"``.
            plain: trains also the network of the choice with nothing that regularises, for as long.
            sizes: as for :func:`meden.learning_curve`.
            seeds: runs at each size in each fold; None is the study's number.
            data: as for :meth:`refit`.
            make_model: as for :meth:`refit`.
            study_dir: folder of the curve, which must not be that of the study; None keeps it in memory.
            **options: ``same``, ``workers`` and its fields, ``allow_version``, ``on_start`` and ``on_progress``, as for
                :func:`meden.learning_curve`.

        Raises:
            InputError: as for :meth:`refit` and :func:`meden.learning_curve`.
        """
        make_model, dataset = self.trainable(data, make_model)
        trial = self._which(which)
        recipe, model_args = self.recipe_of(trial)
        bare = recipe.replace(**OFF, stop_after=max(row.num_epochs for row in trial.rows))
        measure = importlib.import_module("meden").learning_curve  # of a room above, as what a study offers to people
        found: LearningCurve = measure(
            make_model,
            dataset,
            recipe,
            model_args=model_args,
            plain=bare if plain else False,
            sizes=sizes,
            folds=self.folds,
            seeds=self.settings.get("seeds", 1) if seeds is None else seeds,
            order=self.notes.get(DIVISION, {}).get("order"),
            seed=self.seed,
            study_dir=study_dir,
            **options,
        )
        compared = any(trial.baseline == "plain" and trial.status == "ok" for trial in self.baselines)
        if found.gain is not None or not compared or which != CHOICE:
            return found
        rows = float(np.mean([len(fold.fit) for fold in self.folds]))
        return dataclasses.replace(found, gain=self.gain_over("plain", found.metric), gain_rows=rows)

    @functools.cached_property
    def verdict(self) -> Verdict:
        """What the results say, in sentences with numbers; printing it gives them."""
        return verdict_of(self)

    def memorisation(
        self, which: Which = CHOICE, *, repeats: int = 1, data: Any = None, make_model: ModelMaker | None = None
    ) -> Memorisation:
        """Return what the models of a configuration's folds know of their rows by heart.

        Each fit is attacked by itself, with those of other folds as its shadows. Where the search kept the losses of
        fitting rows (``keep_losses=True``) nothing is trained; else the fits are trained again, with the seeds they
        had. With ``repeats`` they are trained on other divisions of the rows too: each row then has shadows that were
        not fitted on it, which finds far more.

        Args:
            which: ``"one_se"``, the choice, or ``"best"``.
            repeats: divisions of the rows, 1 to 100; the first is the study's.
            data: the rows, as for :meth:`refit`, if it trains.
            make_model: as for :meth:`refit`, if it trains.

        Raises:
            InputError: if there is no configuration to choose; if folds are ordered in time, or were given as such
                and are to be repeated; or as :meth:`refit` does, if it trains.
        """
        trial = self._which(which)
        if repeats == 1 and are_kept(self, trial):
            return memorisation_of(kept_losses(self, trial))
        maker, dataset = self.trainable(data, make_model)
        return memorisation_of(trained_losses(self, trial, maker, dataset, repeats))

    def tradeoff(self) -> Tradeoff:
        """Return what each configuration is worth against what is known by heart: how much privacy a strength buys.

        Raises:
            InputError: if the search did not keep the losses of fitting rows (``keep_losses=True``).
        """
        return tradeoff_of(self)

    def evidence(self) -> Evidence:
        """Return what :func:`meden.diagnose` goes by: the fits of the choice in all folds."""
        return evidence_of(self, self.make_model)

    def report(self, path: Path | str, *, extra: Sequence[Section] = (), format: Format = "html") -> Path:
        """Write one HTML file that opens offline: the verdict, its evidence, the recipe, how to make the study again.

        Args:
            path: of the file.
            extra: more sections, shown after the headline.
            format: ``"html"``, or ``"md"``: Markdown without the charts.
        """
        evidence = self.evidence() if self.usable else None
        return study_report(self, path, evidence=evidence, extra=extra, format=format)


def _whole(fold: Fold) -> Fold:
    """Return a fold whose stop split is trained on, and whose scored rows stop."""
    return Fold(np.sort(np.concatenate([fold.fit, fold.stop])), fold.score, fold.score)
