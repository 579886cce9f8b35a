"""The durable record of a study: one line per (configuration, fold, seed), appended and flushed to the disk.

One process at a time writes a file.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError
from meden._files import FIELD, check_format, known_fields, versioned
from meden.study.lock import writing

LEDGER = "ledger.jsonl"
"""Name of the file in a study's folder."""


class Key(NamedTuple):
    """What a row is about."""

    configuration: int
    fold: int
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What one fit gave."""

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
    """Wall time since the row before: fits run together, and these add up to the time of the search."""
    train_loss: list[float]
    """Per epoch, fitting rows, evaluation mode."""
    stop_loss: list[float]
    """Per epoch, rows of the stop split; empty where there is none."""
    losses: NDArray[np.float32]
    """Data loss of each scored row, in the fold's order; NaN if the run diverged."""
    scores: NDArray[np.float64]
    """Whether each scored row is right, or its squared error in the user's units."""

    @property
    def key(self) -> Key:
        """What the row is about."""
        return Key(self.configuration, self.fold, self.seed)


_ARRAYS = {"losses": "<f4", "scores": "<f8"}
"""How a line holds what is of each row; squared errors in the user's units may be as small or large as 1e-80, 1e80."""


class Content(NamedTuple):
    """What a ledger's file holds."""

    identity: dict[str, Any] | None
    """What the study is; None before the first row."""
    rows: dict[Key, Row]
    num_bytes: int
    """Length of the whole lines: a kill, or a full disk, may have torn one after them, which is not read."""


def read_rows(path: Path) -> Content:
    """Read a ledger, neither locking nor changing it; another process may be writing it.

    Args:
        path: of the file; one that is not there has no rows yet.

    Raises:
        InputError: if a line is damaged, if the file cannot be read, or if it is of a newer major version.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise InputError(f"{str(path)!r} must be a ledger that can be read: {error.strerror}") from None
    whole = content[: content.rfind(b"\n") + 1]
    header, *lines = whole.splitlines() or [b"{}"]
    first = _parse(header, 1, path)
    check_format(first.get(FIELD), path)
    rows = [_row(_parse(line, number, path), number, path) for number, line in enumerate(lines, start=2)]
    return Content(first.get("identity"), {row.key: row for row in rows}, len(whole))


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
        """Length of the whole lines in the file; what is torn after them is cut off by the next write."""
        self._file: FileIO | None = None
        self._held = ExitStack()
        if path is not None:
            try:
                self._file = _opened(path, self._held)
                self._load(path)
            except BaseException:
                self.close()
                raise

    @property
    def digest(self) -> str:
        """Hash of the identity."""
        return digest_of(self.identity)

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
            line = json.dumps(fields | {name: _pack(fields[name], dtype) for name, dtype in _ARRAYS.items()})
            header = json.dumps(versioned({"identity": self.identity})) + "\n" if self._num_bytes == 0 else ""
            self._write(self._file, (header + line + "\n").encode())
        self.rows[row.key] = row

    def close(self) -> None:
        """Let other processes write the file."""
        self._held.close()

    def _write(self, file: FileIO, lines: bytes) -> None:
        try:
            file.truncate(self._num_bytes)
            left = memoryview(lines)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError as error:
            text = f"{error.strerror}: what is done so far is safe; make room, and go on with the same folder"
            raise OSError(error.errno, text, str(self.path)) from error
        self._num_bytes += len(lines)

    def _load(self, path: Path) -> None:
        found = read_rows(path)
        if found.num_bytes:
            _check_same(found.identity, self.identity, path)
        self.rows, self._num_bytes = found.rows, found.num_bytes


def digest_of(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal, of what a ledger belongs to."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _opened(path: Path, held: ExitStack) -> FileIO:
    """Lock a file, and open it to append to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held.enter_context(writing(path))
        file = held.enter_context(FileIO(path, "a+"))
        _flush_name(path)
    except OSError as error:
        raise InputError(
            f"study_dir must be a folder that can be written to, got {str(path.parent)!r}: {error.strerror}"
        ) from error
    return file


def _flush_name(path: Path) -> None:
    """Make sure that a new file is found in its folder after the power has failed."""
    if os.name != "posix":  # a folder cannot be opened there
        return
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
        arrays = {name: _unpack(fields[name], dtype) for name, dtype in _ARRAYS.items()}
        if len(arrays["losses"]) != len(arrays["scores"]):
            raise ValueError
        return Row(**known_fields(Row, fields) | arrays)
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


def _pack(values: NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.asarray(values, dtype=dtype).tobytes()).decode()


def _unpack(text: str, dtype: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text), dtype=dtype).astype(dtype[1:])
