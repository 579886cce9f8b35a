"""The durable record of a study: one line per (configuration, fold, seed), appended and flushed to the disk.

One process at a time writes a file. The lock is the kernel's, which takes it back from a process that was killed.
"""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import json
import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError

LEDGER = "ledger.jsonl"
"""Its file in the folder of a study."""


class Key(NamedTuple):
    """What a row is about."""

    configuration: int
    fold: int
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What one training gave."""

    configuration: int
    fold: int
    seed: int
    params: dict[str, Any]
    status: str
    reason: str
    best_epoch: int
    best_step: int
    num_epochs: int
    seconds: float
    """Wall time since the row before: trainings run together, and these add up to the time of the search."""
    train_loss: list[float]
    """Per epoch, fitting rows, evaluation mode."""
    stop_loss: list[float]
    """Per epoch, rows of the stop split; empty where there is none."""
    losses: NDArray[np.float32]
    """Data loss of each scored row, in the fold's order; NaN if the run diverged."""
    scores: NDArray[np.float32]
    """Whether each scored row is right, or its squared error in the user's units."""

    @property
    def key(self) -> Key:
        """What the row is about."""
        return Key(self.configuration, self.fold, self.seed)


class Ledger:
    """Rows by key; on disk if it has a path. Close it, or use it in a ``with`` statement, to let others write there.

    Args:
        path: a file, made if it is not there; None keeps the rows in memory only.
        identity: what the study is (data, splits, space, seed): a file of another study is refused.

    Raises:
        InputError: if the file belongs to another study, naming what differs; if it cannot be written, or if another
            process is writing it.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any]) -> None:
        self.path, self.identity = path, dict(identity)
        self.rows: dict[Key, Row] = {}
        self._num_bytes = 0
        """Length of the whole lines in the file: a kill, or a full disk, may have torn one after them."""
        self._file = None if path is None else _opened(path)
        if path is not None:
            try:
                self._load(path)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns.

        Raises:
            OSError: if it cannot be written; the rows before it are safe.
        """
        if self._file is not None:
            fields = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
            line = json.dumps(fields | {"losses": _pack(row.losses), "scores": _pack(row.scores)})
            header = json.dumps({"identity": self.identity}) + "\n" if self._num_bytes == 0 else ""
            self._write(self._file, (header + line + "\n").encode())
        self.rows[row.key] = row

    def close(self) -> None:
        """Let other processes write the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, file: FileIO, lines: bytes) -> None:
        try:
            file.truncate(self._num_bytes)
            left = memoryview(lines)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError as error:
            told = f"{error.strerror}: what is done so far is safe; make room, and go on with the same folder"
            raise OSError(error.errno, told, str(self.path)) from error
        self._num_bytes += len(lines)

    def _load(self, path: Path) -> None:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        self._num_bytes = len(whole)
        lines = [_parse(line, number, path) for number, line in enumerate(whole.splitlines(), start=1)]
        if lines:
            _check_same(lines[0].get("identity"), self.identity, path)
        for number, fields in enumerate(lines[1:], start=2):
            row = _row(fields, number, path)
            self.rows[row.key] = row


def _opened(path: Path) -> FileIO:
    """Open a file to append to, and lock it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = FileIO(path, "a+")
    except OSError as error:
        raise InputError(
            f"study_dir must be a folder that can be written to, got {str(path.parent)!r}: {error.strerror}"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _flush_name(path)
    except OSError as error:
        file.close()
        in_use = "another search is writing there; wait until it ends, or choose another folder"
        told = in_use if isinstance(error, BlockingIOError) else error.strerror
        raise InputError(f"study_dir must be free to be written to, got {str(path.parent)!r}: {told}") from error
    return file


def _flush_name(path: Path) -> None:
    """Make sure that a new file is found in its folder after the power has failed."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parse(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise InputError(f"{str(path)!r} must be a ledger that meden wrote, but line {number} is damaged")
    return fields


def _row(fields: Mapping[str, Any], number: int, path: Path) -> Row:
    try:
        return Row(**{**fields, "losses": _unpack(fields["losses"]), "scores": _unpack(fields["scores"])})
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{str(path)!r} must be a ledger that meden wrote, but line {number} is damaged") from None


def _check_same(found: Any, wanted: Mapping[str, Any], path: Path) -> None:
    found = found if isinstance(found, dict) else {}
    differing = [name for name, value in wanted.items() if found.get(name) != json.loads(json.dumps(value))]
    if differing:
        raise InputError(
            f"study_dir {str(path.parent)!r} must be empty or hold this same study, got one with other "
            f"{' and '.join(differing)}; choose another folder"
        )


def _pack(values: NDArray[np.float32]) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f4").tobytes()).decode()


def _unpack(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float32)
