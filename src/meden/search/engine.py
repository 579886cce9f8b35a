"""The engine of every search: ask, train what the ledger does not hold, tell."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from meden._checks import InputError
from meden.data import Dataset, Fold
from meden.history import History
from meden.member import Member, ModelMaker
from meden.noise import derive
from meden.recipe import Recipe
from meden.search import racing
from meden.search.budget import UNLIMITED, Budget, TimeIsUp
from meden.search.progress import TELL_EVERY, Meter, OnProgress
from meden.search.tracker import Losses, Trackers
from meden.space.names import Space
from meden.study.folder import STUDY
from meden.study.ledger import LEDGER, Key, Ledger, Row
from meden.study.results import Trial, make_trial
from meden.training.fit_many import plan_stacks
from meden.workers.coordinator import Epoch, Result
from meden.workers.workers import Workers, train

Batch = Mapping[int, Mapping[str, Any]]
"""Configurations by number."""
MemberOf = Callable[[Key, Mapping[str, Any]], Member]
"""What is trained for a configuration, in a fold, with a seed."""
Curves = Mapping[Key, Sequence[float]]
"""The stop split's losses after each epoch, of fits."""


class Proposer(Protocol):
    """What says which configurations are tried, such as :class:`meden.search.strategies.Proposals`."""

    budget: int
    """Configurations in all."""

    def ask(self, most: int | None = None) -> list[dict[str, Any]]:
        """Return the next batch, of so many configurations at most; an empty one is the end."""

    def tell(self, scores: Sequence[float]) -> None:
        """Tell the scores of the last batch."""


