"""Who trains what: stacks of a plan, trained in this process, in several, or on a Ray cluster.

The plan decides who is trained with whom (:meth:`meden.workers.fitter.Fitter.plan`), and workers only divide it among
them: results do not depend on how many there are, nor on which of them trained what.
"""

from __future__ import annotations

import functools
import math
import os
import threading
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from pydantic import field_validator, model_validator

from meden._checks import InputError, check_choice, check_count
from meden._settings import Settings
from meden.deadline import UNHURRIED, Pace, TimeIsUp
from meden.history import Record
from meden.member import Member
from meden.training.stacks import Judge
from meden.workers.coordinator import Address, Coordinator, Epoch, OnEnd, OnEpochs, RemoteCoordinator, Server
from meden.workers.fitter import Fitter, Manner
from meden.workers.ray import cluster_host, work_on_cluster

Backend = Literal["local", "ray"]
BACKENDS = ("local", "ray")
REPORT_EVERY = 0.1
"""Seconds between two reports of epochs."""


class Workers(Settings):
    """The processes that train; the result depends neither on their number nor on who trains what.

    Args:
        jobs: processes, 1 or more; the cores are divided among them, of which each has one at least. 1 on ``"local"``
            is this process, which trains in as many threads as torch uses.
        backend: ``"local"``, or ``"ray"`` for a Ray cluster (extra ``ray``), where a job is a task of one core.
        address: of the cluster; None is the one that this process knows, or a new one on this machine.
    """

    jobs: int = 1
    backend: Backend = "local"
    address: str | None = None

    @field_validator("jobs", mode="before")
    @classmethod
    def _jobs(cls, value: Any) -> Any:
        check_count("jobs", value)
        return value

    @field_validator("backend", mode="before")
    @classmethod
    def _backend(cls, value: Any) -> Any:
        check_choice("backend", value, BACKENDS)
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.address is not None and self.backend != "ray":
            raise InputError(
                f"address must be given only with backend 'ray', got {self.address!r} with backend {self.backend!r}"
            )
        return self

    @property
    def num_processes(self) -> int:
        """Processes that train: on this machine no more than it has cores."""
        return self.jobs if self.backend == "ray" else min(self.jobs, num_cores())

    @property
    def host(self) -> str | None:
        """This machine's name among theirs; None if they are all here."""
        return cluster_host(self.address, self.jobs) if self.backend == "ray" else None

    def reach(self) -> None:
        """Make sure that they can be reached; warns if they are fewer than was asked for.

        Raises:
            InputError: if Ray is not installed, or there is no such cluster.
        """
        _ = self.host
        if self.num_processes < self.jobs:
            warnings.warn(
                f"jobs is limited to {self.num_processes}, the number of cores of this machine, got {self.jobs}",
                stacklevel=3,
            )


