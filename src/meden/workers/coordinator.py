"""Where workers report: runs that ended, epochs done, rungs reached. It sits in the process that writes the ledger.

Workers in other processes, or on other machines, reach it over a socket whose key only they are given.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from types import TracebackType
from typing import Any, NamedTuple

from safetensors.torch import save

from meden import checkpoint as files
from meden.history import History
from meden.progress import Status
from meden.run import HeldOut, Run, SeenLosses
from meden.training.stacks import Judge

QUEUE = 128
"""Connections that may wait to be accepted."""
LOCAL = None if hasattr(socket, "AF_UNIX") else ("localhost", 0)
"""Where a server for workers on this machine listens: at a Unix socket, or at a port where there are none."""


class Result(NamedTuple):
    """What is reported of a run: all but its model, of which the tensors come along if asked for."""

    status: Status
    reason: str
    best_epoch: int
    best_step: int
    history: History
    held_out: HeldOut | None
    epochs: int
    """Length of its schedule, which is shorter than its recipe's where the time was."""
    newest: HeldOut | None = None
    seen: SeenLosses | None = None
    weights: bytes | None = None
    """The model's state dict, as safetensors writes it: such bytes reach any machine."""
    trace: str = ""
    """Where an error of somebody's own function came from."""

    @classmethod
    def of(cls, run: Run, *, weights: bool = False) -> Result:
        """Return what is reported of a run, with or without the model's tensors."""
        kept = save(files.state_of(run.model)) if weights else None
        found = run.status, run.reason, run.best_epoch, run.best_step, run.history, run.held_out
        return cls(*found, run.recipe.epochs, run.newest, run.seen, kept)


class Epoch(NamedTuple):
    """What is reported of an epoch: little, as there are many."""

    number: int
    """Of the member."""
    epoch: int
    """Epochs it has done."""
    train_loss: float
    stop_loss: float
    """NaN where there is no stop split."""


OnEnd = Callable[[int, Result], None]
OnEpochs = Callable[[Sequence[Epoch]], None]


class Stopped(Exception):
    """The search has ended, and with it what a worker was doing."""


