"""Trains by calling somebody's training function, a job at a time."""

from __future__ import annotations

import dataclasses
import math
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from meden._checks import InputError, one_line
from meden._randomness import put_back, seed_all
from meden.data import Dataset
from meden.deadline import Pace, TimeIsUp, now
from meden.history import History, Record
from meden.member import Member
from meden.progress import LOST, Ending, completed, failed
from meden.run import HeldOut, Run
from meden.search.jobs.answers import held_out_of
from meden.search.jobs.fresh import fresh_weights
from meden.search.jobs.job import ERROR, Job
from meden.search.racing import Contest
from meden.study.ledger import FIRST, Key
from meden.workers.coordinator import Result
from meden.workers.fitter import Manner

TrainingFunction = Callable[[Job], Any]
"""Trains as a job says and returns what came of the rows it scores, see :class:`Job`."""
FOLDER = "jobs"
"""Of what jobs write, in that of a study."""
LARGEST_SEED = 2**32
"""Seeds are below: numpy takes no more."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class JobMember(Member):
    """What a job is made from: the recipe says how long, ``model_args`` are its parameters."""

    key: Key = FIRST
    contest: Contest | None = None

    def against(self, contest: Contest) -> JobMember:
        """Return the same in a race."""
        return dataclasses.replace(self, contest=contest)


@dataclasses.dataclass(frozen=True)
class Functions:
    """Calls a training function."""

    takes_turns: ClassVar[bool] = True
    train: TrainingFunction
    rows: Dataset
    """The study's, with their labels; they have no features."""
    folder: Path | None = None
    """Of the study; None keeps nothing."""
    metric: str = "loss"
    """What results must be told in."""
    seeds_all: bool = True
    """Whether the global generators are seeded around the function."""

    def plan(self, members: Sequence[Member], *, racing: bool = False) -> list[list[int]]:  # noqa: ARG002
        """Return each by itself."""
        return [[number] for number in range(len(members))]

    def fit(self, members: Sequence[Member], stacks: Iterable[Sequence[int]], how: Manner) -> None:
        """Call the function for each, see :meth:`meden.workers.fitter.Fitter.fit`."""
        assert not how.rungs and not how.keeps_weights
        for (number,) in stacks:
            member = members[number]
            assert isinstance(member, JobMember)
            if how.pace.deadline.passed():
                raise TimeIsUp(0.0)
            started = now()
            job = self._job(member, how.pace)
            if (on_epoch := how.on_epoch) is not None:
                job.on_epoch = lambda record, number=number: on_epoch(number, record)
            result = self._run(job, member)
            if job.is_late and member.key.configuration:
                raise TimeIsUp(now() - started)  # it was cut short, and would be compared with what was not
            how.on_end(number, result)
            job.close()

    def _job(self, member: JobMember, pace: Pace) -> Job:
        fold, key = member.fold, member.key
        assert fold is not None
        home = None
        if self.folder is not None:
            home = self.folder / FOLDER / f"configuration-{key.configuration}" / f"fold-{key.fold}-seed-{key.seed}"
        return Job(
            params=dict(member.model_args),
            fit=fold.fit,
            stop=fold.stop,
            score=fold.score,
            fold=key.fold,
            seed=member.run_seed % LARGEST_SEED,
            epochs=member.recipe.last_epoch,
            configuration=key.configuration,
            patience=member.recipe.early_stopping,
            home=home,
            num_rows=self.rows.num_rows,
            contest=member.contest,
            pace=pace,
            member_seed=member.seed,
        )

    def _run(self, job: Job, member: JobMember) -> Result:
        """Call the function, and return what came of it; an error of its own is an outcome."""
        try:
            with ExitStack() as around:
                if self.seeds_all:
                    around.enter_context(put_back())
                    around.enter_context(_surroundings())
                    seed_all(job.seed)
                around.enter_context(fresh_weights(lambda: job.is_scoring))
                returned = self.train(job)
            return self._result(job, returned, member)
        except (Exception, SystemExit) as error:
            trace = "".join(traceback.format_exception(error))
            if job.home is not None:
                (job.folder / ERROR).write_text(trace, encoding="utf-8")
            what = one_line(error) if isinstance(error, InputError) else f"{type(error).__name__}: {one_line(error)}"
            return _result(failed(what[:LONGEST]), job.history, member)._replace(trace=trace)

    def _result(self, job: Job, returned: Any, member: JobMember) -> Result:
        if isinstance(returned, Run) and returned.held_out is not None:
            return Result.of(returned)._replace(epochs=member.recipe.epochs)
        ending, history = job.ending, job.history if len(job.history) else NOTHING_REPORTED
        if ending is not None and ending.status in LOST:
            return _result(ending, history, member)
        if not len(job.history) and member.contest is not None:
            raise InputError("train must call job.report after each epoch in a race, but never did")
        told = held_out_of(returned, self.rows, job.score)
        if self.metric != "loss" and told.outputs.shape[1] == 0:
            raise InputError(f"train must return probabilities or predictions for metric {self.metric!r}, got losses")
        if not np.isfinite(told.losses).all():
            row = job.score[np.flatnonzero(~np.isfinite(told.losses))[0]]
            return _result(
                Ending("diverged", f"train must return finite losses, got none for row {row}"), history, member
            )
        best_epoch = job.best_epoch or len(history)
        made = _result(ending or completed(len(history)), history, member, best_epoch, told)
        return made._replace(epochs=len(history)) if job.is_late else made


@contextmanager
def _surroundings() -> Iterator[None]:
    """Leave what torch and the process go by as it was: a job must not depend on those before it."""
    dtype, gradients, folder = torch.get_default_dtype(), torch.is_grad_enabled(), Path.cwd()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        os.chdir(folder)


def _result(
    ending: Ending, history: History, member: JobMember, best_epoch: int = 0, told: HeldOut | None = None
) -> Result:
    return Result(*ending, best_epoch, 0, history, told, member.recipe.epochs)


LONGEST = 400
"""Letters of an error that are kept."""
NOTHING_REPORTED = History(
    (Record(epoch=1, step=0, train={}, lr=math.nan, num_zeros=None, weight_norm=None, seconds=0.0),)
)
"""What is recorded of a function that reported no epoch."""