def num_cores() -> int:
    """Return how many cores this process may use."""
    from joblib import cpu_count

    return int(cpu_count())


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What one worker trains."""

    number: int
    fitter: Fitter
    members: Sequence[Member]
    stacks: Sequence[Sequence[int]]
    rungs: Sequence[int]
    reports_epochs: bool
    num_threads: int
    keeps_weights: bool = False
    pace: Pace = UNHURRIED
    """Of its training runs together."""
    parent: int | None = None
    """Process without which the work is of no use; None if it may be on another machine."""


def train(
    workers: Workers,
    fitter: Fitter,
    members: Sequence[Member],
    stacks: Sequence[Sequence[int]],
    *,
    on_end: OnEnd,
    on_epochs: OnEpochs | None = None,
    rungs: Sequence[int] = (),
    judge: Judge | None = None,
    keeps_weights: bool = False,
    pace: Pace = UNHURRIED,
) -> None:
    """Train some stacks of a plan; what workers report is passed on in this process, one thing at a time.

    Args:
        workers: who trains.
        fitter: what trains.
        members: all of the plan.
        stacks: numbers of members that are trained together.
        on_end: called with a member's number and what came of it.
        on_epochs: called now and then with the epochs that were done since.
        rungs: epochs after which all wait for each other.
        judge: says who is dropped there.
        keeps_weights: report the models' tensors too.
        pace: of all training runs together.

    Raises:
        TimeIsUp: if there was no time for the first epoch of some; those that have ended were reported.
        RuntimeError: if a worker on this machine was killed.
    """
    num = workers.num_processes
    parts = [stacks] * min(num, len(stacks)) if fitter.takes_turns else divide(stacks, num)
    threads = max(1, torch.get_num_threads() // len(parts)) if workers.backend == "local" else 1
    settings = {"fitter": fitter, "members": members, "rungs": rungs}
    settings |= {"num_threads": threads, "reports_epochs": on_epochs is not None}
    settings |= {"keeps_weights": keeps_weights, "pace": pace}
    settings |= {"parent": os.getpid() if workers.backend == "local" else None}
    assignments = [Assignment(number=number, stacks=part, **settings) for number, part in enumerate(parts)]  # type: ignore[arg-type]
    coordinator = Coordinator(len(assignments), judge, on_end, on_epochs)
    try:
        _run(workers, assignments, coordinator)
    except Exception:
        if coordinator.error is not None:
            raise coordinator.error from None
        raise
    if coordinator.missing is not None:
        raise TimeIsUp(coordinator.missing)


def divide(stacks: Sequence[Sequence[int]], num: int) -> list[list[Sequence[int]]]:
    """Divide stacks into at most so many parts of about as many members each; neighbours share what was traced.

    Example:
        >>> divide([[0, 1], [2], [3], [4, 5]], 2)
        [[[0, 1], [2]], [[3], [4, 5]]]
    """
    parts: list[list[Sequence[int]]] = [[] for _ in range(num)]
    total, before = sum(map(len, stacks)), 0
    for stack in stacks:
        parts[math.floor((before + len(stack) / 2) * num / total)].append(stack)
        before += len(stack)
    return [part for part in parts if part]


def work(assignment: Assignment, coordinator: Coordinator | RemoteCoordinator) -> None:
    """Train an assignment, and report at the coordinator."""
    reporter = _EpochReporter(coordinator)

    def judge(epoch: int, histories: object) -> list[int]:
        return coordinator.judge(assignment.number, epoch, histories)  # type: ignore[arg-type]

    how = Manner(
        on_end=coordinator.ended,
        on_epoch=reporter if assignment.reports_epochs else None,
        rungs=assignment.rungs,
        judge=judge if assignment.rungs else None,
        keeps_weights=assignment.keeps_weights,
        pace=assignment.pace,
    )
    try:
        assignment.fitter.fit(assignment.members, _stacks(assignment, coordinator), how)
    except TimeIsUp as late:
        coordinator.late(late.missing)


def _stacks(assignment: Assignment, coordinator: Coordinator | RemoteCoordinator) -> Iterable[Sequence[int]]:
    """Return what a worker trains: its share of the plan, or one stack after the other as workers become free."""
    if assignment.fitter.takes_turns:
        return iter(lambda: coordinator.next(assignment.number, assignment.stacks), None)
    return assignment.stacks if assignment.rungs else coordinator.left(assignment.stacks)


def work_elsewhere(assignment: Assignment, address: Address) -> None:
    """Train an assignment in a process of its own."""
    torch.set_num_threads(assignment.num_threads)
    if assignment.parent is not None:
        _end_with(assignment.parent)
    work(assignment, RemoteCoordinator(address))


@functools.cache
def _end_with(parent: int) -> None:
    """Have this process end when its parent is killed: what it trains would be lost."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(workers: Workers, assignments: Sequence[Assignment], coordinator: Coordinator) -> None:
    if workers.backend == "ray":
        with Server(coordinator, workers.host) as server:
            work_on_cluster(work_elsewhere, assignments, server.address)
    elif len(assignments) == 1:
        work(assignments[0], coordinator)
    else:
        with Server(coordinator) as server:
            _work_in_processes(assignments, server.address)


def _work_in_processes(assignments: Sequence[Assignment], address: Address) -> None:
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import BrokenProcessPool

    try:
        with parallel_config(backend="loky", inner_max_num_threads=assignments[0].num_threads):
            Parallel(n_jobs=len(assignments), mmap_mode="c")(
                delayed(work_elsewhere)(assignment, address) for assignment in assignments
            )
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a worker was killed, most often for lack of memory: finished work is safe; continue with the same "
            "folder and fewer jobs"
        ) from error


class _EpochReporter:
    """Collects epochs, and reports them now and then, the first at once; what ends meanwhile says all by itself."""

    def __init__(self, coordinator: Coordinator | RemoteCoordinator) -> None:
        self._coordinator, self._done, self._reported_at = coordinator, list[Epoch](), -math.inf

    def __call__(self, number: int, record: Record) -> None:
        stop_loss = math.nan if record.valid is None else record.valid["loss"]
        self._done.append(Epoch(number, record.epoch, record.train.get("loss", math.nan), stop_loss))
        if time.monotonic() - self._reported_at > REPORT_EVERY:
            done, self._done, self._reported_at = self._done, [], time.monotonic()
            self._coordinator.epochs(done)
