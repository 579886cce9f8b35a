"""A process that does not outlive the one that started it, with all that it starts itself."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from meden._checks import InputError

TICK = 4
"""Milliseconds between two looks whether it has ended."""
CHUNK = 1 << 16
GUARD = 'read group && { read done || kill -s KILL -- "-$group"; }'
"""Ends a group of processes when the process that wrote its number closes the pipe without a second line."""


class Child:
    """A command that runs in the body of a ``with``, in a group of processes that is ended with it.

    Another process, which waits at a pipe, ends the group if this one is killed: whatever ends a process closes its
    pipes. What leaves the group (``setsid``, a container) is not reached.

    Args:
        words: program and arguments.
        cwd: folder to run in.
        environment: variables.
        said: named pipe to make: what it prints goes in, and what others write there; see :meth:`lines`.
        log: file that its standard error is added to.

    Raises:
        InputError: on entering, if the program cannot be started.
    """

    def __init__(
        self, words: Sequence[str], *, cwd: Path, environment: Mapping[str, str], said: Path, log: Path
    ) -> None:
        self._words, self._cwd, self._environment = words, cwd, environment
        self._said, self._log = said, log

    def __enter__(self) -> Self:
        self._said.unlink(missing_ok=True)
        os.mkfifo(self._said)
        self._reader = os.open(self._said, os.O_RDONLY | os.O_NONBLOCK)
        self._writer = os.open(self._said, os.O_WRONLY)  # kept, so that the pipe has no end of its own
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True, "bufsize": 0}
        self._guard = subprocess.Popen(["/bin/sh", "-c", GUARD], stdin=subprocess.PIPE, **quiet)  # type: ignore[call-overload]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            with open(self._log, "ab") as log:
                self._process = subprocess.Popen(
                    self._words,
                    cwd=self._cwd,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=self._writer,
                    stderr=log,
                    start_new_session=True,
                )
            self._tell_guard(f"{self._process.pid}\n")
        except BaseException as error:
            self._end()
            if isinstance(error, OSError):
                told = f"{error.strerror}: {error.filename!r}" if error.filename else error.strerror
                raise InputError(f"command cannot be started: {told}") from None
            raise
        return self

    def lines(self) -> Iterator[str]:
        """Yield what is said, until the process has ended; without the ends of the lines."""
        assert self._process is not None
        ready = select.poll()
        ready.register(self._reader, select.POLLIN)
        parts: list[bytes] = []
        while True:
            ended = self._process.poll() is not None  # what it said before is there then
            if ended:
                self._kill()
            if not ready.poll(0 if ended else TICK):
                if ended:
                    break
                continue
            first, *rest = os.read(self._reader, CHUNK).split(b"\n")
            parts.append(first)
            for part in rest:
                yield _text(parts)
                parts = [part]
        if any(parts):
            yield _text(parts)

    @property
    def status(self) -> int:
        """Exit status, once it has ended; below 0 the number of the signal that ended it."""
        assert self._process is not None and self._process.returncode is not None
        return self._process.returncode

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._kill()
            self._process.wait()
        self._tell_guard("done\n")
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()
        os.close(self._reader)
        os.close(self._writer)
        self._said.unlink(missing_ok=True)

    def _kill(self) -> None:
        """End what is left of the group."""
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):  # all have ended
            os.killpg(self._process.pid, signal.SIGKILL)

    def _tell_guard(self, line: str) -> None:
        assert self._guard.stdin is not None
        with suppress(BrokenPipeError):  # somebody ended it
            self._guard.stdin.write(line.encode())


def _text(parts: Sequence[bytes]) -> str:
    return b"".join(parts).decode(errors="replace").rstrip("\r")