@dataclasses.dataclass(kw_only=True)
class Search:
    """A search at work."""

    make_model: ModelMaker
    dataset: Dataset
    folds: Sequence[Fold]
    seeds: int
    member: MemberOf
    """What is trained."""
    proposals: Proposer
    ledger: Ledger
    workers: Workers
    space: Space = dataclasses.field(default_factory=dict)
    """What decides how simple a configuration is."""
    budget: Budget = UNLIMITED
    rungs: Sequence[int] | None = None
    """Epochs after which a race is judged; None where there is no race."""
    on_progress: OnProgress | None = None
    """Called at the beginning, at the end of each fit, a few times a second between, and at the end."""
    trackers: Trackers = dataclasses.field(default_factory=Trackers)
    on_weights: Callable[[Key, Result], None] | None = None
    """Called with each run and its weights before the ledger has its row; None leaves weights where they are."""
    trials: list[Trial] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        before = self.ledger.rows.values()
        self.num_epochs, spent = sum(row.num_epochs for row in before), math.fsum(row.seconds for row in before)
        self.last_row_at = time.perf_counter()
        self.deadline = self.last_row_at + (self.budget.seconds or math.inf) - spent
        self.meter = Meter(self.proposals.budget, len(self._keys(0)), self.budget.longest)
        self.told_at = -math.inf

    def run(self) -> list[Trial]:
        """Ask, train what the ledger does not hold, tell; until the budget is spent."""
        try:
            self._tell()
            self.trackers.start()
            self._run()
            self._tell(ended=True)
        finally:
            self.trackers.close()
        return self.trials

    def _run(self) -> None:
        last: list[Row] = []
        while batch := self.proposals.ask(self.budget.allows(self._rows(*range(len(self.trials))), last)):
            numbered = dict(enumerate(batch, start=len(self.trials)))
            self._note(numbered)
            try:
                self._train(numbered) if self.rungs is None else self._race(numbered, self.rungs)
            except TimeIsUp:
                numbered = {n: params for n, params in numbered.items() if len(self._rows(n)) == len(self._keys(n))}
                if not numbered and not self.trials:
                    raise self.budget.too_short(time.perf_counter() - self.deadline, self.num_epochs) from None
            self.trials += [make_trial(n, params, self._rows(n), self.space) for n, params in numbered.items()]
            if len(numbered) < len(batch):
                break
            self.proposals.tell([self.trials[number].loss for number in numbered])
            last = self._rows(*numbered)

    def _race(self, batch: Batch, rungs: Sequence[int]) -> None:
        """Train a batch on some of the folds, and only those that may still win on the others."""
        first, *others = racing.rounds(len(self.folds))
        self._train(batch, first, rungs)
        for folds in others:
            staying = self._staying(batch, first, racing.THE_END)
            self._give_up({n: params for n, params in batch.items() if n not in staying}, folds)
            self._train({n: params for n, params in batch.items() if n in staying}, folds, rungs)

    def _staying(self, batch: Batch, folds: range, epoch: int, live: Curves | None = None) -> set[int]:
        """Return the configurations that stay in the race after an epoch in all folds up to these.

        All that ever got so far compete, those of earlier batches too. A decision that the ledger holds stands.
        """
        tried = dict(enumerate(trial.params for trial in self.trials)) | dict(batch)
        pool = [number for number in tried if self._dropped_at(number, folds) >= epoch]
        at = [self._losses_at(epoch, self._keys(n, range(folds.stop)), tried[n], live or {}) for n in pool]
        stays = [pool[row] for row in racing.survivors(np.array(at))]
        return {number for number in stays if self._dropped_at(number, folds) > epoch}

    def _losses_at(self, epoch: int, keys: Sequence[Key], params: Mapping[str, Any], live: Curves) -> list[float]:
        curves = [live[key] if key in live else self.ledger.rows[key].stop_loss for key in keys]
        keeps_best = self.member(keys[0], params).recipe.early_stopping is not None
        return [racing.loss_at(curve, epoch, keeps_best=keeps_best) for curve in curves]

    def _dropped_at(self, configuration: int, folds: range) -> float:
        """Return the epoch after which a configuration was dropped in the folds up to these, as far as is known."""
        rows = [row for row in self._rows(configuration) if row.fold < folds.stop]
        return min((row.num_epochs for row in rows if row.status == "dropped"), default=math.inf)

    def _give_up(self, batch: Batch, folds: range) -> None:
        """Note for each fit that will not be made that its configuration lost before."""
        for number, params in batch.items():
            for key in self._keys(number, folds):
                if key not in self.ledger.rows:
                    self._append(never_trained(key, params, self.folds[key.fold]))

    def _train(self, batch: Batch, folds: range | None = None, rungs: Sequence[int] = ()) -> None:
        """Train what the ledger lacks, and the rest of its stacks with it, which decides how numbers are rounded."""
        keys = [key for number in batch for key in self._keys(number, folds)]
        missing = {number for number, key in enumerate(keys) if key not in self.ledger.rows}
        if not missing:
            return
        members = [self.member(key, batch[key.configuration]) for key in keys]
        plan = plan_stacks(self.make_model, members, self.dataset)
        stacks = [stack for stack in plan if not missing.isdisjoint(stack)]

        def judge(epoch: int, histories: Mapping[int, History]) -> list[int]:
            assert folds is not None
            live = {keys[number]: stop_curve(history) for number, history in histories.items()}
            staying = self._staying(batch, folds, epoch, live)
            return [number for number, key in enumerate(keys) if key.configuration not in staying]

        def record(number: int, result: Result) -> None:
            key = keys[number]
            if key not in self.ledger.rows:
                now = time.perf_counter()
                seconds, self.last_row_at = now - self.last_row_at, now
                if self.on_weights is not None:
                    self.on_weights(key, result)
                self._append(make_row(key, batch[key.configuration], result, self.folds[key.fold], seconds))

        def epochs(done: Sequence[Epoch]) -> None:
            self._epochs([(keys[epoch.number], epoch) for epoch in done])

        train(
            self.workers,
            self.make_model,
            members,
            self.dataset,
            stacks,
            on_end=record,
            on_epochs=epochs if self._is_followed else None,
            rungs=rungs,
            judge=judge if rungs else None,
            keeps_weights=self.on_weights is not None,
        )

    def _tick(self, num_epochs: int) -> None:
        self.num_epochs += num_epochs
        if time.perf_counter() > self.deadline:
            raise TimeIsUp

    @property
    def _is_followed(self) -> bool:
        return self.budget.seconds is not None or self.on_progress is not None or bool(self.trackers)

    def _epochs(self, done: Sequence[tuple[Key, Epoch]]) -> None:
        for key, epoch in done:
            if key not in self.ledger.rows:
                self.meter.epoch(key, epoch.epoch, epoch.stop_loss)
                self.trackers.epoch(Losses(key, *epoch[1:]))
        self.trackers.tell()
        if time.perf_counter() > self.told_at + TELL_EVERY:
            self._tell()
        self._tick(len(done))

    def _tell(self, *, ended: bool = False) -> None:
        if self.on_progress is not None:
            self.told_at = time.perf_counter()
            self.on_progress(self.meter.progress(self.deadline - self.told_at, ended=ended))

    def _note(self, batch: Batch) -> None:
        """Take note of a batch that is asked for, and of what the ledger holds of it."""
        for number, params in batch.items():
            keys = self._keys(number)
            self.meter.ask(number, keys, self.member(keys[0], params).recipe.last_epoch)
            self.trackers.ask(number, params)
            for row in self._rows(number):
                self._ended(row)

    def _append(self, row: Row) -> None:
        self.ledger.append(row)
        self._ended(row)
        self._tell()

    def _ended(self, row: Row) -> None:
        """Take note of a fit that has ended, and with the last one of its configuration."""
        if self.meter.end(row):
            trial = make_trial(row.configuration, row.params, self._rows(row.configuration), self.space)
            self.meter.best_loss = min(self.meter.best_loss, trial.loss if math.isfinite(trial.loss) else math.inf)
            self.trackers.end(trial)

    def _keys(self, configuration: int, folds: range | None = None) -> list[Key]:
        every = range(len(self.folds)) if folds is None else folds
        return [Key(configuration, fold, seed) for fold in every for seed in range(self.seeds)]

    def _rows(self, *configurations: int) -> list[Row]:
        keys = (key for number in configurations for key in self._keys(number))
        return [self.ledger.rows[key] for key in keys if key in self.ledger.rows]


