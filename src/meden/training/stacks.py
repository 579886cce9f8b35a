"""What trains members: a stack of them together, or one alone. Each trains to an epoch, drops members, and goes on."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from meden.data.targets import Task
from meden.deadline import UNHURRIED, Pace
from meden.history import History, Record
from meden.run import Run
from meden.training.many.batches import Entrant
from meden.training.many.population import Population, Programs
from meden.training.one import Training

OnDone = Callable[[int, Run], None]
OnEpoch = Callable[[int, Record], None]
"""Called with a member's number and its newest record."""
OnNewest = Callable[[int, nn.Module], None]
"""Called with the number of a member that ends and its model, in the newest state, before the one to keep is put in."""
Judge = Callable[[int, Mapping[int, History]], Collection[int]]
"""Called with an epoch and the records so far by the members' numbers; returns the numbers to drop."""
MERGING_PAYS = 128
"""Steps ahead for which one stack in the place of two repays its trace; seconds are not measured, so that results
do not depend on them."""


class Trainer(abc.ABC):
    """Some of the members, by number, and what trains them."""

    @property
    @abc.abstractmethod
    def seconds(self) -> float:
        """How long it has trained."""

    @abc.abstractmethod
    def run_until(self, epoch: float, pace: Pace) -> None:
        """Train until so many epochs are done; members that end are reported.

        Raises:
            TimeIsUp: if there was no time for one.
        """

    @abc.abstractmethod
    def drop(self, numbers: Collection[int]) -> None:
        """End the training of some members, which are reported as dropped; others of the trainer go on."""

    @abc.abstractmethod
    def histories(self) -> Mapping[int, History]:
        """Return the records of the members that are still training."""


class StackTrainer(Trainer):
    """Members of equal structure, trained together; in a race with those of other stacks, when they are few.

    Args:
        entrants: the members by number.
        x: inputs of all rows.
        y: their targets.
        task: what they are.
        pads: see :class:`meden.training.many.population.Population`.
        on_done: called when a member ends.
        on_epoch: called with each record.
        on_newest: called before a member's end.
        programs: of another stack of the same structure.
        most: members that it may have after it has taken over others; 0 never does.
    """

    def __init__(
        self,
        entrants: Mapping[int, Entrant],
        x: Tensor,
        y: Tensor,
        task: Task,
        *,
        pads: bool,
        on_done: OnDone,
        on_epoch: OnEpoch,
        on_newest: OnNewest | None,
        programs: Programs | None,
        most: int,
    ) -> None:
        self._most = most
        self.population = Population(
            entrants,
            x,
            y,
            task,
            pads=pads,
            on_run=on_done,
            on_epoch=on_epoch,
            on_newest=on_newest,
            programs=programs,
        )
        self.population.trace()

    @property
    def seconds(self) -> float:
        return self.population.seconds

    def run_until(self, epoch: float, pace: Pace) -> None:
        self.population.run_until(epoch, pace)

    def drop(self, numbers: Collection[int]) -> None:
        self.population.drop(numbers)

    def histories(self) -> Mapping[int, History]:
        return self.population.live_histories()

    def may_take_over(self, other: StackTrainer) -> bool:
        """Say whether the members of both may be one stack, and whether that pays."""
        one, two = self.population, other.population
        if one.programs is not two.programs or one.num_live + two.num_live > self._most:
            return False
        return min(one.steps_ahead, two.steps_ahead) >= MERGING_PAYS

    def take_over(self, other: StackTrainer) -> None:
        """Train the other's members, too, from here on."""
        self.population.take_over(other.population)


class SingleTrainer(Trainer):
    """One member, trained by itself; its model is made when training begins.

    Args:
        number: of the member.
        begin: makes the training.
        on_done: called when it ends.
    """

    def __init__(self, number: int, begin: Callable[[], Training], on_done: OnDone) -> None:
        self._number, self._begin, self._on_done = number, begin, on_done
        self._training: Training | None = None
        self._ended = False

    @property
    def seconds(self) -> float:
        return 0.0 if self._training is None else self._training.state.seconds

    def run_until(self, epoch: float, pace: Pace) -> None:
        if self._ended:
            return
        self._training = self._training or self._begin()
        self._report(self._training.run_until(epoch, pace))

    def drop(self, numbers: Collection[int]) -> None:
        if self._number in numbers and self._training is not None and not self._ended:
            self._report(self._training.drop())

    def histories(self) -> Mapping[int, History]:
        return {} if self._ended or self._training is None else {self._number: self._training.history}

    def _report(self, run: Run | None) -> None:
        if run is not None:
            self._ended, self._training = True, None
            self._on_done(self._number, run)


def drop_losers(epoch: int, trainers: Sequence[Trainer], ended: Mapping[int, History], judge: Judge) -> None:
    """Let a judge decide after an epoch who goes on; members that have ended, unless dropped, run along."""
    histories = dict(ended)
    for trainer in trainers:
        histories |= trainer.histories()
    losers = set(judge(epoch, dict(sorted(histories.items()))))
    for trainer in trainers:
        trainer.drop(losers)


def merged(trainers: Sequence[Trainer]) -> list[Trainer]:
    """Return those that still train, of which neighbouring stacks of one structure have become one, as far as they may.

    That depends on how many members of each still train and for how long, not on who trains what, or on time.
    """
    found: list[Trainer] = []
    for trainer in trainers:
        last = found[-1] if found else None
        if not trainer.histories():
            continue
        if isinstance(last, StackTrainer) and isinstance(trainer, StackTrainer) and last.may_take_over(trainer):
            last.take_over(trainer)
        else:
            found.append(trainer)
    return found


def num_threads(device: torch.device) -> int:
    """Return how many threads train: on the CPU as many as torch would use for one operation."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def run_all(
    trainers: Sequence[Trainer],
    device: torch.device,
    until: float = math.inf,
    pace: Pace = UNHURRIED,
    waves: float = 1.0,
) -> None:
    """Train trainers until an epoch, in threads of one core each; after an error no other trainer is begun.

    Small operations gain little from two cores, and lose much where other processes want one of them.

    Args:
        trainers: what is trained now.
        device: where.
        until: the epoch.
        pace: of all that is still to be trained, together.
        waves: how many waves like these trainers that is, one after the other.
    """
    before, threads = torch.get_num_threads(), num_threads(device)
    rounds = waves * math.ceil(len(trainers) / threads)
    own = [pace.each(rounds, trainer.seconds) for trainer in trainers]
    pool = ThreadPoolExecutor(threads, initializer=_settle)
    try:
        for done in [pool.submit(t.run_until, until, p) for t, p in zip(trainers, own, strict=True)]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _settle() -> None:
    """Make a thread use one core, and take numbers below all precision for 0: they are a hundred times as slow.

    Moments of weights whose inputs are mostly 0 decay into them.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
