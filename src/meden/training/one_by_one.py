"""Train members whose rows are read as they are needed: one after the other, since rows that pass cannot be stacked."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Sequence
from typing import Any

from meden._checks import InputError
from meden.data import Pair, Part, Source
from meden.deadline import UNHURRIED, Pace
from meden.history import Record
from meden.member import Member, ModelMaker, check_member, known_arguments, model_origin, start_model
from meden.objective import task_of
from meden.run import Run
from meden.training.fit import prepare
from meden.training.one import Training
from meden.training.scoring import score, seen_losses
from meden.training.stacks import Judge, OnDone, OnEpoch, SingleTrainer, drop_losers


@dataclasses.dataclass
class OneByOne:
    """Members, the rows that they share, and their runs by number."""

    make_model: ModelMaker
    members: Sequence[Member]
    source: Source
    rungs: Sequence[int] = ()
    judge: Judge | None = None
    on_run: OnDone | None = None
    on_epoch: OnEpoch | None = None
    pace: Pace = UNHURRIED
    runs: dict[int, Run] = dataclasses.field(default_factory=dict)

    def run(self) -> None:
        """Train every member."""
        for member in self.members:
            check_member(self.make_model, len(self.source), member)
        numbers = range(len(self.members))
        trainers = [SingleTrainer(number, functools.partial(self._training, number), self._done) for number in numbers]
        pace = self.pace.each(len(trainers))
        for epoch in (*self.rungs, math.inf):
            for trainer in trainers:
                trainer.run_until(epoch, pace)
            if self.judge is not None and epoch < math.inf:
                ended = {number: run.history for number, run in self.runs.items() if run.status != "dropped"}
                drop_losers(int(epoch), trainers, ended, self.judge)

    def _training(self, number: int) -> Training:
        member, fold = self.members[number], self.members[number].fold
        return prepare(
            start_model(self.make_model, self._arguments(member), member, self._first_row(member)[0]),
            self.source if fold is None else Part(self.source, fold.fit),
            None if fold is None or len(fold.stop) == 0 else Part(self.source, fold.stop),
            member.recipe,
            seed=member.run_seed,
            on_epoch=functools.partial(self._report_epoch, number),
        )

    def _first_row(self, member: Member) -> Pair:
        """Return x (1, ...) and y (1, ...) of a row that the member fits."""
        return next(self.source.read([range(1) if member.fold is None else member.fold.fit[:1]]))

    def _arguments(self, member: Member) -> dict[str, Any]:
        """Return what a member's model is made with; classes are not counted, since that would read every row."""
        x, y = self._first_row(member)
        given = {"num_inputs": x[0].numel()} | ({"num_outputs": y[0].numel()} if y.is_floating_point() else {})
        arguments = known_arguments(self.make_model, given, member)
        wanted = inspect.signature(self.make_model).parameters.get("num_outputs")
        if wanted is not None and wanted.default is wanted.empty and "num_outputs" not in arguments:
            raise InputError("member model_args must hold num_outputs, the number of classes of a Dataset; got none")
        return arguments

    def _report_epoch(self, number: int, record: Record) -> None:
        if self.on_epoch is not None:
            self.on_epoch(number, record)

    def _done(self, number: int, run: Run) -> None:
        member = self.members[number]
        if member.fold is not None:
            task = task_of(self._first_row(member)[1])
            run = dataclasses.replace(run, held_out=score(run, Part(self.source, member.fold.score), task))
            if member.keep_losses:
                parts = member.fold.fit, member.fold.stop
                run = dataclasses.replace(run, seen=seen_losses(run, self.source, parts, task))
        self.runs[number] = dataclasses.replace(run, **model_origin(self.make_model, self._arguments(member)))
        if self.on_run is not None:
            self.on_run(number, self.runs[number])