def open_ledger(
    study_dir: Path | str | None, identity: Callable[[], Mapping[str, Any]], *, allow_version: bool
) -> Ledger:
    """Return the ledger of a folder; for None one in memory, which may hold what no file can.

    Raises:
        InputError: if the folder is that of a study, or the ledger belongs to something else.
    """
    if study_dir is None:
        return Ledger(None, {})
    if (Path(study_dir) / STUDY).exists():
        raise InputError(f"study_dir must be a folder of its own, got {str(study_dir)!r}, which holds a study")
    return Ledger(Path(study_dir) / LEDGER, identity(), allow_version=allow_version)


def members_of(
    configure: Callable[[Mapping[str, Any]], tuple[Recipe, Mapping[str, Any]]], folds: Sequence[Fold], seed: int
) -> MemberOf:
    """Return what is trained where a configuration is a recipe and arguments of the model, the same in all folds.

    Configurations share the seeds of their folds, so that their differences are paired.
    """

    def member(key: Key, params: Mapping[str, Any]) -> Member:
        recipe, model_args = configure(params)
        return Member(recipe, folds[key.fold], derive(seed, "seed", key.seed), model_args)

    return member


def make_row(key: Key, params: Mapping[str, Any], run: Result, fold: Fold, seconds: float) -> Row:
    """Return what the ledger keeps of a run; one that lost a race has no losses."""
    nothing = np.full(len(fold.score), np.nan)
    return Row(
        **key._asdict(),
        params=dict(params),
        status=run.status,
        reason=run.reason,
        best_epoch=run.best_epoch,
        best_step=run.best_step,
        num_epochs=len(run.history),
        seconds=round(seconds, 4),
        train_loss=run.history.column("train.loss"),
        stop_loss=stop_curve(run.history) if run.history[-1].valid else [],
        losses=nothing.astype(np.float32) if run.held_out is None else run.held_out.losses,
        scores=nothing if run.held_out is None else run.held_out.scores,
        outputs=np.empty((len(nothing), 0)) if run.held_out is None else run.held_out.outputs,
    )


def never_trained(key: Key, params: Mapping[str, Any], fold: Fold) -> Row:
    """Return the row of a fit that was not begun, as its configuration had lost in the folds before."""
    nothing = np.full(len(fold.score), np.nan)
    return Row(
        **key._asdict(),
        params=dict(params),
        status="dropped",
        reason=f"lost a race before fold {key.fold}",
        best_epoch=0,
        best_step=0,
        num_epochs=0,
        seconds=0.0,
        train_loss=[],
        stop_loss=[],
        losses=nothing.astype(np.float32),
        scores=nothing,
        outputs=np.empty((len(nothing), 0)),
    )


def stop_curve(history: History) -> list[float]:
    """Return the stop split's loss after each epoch; NaN for one whose weights or losses are not finite."""
    return [record.valid["loss"] if record.valid and record.is_finite() else math.nan for record in history]
