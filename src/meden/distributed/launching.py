"""Start one command as many processes on this machine, as torchrun does, and end them together."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed as dist

from meden._checks import InputError, check_count, one_line
from meden.distributed.world import check_gloo

GRACE = 6.0
"""Seconds that the others have to end by themselves once one has failed."""
LAUNCHED = "MEDEN_LAUNCHED"
"""Is in the environment of processes that were started here."""
_POLL = 0.1
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
_HOST = "127.0.0.1"


class Lost(RuntimeError):
    """A process ended with an error, or was killed.

    Args:
        rank: of the first that did.
        status: as :class:`subprocess.Popen` gives it, below zero for a signal.
    """

    def __init__(self, rank: int, status: int) -> None:
        what = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        super().__init__(f"the process of rank {rank} {what}; the others were stopped")
        self.rank, self.status = rank, status


def launch(command: Sequence[str], num_processes: int, *, port: int = 0) -> None:
    """Run a command as the processes of one training, until all have ended.

    SIGTERM is passed on to them, and so is the end of the terminal; Ctrl-C, which only this process sees, asks them to
    end by SIGTERM too, and kills them after a few seconds.

    Args:
        command: program and arguments, the same for all. Each finds RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and
            MASTER_PORT in its environment.
        num_processes: how many, 1 or more.
        port: where they find each other, on this machine; 0 is any that is free.

    Raises:
        InputError: if the port is in use, or torch cannot speak to other processes.
        Lost: if one fails; the others are ended within a few seconds.
    """
    check_count("num_processes", num_processes)
    store = _store(port)
    threads = str(max(1, (os.cpu_count() or 1) // num_processes))
    shared = {
        "WORLD_SIZE": str(num_processes),
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # this process keeps the store
        "TORCHELASTIC_RESTART_COUNT": "0",
        LAUNCHED: "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads),
    }
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(num_processes):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            env = {**os.environ, **shared, **own}
            processes.append(subprocess.Popen(command, env=env, start_new_session=True))  # Ctrl-C is this one's
        with _passing_on(processes) as asked:
            _wait(processes, asked)
    finally:
        _end(processes)
        del store


def _store(port: int) -> Any:
    check_gloo()
    check_count("port", port, low=0, high=65_535)
    try:
        return dist.TCPStore(_HOST, port, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    except (RuntimeError, ValueError) as error:
        raise InputError(f"port must be free, got {port}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return what a person reads of torch's line, which goes on with codes."""
    return "it is in use" if "EADDRINUSE" in str(error) else one_line(error)


def _wait(processes: Sequence[subprocess.Popen[bytes]], asked: Sequence[int]) -> None:
    """Wait until all have ended; those that were asked to and had not begun are no failure.

    Raises:
        Lost: as soon as one has failed.
    """
    while True:
        statuses = [process.poll() for process in processes]
        if asked and any(status == -signal.SIGTERM for status in statuses):
            return  # the others cannot begin without it
        if all(status == 0 for status in statuses):
            return
        failed = {rank: status for rank, status in enumerate(statuses) if status}
        if failed:
            raise _first(processes, failed)
        time.sleep(_POLL)


def _first(processes: Sequence[subprocess.Popen[bytes]], failed: Mapping[int, int]) -> Lost:
    """Return what to say of processes that failed at about the same time: one that was killed took the others along."""
    time.sleep(_POLL)
    now = {rank: process.poll() or 0 for rank, process in enumerate(processes)}
    killed = [rank for rank, status in now.items() if status < 0]
    rank = killed[0] if killed else min(failed)
    return Lost(rank, now[rank] if killed else failed[rank])


@contextmanager
def _passing_on(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Give the signals that came so far, which the processes are told of."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def pass_on(number: int, _frame: Any) -> None:
        asked.append(number)
        for process in processes:
            with suppress(ProcessLookupError):
                process.terminate()

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what still runs: asked first, then killed."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + GRACE
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))
    for process in processes:
        process.kill()
        process.wait()
