"""The files by which a search and a command that trains for it speak, as the command sees them.

The command line ``meden job`` reads and writes them; a Python program may do so itself. Neither torch nor numpy is
needed, so that a question is answered quickly.
"""

from __future__ import annotations

import json
import os
import select
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from meden._checks import InputError, check_choice, nearest

VARIABLE = "MEDEN_JOB"
"""Of the environment: path of :data:`TOLD`."""
TOLD, SAID, REPLIES, LOG = "job.json", "said.pipe", "replies.jsonl", "log.txt"
"""What a job is told, what it says, what is replied, and what it prints besides."""
ANSWER = "answer"
"""A copy of the file that it answers by, with that file's suffix."""
PARTS = ("fit", "stop", "score")
KINDS = ("losses", "logits", "probabilities", "predictions")
REFUSED = "refused"
"""Key of a message that something was asked that cannot be."""
WAIT = 2
"""Milliseconds between two looks for a reply."""


@dataclass(frozen=True)
class JobFiles:
    """The job that this process trains for, from the files that a :class:`meden.search.Command` wrote.

    Example:
        >>> def train():  # in a program that a search runs: python train.py
        ...     job = JobFiles.here()
        ...     fit, lr = job.rows("fit"), job.params["lr"]
        ...     for epoch in range(1, job.told["epochs"] + 1):
        ...         stop_loss = 1.0 / epoch
        ...         if job.report(epoch, stop_loss):
        ...             break
        ...     job.score("losses", [stop_loss for row in job.rows("score")])
    """

    folder: Path
    """Of the job."""
    told: Mapping[str, Any]
    """``params``, ``seed``, ``fold``, ``configuration``, ``epochs``, ``num_rows``, ``rows``, ``checkpoint_dir``."""

    @classmethod
    def here(cls) -> Self:
        """Return the job of this process.

        Raises:
            InputError: if no search has started it, or one that has ended.
        """
        place = os.environ.get(VARIABLE)
        if not place:
            raise InputError(
                f"meden job must be called by a command that a search runs, where {VARIABLE} is set: meden tune "
                "data.csv --target y --command 'bash train.sh {lr}' --search lr=1e-4:1:log"
            )
        try:
            return cls(Path(place).parent, json.loads(Path(place).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            raise InputError(f"{VARIABLE} must name the {TOLD} of a job that has not ended, got {place!r}") from None

    @property
    def params(self) -> Mapping[str, Any]:
        """Values of the space's names."""
        return self.told["params"]  # type: ignore[no-any-return]

    def param(self, name: str) -> Any:
        """Return one of :attr:`params`.

        Raises:
            InputError: if there is none of that name.
        """
        if name not in self.params:
            known = ", ".join(self.params)
            raise InputError(f"param must be one of {known}, got {name!r}{nearest(name, self.params)}")
        return self.params[name]

    def rows(self, part: str) -> list[int]:
        """Return the numbers of the rows ``fit``, ``stop`` or ``score``, from 0."""
        check_choice("part", part, PARTS)
        return [int(line) for line in Path(self.told["rows"][part]).read_text(encoding="ascii").split()]

    def lines(self, part: str, table: Path) -> Iterator[str]:
        """Yield the header of a table in text, and its rows ``fit``, ``stop`` or ``score`` as they are written.

        Raises:
            InputError: if the table has not as many rows as the study.
        """
        wanted, num_rows = self.rows(part), self.told["num_rows"]
        header, *records = _records(table, num_rows) or [""]
        if num_rows is not None and len(records) != num_rows:
            raise InputError(
                f"--of must be a table of a header and the study's {num_rows} rows, got {str(table)!r} of "
                f"{len(records)} rows"
            )
        yield header
        for row in wanted:
            yield records[row] if records[row].endswith("\n") else records[row] + "\n"

    def report(self, epoch: int, stop_loss: float | None = None, train_loss: float | None = None) -> bool:
        """Report an epoch that was done, see :meth:`meden.Job.report`; returns whether to stop now.

        Raises:
            InputError: if the search has ended.
        """
        losses = {"stop_loss": stop_loss, "train_loss": train_loss}
        message = {"epoch": epoch} | {name: loss for name, loss in losses.items() if loss is not None}
        with self._open() as pipe:
            _write(pipe, message)
            gone = select.poll()
            gone.register(pipe, 0)
            while (stop := self._reply(epoch)) is None:
                if gone.poll(WAIT):
                    raise InputError(GONE)
        return stop

    def score(self, kind: str, values: Sequence[Any] | Path | str) -> None:
        """Say what came of the rows ``score``, once, in the end.

        Args:
            kind: ``losses``, ``logits``, ``probabilities`` or ``predictions``, see :class:`meden.Job`.
            values: numbers, in nested lists where there are several a row; or a file of them, ``.npy``, ``.csv`` or
                ``.txt``.

        Raises:
            InputError: if it is none of these, or the search has ended.
        """
        check_choice("kind", kind, KINDS)
        if isinstance(values, Path | str):
            path = Path(values)
            if not path.is_file():
                raise InputError(f"file must exist, got {str(values)!r}")
            values = str(shutil.copyfile(path, self.folder / (ANSWER + path.suffix)))  # theirs may be gone at the end
        self._say({kind: values})

    def refuse(self, reason: str) -> None:
        """Say that something was asked that cannot be: the job is lost, whatever the command does then."""
        self._say({REFUSED: reason})

    def _say(self, message: Mapping[str, Any]) -> None:
        with self._open() as pipe:
            _write(pipe, message)

    @contextmanager
    def _open(self) -> Iterator[int]:
        try:
            pipe = os.open(self.folder / SAID, os.O_WRONLY | os.O_NONBLOCK)  # refused where nobody reads
        except OSError:
            raise InputError(GONE) from None
        try:
            os.set_blocking(pipe, True)
            yield pipe
        except BrokenPipeError:
            raise InputError(GONE) from None
        finally:
            os.close(pipe)

    def _reply(self, epoch: int) -> bool | None:
        """Return what was replied to the report of an epoch; None if nothing was yet."""
        try:
            lines = (self.folder / REPLIES).read_text(encoding="utf-8").split("\n")[:-1]
        except OSError:
            return None
        reply = json.loads(lines[-1]) if lines else {}
        return reply["stop"] if reply.get("epoch") == epoch else None


GONE = "the search that runs this command has ended or was killed"


def _write(pipe: int, message: Mapping[str, Any]) -> None:
    data = f"\n{json.dumps(message)}\n".encode()  # on a line of its own, whatever was printed before
    while data:
        data = data[os.write(pipe, data) :]


def _records(table: Path, num_rows: int | None) -> list[str]:
    """Return the text of header and rows; where there are more lines than rows, quoted cells hold ends of lines."""
    with open(table, encoding="utf-8", errors="surrogateescape", newline="") as file:
        lines = list(file)
    records = [line for line in lines if line.strip()]
    if len(records) - 1 == num_rows:
        return records
    records, parts, is_open = [], [], False
    for line in lines:
        parts.append(line)
        is_open ^= line.count('"') % 2 == 1
        if not is_open:
            records.append("".join(parts))
            parts = []
    return [record for record in [*records, "".join(parts)] if record.strip()]
