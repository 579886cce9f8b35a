"""The engine of every search: ask, train what the ledger does not hold, tell."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from meden._checks import InputError
from meden.data import Fold
from meden.deadline import NEVER, UNHURRIED, Deadline, Pace, TimeIsUp, now
from meden.history import History
from meden.member import Member
from meden.noise import derive
from meden.progress import LOST
from meden.recipe import Recipe
from meden.search import racing
from meden.search.budget import UNLIMITED, Budget
from meden.search.jobs import JobMember
from meden.search.progress import TELL_EVERY, Meter, OnProgress
from meden.search.tracker import Losses, Trackers
from meden.space.names import Space
from meden.study.folder import STUDY
from meden.study.ledger import LEDGER, Key, Ledger, Row, halved
from meden.study.results import Trial, make_trial
from meden.workers.coordinator import Epoch, Result
from meden.workers.fitter import Fitter
from meden.workers.workers import Workers, train

FEWEST_STACKED = 4
"""Configurations for which a stack is recorded where there is a time limit: for fewer there is hardly time."""
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

    fitter: Fitter
    """What trains."""
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
    on_result: Callable[[Key, Result], Result] | None = None
    """Called with each run before the ledger has its row, of what it returns; what it raises ends the search."""
    on_weights: Callable[[Key, bytes, History], None] | None = None
    """Called with the weights and history of each run that lost no race, before the ledger has its row; None leaves
    weights where they are."""
    trials: list[Trial] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.last_row_at = time.perf_counter()
        self.last: Sequence[Row] = ()
        """Rows of the configurations that were tried last."""
        self.meter = Meter(self.proposals.budget, len(self._keys(0)), self.budget.longest)
        self.told_at = -math.inf

    def run(self) -> list[Trial]:
        """Ask, train what the ledger does not hold, tell; until the budget is spent.

        Returns:
            The configurations whose fits have all ended. If the time was too short for all folds of the first, there
            are none, and the ledger has the folds that there are.

        Raises:
            TimeTooShort: if there is not one fit.
        """
        try:
            self._tell()
            self.trackers.start()
            self._run()
            self._tell(ended=True)
        finally:
            self.trackers.close()
        return self.trials

    def _run(self) -> None:
        while batch := self.proposals.ask(self.budget.at_once):
            numbered = dict(enumerate(batch, start=len(self.trials)))
            while left := {n: params for n, params in numbered.items() if n >= len(self.trials)}:
                part = self._affordable(left)
                if not part or not self._try(part):
                    return
            self.proposals.tell([self.trials[number].loss for number in numbered])

    def _affordable(self, batch: Batch) -> Batch:
        """Return the first configurations of a batch, as many as the budget has left; what is done costs no time."""
        if self.budget.is_timed:
            done = dict(itertools.takewhile(lambda item: self._is_whole(item[0]), batch.items()))
            if done:
                return done
        most = self.budget.allows(self._rows(*range(len(self.trials))), self.last)
        return dict(itertools.islice(batch.items(), most))

    def _try(self, batch: Batch) -> bool:
        """Train configurations; returns whether there was time for all of them."""
        in_time = True
        self._note(batch)
        try:
            if self.budget.is_timed and not self.trials:
                self._train_first(batch)
            elif self.rungs is not None and self.fitter.takes_turns:
                self._race_in_turn(batch, self.rungs)
            elif self.rungs is not None:
                self._race(batch, self.rungs)
            else:
                alone = self.budget.is_timed and len(batch) < FEWEST_STACKED
                self._train(batch, pace=self.budget.pace(self.last), alone=alone)
        except TimeIsUp as late:
            in_time = False
            if not self._rows(*range(len(self.trials)), *batch):
                raise self.budget.too_short(late.missing) from None
        whole = {n: params for n, params in batch.items() if self._is_whole(n)}
        self.trials += [make_trial(n, params, self._rows(n), self.space) for n, params in whole.items()]
        self.last = self._rows(*whole)
        return in_time and len(whole) == len(batch)

    def _is_whole(self, configuration: int) -> bool:
        return len(self._rows(configuration)) == len(self._keys(configuration))

    def _train_first(self, batch: Batch) -> None:
        """Train the first configuration under a time limit: in one fold, which shows how long it takes, then in others.

        As many follow at once as there are cores for. None is begun that would take longer than there is time for.
        """
        pace, at_once = self.budget.first_pace(), max(torch.get_num_threads(), self.workers.num_processes)
        starts = [0, *range(1, len(self.folds), at_once), len(self.folds)]
        took = 0.0
        if pace.deadline.passed():
            raise TimeIsUp((self.budget.seconds or 0.0) / 2)
        for number, (start, stop) in enumerate(itertools.pairwise(starts)):
            if pace.deadline.seconds_left() < took:
                raise TimeIsUp(took)
            began, goal = now(), pace.goal.seconds_left() / (len(starts) - 1 - number)
            own = dataclasses.replace(pace, goal=NEVER if start else Deadline.after(goal))  # the first says how long
            self._train(batch, range(start, stop), pace=own, alone=True)
            took = now() - began

    def _race(self, batch: Batch, rungs: Sequence[int]) -> None:
        """Train a batch on some of the folds, and only those that may still win on the others."""
        first, *others = racing.rounds(len(self.folds))
        pace = self.budget.pace(self.last)
        self._train(batch, first, rungs, pace)
        for folds in others:
            staying = self._staying(batch, first, racing.THE_END)
            self._give_up({n: params for n, params in batch.items() if n not in staying}, folds)
            self._train({n: params for n, params in batch.items() if n in staying}, folds, rungs, pace)

    def _race_in_turn(self, batch: Batch, rungs: Sequence[int]) -> None:
        """Train fits that cannot wait for each other: a few configurations at a time, fold after fold.

        Each goes by what those of earlier waves had reached at its rungs. Which these are depends on its number alone.
        """
        for _, numbered in itertools.groupby(batch, racing.start_of_wave):
            wave = {number: batch[number] for number in numbered}
            for fold in range(len(self.folds)):
                here = range(fold, fold + 1)
                lost = [number for number in wave if any(row.status in LOST for row in self._rows(number))]
                self._give_up({number: wave[number] for number in lost}, here)
                staying = {number: params for number, params in wave.items() if number not in lost}
                self._train(staying, here, rungs, self.budget.pace(self.last))

    def _contest(self, key: Key, params: Mapping[str, Any], rungs: Sequence[int]) -> racing.Contest:
        """Return what a fit is up against, of the waves before its own, and what it had in the folds before."""
        earlier = [n for n in range(racing.start_of_wave(key.configuration)) if self._is_whole(n)]
        every, before = self._keys(0), self._keys(key.configuration, range(key.fold))
        at = {
            rung: np.array(
                [[self._loss_at(rung, k._replace(configuration=number)) for k in every] for number in earlier]
            )
            for rung in rungs
        }
        own = {rung: np.array([self._loss_at(rung, k) for k in before]) for rung in rungs}
        place = key.fold * self.seeds + key.seed
        return racing.Contest(at, own, (*range(len(before)), place), self._keeps_best(key, params))

    def _loss_at(self, epoch: int, key: Key) -> float:
        """Return what a fit of the ledger stood at after an epoch; NaN if it was given up before."""
        row = self.ledger.rows[key]
        if row.status == "dropped" and row.num_epochs < epoch:
            return math.nan
        if row.status in LOST and row.status != "dropped":
            return math.inf
        return racing.loss_at(row.stop_loss, epoch, keeps_best=self._keeps_best(key, row.params))

    def _keeps_best(self, key: Key, params: Mapping[str, Any]) -> bool:
        return self.member(key, params).recipe.early_stopping is not None

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
        keeps_best = self._keeps_best(keys[0], params)
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

    def _train(
        self,
        batch: Batch,
        folds: range | None = None,
        rungs: Sequence[int] = (),
        pace: Pace = UNHURRIED,
        alone: bool = False,
    ) -> None:
        """Train what the ledger lacks, and the rest of its stacks with it, which decides how numbers are rounded."""
        keys = [key for number in batch for key in self._keys(number, folds)]
        missing = {number for number, key in enumerate(keys) if key not in self.ledger.rows}
        if not missing:
            return
        members = [self._member(key, batch[key.configuration]) for key in keys]
        if alone:
            stacks = [[number] for number in sorted(missing)]
        else:
            plan = self.fitter.plan(members, racing=bool(rungs))
            stacks = [stack for stack in plan if not missing.isdisjoint(stack)]
        if self.fitter.takes_turns and rungs:
            for number in missing:
                member, key = members[number], keys[number]
                assert isinstance(member, JobMember)
                members[number] = member.against(self._contest(key, batch[key.configuration], rungs))
            rungs = ()

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
                if self.on_result is not None:
                    result = self.on_result(key, result)
                if self.on_weights is not None and result.status != "dropped":
                    assert result.weights is not None
                    self.on_weights(key, result.weights, result.history)
                params = batch[key.configuration]
                row = make_row(key, params, result, self.folds[key.fold], seconds)
                planned = self.member(key, params).recipe.epochs
                self._append(dataclasses.replace(row, epochs=result.epochs) if result.epochs < planned else row)

        def epochs(done: Sequence[Epoch]) -> None:
            self._epochs([(keys[epoch.number], epoch) for epoch in done])

        train(
            self.workers,
            self.fitter,
            members,
            stacks,
            on_end=record,
            on_epochs=epochs if self._is_followed else None,
            rungs=rungs,
            judge=judge if rungs else None,
            keeps_weights=self.on_weights is not None,
            pace=pace,
        )

    def _member(self, key: Key, params: Mapping[str, Any]) -> Member:
        """Return what is trained: for as long as the first configuration, if the time has shortened that."""
        member = self.member(key, params)
        epochs = max((row.epochs for row in self._rows(0) if row.epochs is not None), default=math.inf)
        if member.recipe.last_epoch <= epochs:
            return member
        return dataclasses.replace(member, recipe=member.recipe.shortened(int(epochs)))

    @property
    def _is_followed(self) -> bool:
        return self.on_progress is not None or bool(self.trackers)

    def _epochs(self, done: Sequence[tuple[Key, Epoch]]) -> None:
        for key, epoch in done:
            if key not in self.ledger.rows:
                self.meter.epoch(key, epoch.epoch, epoch.stop_loss)
                self.trackers.epoch(Losses(key, *epoch[1:]))
        self.trackers.tell()
        if time.perf_counter() > self.told_at + TELL_EVERY:
            self._tell()

    def _tell(self, *, ended: bool = False) -> None:
        if self.on_progress is not None:
            self.told_at = time.perf_counter()
            self.on_progress(self.meter.progress(self.budget.deadline.seconds_left(), ended=ended))

    def _note(self, batch: Batch) -> None:
        """Take note of a batch that is asked for, and of what the ledger holds of it."""
        for number, params in batch.items():
            keys = self._keys(number)
            self.meter.ask(number, keys, self._member(keys[0], params).recipe.last_epoch)
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
        raise InputError(
            f"study_dir must be a folder without another study, got {str(study_dir)!r}, which holds a study"
        )
    return Ledger(Path(study_dir) / LEDGER, identity(), allow_version=allow_version)


def members_of(
    configure: Callable[[Mapping[str, Any]], tuple[Recipe, Mapping[str, Any]]],
    folds: Sequence[Fold],
    seed: int,
    *,
    keep_losses: bool = False,
) -> MemberOf:
    """Return what is trained where a configuration is a recipe and arguments of the model, the same in all folds.

    Configurations share the seeds of their folds, so that their differences are paired.
    """

    def member(key: Key, params: Mapping[str, Any]) -> Member:
        recipe, model_args = configure(params)
        run_seed = derive(seed, "seed", key.seed)
        return Member(recipe, folds[key.fold], run_seed, model_args, keep_losses=keep_losses)

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
        stop_loss=stop_curve(run.history) if len(run.history) and run.history[-1].valid else [],
        losses=nothing.astype(np.float32) if run.held_out is None else run.held_out.losses,
        scores=nothing if run.held_out is None else run.held_out.scores,
        outputs=np.empty((len(nothing), 0)) if run.held_out is None else run.held_out.outputs,
        fit_losses=None if run.seen is None else halved(run.seen.fit),
        stop_losses=None if run.seen is None else halved(run.seen.stop),
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