class Coordinator:
    """Takes what workers report, and has them wait for each other at rungs.

    A worker that takes over from one that died reports again what is known, and gets the same answers.

    Args:
        num_workers: workers that report.
        judge: called as by :func:`meden.fit_many`, once all have reached a rung.
        on_end: called with a member's number and what came of it, once for each.
        on_epochs: called with the epochs that were done; None if they are not wanted.
    """

    def __init__(self, num_workers: int, judge: Judge | None, on_end: OnEnd, on_epochs: OnEpochs | None) -> None:
        self._num_workers, self._judge, self._on_end, self._on_epochs = num_workers, judge, on_end, on_epochs
        self._ended: set[int] = set()
        self._taken: dict[int, int] = {}
        """Assignments by the place of a stack that is trained for them."""
        self._reports: dict[int, dict[int, Mapping[int, History]]] = {}
        self._verdicts: dict[int, list[int]] = {}
        self._condition = threading.Condition()
        self._closed = False
        self.error: BaseException | None = None
        """What the search raised when it was notified."""
        self.missing: float | None = None
        """Seconds that a training lacked to its first epoch when the time was up; None if all had one."""

    def left(self, stacks: Sequence[Sequence[int]]) -> list[Sequence[int]]:
        """Return the stacks that have members whose end was not reported."""
        with self._condition:
            return [stack for stack in stacks if not self._ended.issuperset(stack)]

    def next(self, assignment: int, stacks: Sequence[Sequence[int]]) -> Sequence[int] | None:
        """Return a stack that nobody else trains, of members whose end was not reported; None if none is left.

        A worker that takes over an assignment goes on with the stack that was being trained.
        """
        with self._condition:
            for place, stack in enumerate(stacks):
                if not self._ended.issuperset(stack) and self._taken.setdefault(place, assignment) == assignment:
                    return stack
            return None

    def ended(self, number: int, result: Result) -> None:
        """Report the end of a member's run."""
        with self._condition:
            if number not in self._ended:
                self._notify(self._on_end, number, result)
                self._ended.add(number)

    def epochs(self, done: Sequence[Epoch]) -> None:
        """Report epochs that were done."""
        with self._condition:
            if self._on_epochs is not None:
                self._notify(self._on_epochs, done)

    def judge(self, assignment: int, epoch: int, histories: Mapping[int, History]) -> list[int]:
        """Report the histories of an assignment at a rung; returns all who are to be dropped when all have reported."""
        with self._condition:
            reports = self._reports.setdefault(epoch, {})
            reports[assignment] = histories
            if len(reports) == self._num_workers and epoch not in self._verdicts:
                everyone = {number: history for own in reports.values() for number, history in own.items()}
                self._verdicts[epoch] = list(self._notify(self._decide, epoch, dict(sorted(everyone.items()))))
                self._condition.notify_all()
            self._condition.wait_for(lambda: epoch in self._verdicts or self._closed)
            if epoch not in self._verdicts:
                raise Stopped
            return self._verdicts[epoch]

    def late(self, missing: float) -> None:
        """Report that the time was up before a training had an epoch, which would have taken so many seconds more."""
        with self._condition:
            self.missing = min(missing, self.missing or missing)

    def close(self) -> None:
        """Send away all who wait or come."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _decide(self, epoch: int, histories: Mapping[int, History]) -> Collection[int]:
        assert self._judge is not None
        return self._judge(epoch, histories)

    def _notify(self, listener: Callable[..., Any], *report: Any) -> Any:
        if self._closed:
            raise Stopped
        try:
            return listener(*report)
        except BaseException as error:
            self.error = error
            self.close()
            raise Stopped from error


class Server:
    """A coordinator that others can reach, in a ``with`` statement.

    Args:
        coordinator: who answers.
        host: name or number of this machine, for workers on others; None is for workers on this one.
    """

    def __init__(self, coordinator: Coordinator, host: str | None = None) -> None:
        self._coordinator, self._key = coordinator, secrets.token_bytes(32)
        self._listener = Listener(LOCAL if host is None else (host, 0), backlog=QUEUE, authkey=self._key)
        self._open = True

    def __enter__(self) -> Server:
        threading.Thread(target=self._receive, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self._coordinator.close()
        address = self._listener.address
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        with suppress(OSError), socket.socket(family) as wake:
            wake.connect(address)  # wakes the thread that listens; it may be gone, so that no answer is waited for
        self._listener.close()

    @property
    def address(self) -> Address:
        """What a worker needs to report here."""
        return Address(self._listener.address, self._key)

    def _receive(self) -> None:
        while self._open:
            with suppress(Exception):  # a client without the key, or one that died while connecting
                client = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: Connection) -> None:
        with client, suppress(EOFError, OSError):  # it died, or has nothing more to say
            while True:
                name, report = client.recv()
                try:
                    client.send((True, getattr(self._coordinator, name)(*report)))
                except Stopped:
                    client.send((False, None))


class Address(NamedTuple):
    """Lets a worker report at a coordinator elsewhere."""

    address: Any
    key: bytes

    def connect(self) -> Connection:
        """Return a connection to the coordinator."""
        return Client(self.address, authkey=self.key)


class RemoteCoordinator:
    """What a worker sees of a coordinator in another process; any of its threads may report."""

    def __init__(self, address: Address) -> None:
        self._connection, self._lock = address.connect(), threading.Lock()

    def left(self, stacks: Sequence[Sequence[int]]) -> list[Sequence[int]]:
        """See :meth:`Coordinator.left`."""
        return self._ask("left", stacks)  # type: ignore[no-any-return]

    def next(self, assignment: int, stacks: Sequence[Sequence[int]]) -> Sequence[int] | None:
        """See :meth:`Coordinator.next`."""
        return self._ask("next", assignment, stacks)  # type: ignore[no-any-return]

    def ended(self, number: int, result: Result) -> None:
        """See :meth:`Coordinator.ended`."""
        self._ask("ended", number, result)

    def epochs(self, done: Sequence[Epoch]) -> None:
        """See :meth:`Coordinator.epochs`."""
        self._ask("epochs", done)

    def late(self, missing: float) -> None:
        """See :meth:`Coordinator.late`."""
        self._ask("late", missing)

    def judge(self, assignment: int, epoch: int, histories: Mapping[int, History]) -> list[int]:
        """See :meth:`Coordinator.judge`."""
        return self._ask("judge", assignment, epoch, histories)  # type: ignore[no-any-return]

    def _ask(self, name: str, *report: Any) -> Any:
        with self._lock:
            self._connection.send((name, report))
            goes_on, answer = self._connection.recv()
        if not goes_on:
            raise Stopped
        return answer
