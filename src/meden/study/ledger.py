"""The durable record of a study: one line per (configuration, fold, seed), appended and flushed to the disk.

One process at a time writes a file. Every line ends in its checksum, which covers that of the first line too: a row
that was changed, or that comes from another study, is found.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
from binascii import a2b_base64
from collections.abc import Mapping
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meden._checks import Damaged, InputError, parse_json
from meden._checksums import is_sealed, sealed
from meden._fields import Count, check_all, checked_fields, damaged
from meden._files import FIELD, NO_ROOM, check_format, flush_name, versioned
from meden._shown import ShownFields
from meden.progress import Status
from meden.study.lock import writing

LEDGER = "ledger.jsonl"
"""Name of the file in a study's folder."""


class Key(NamedTuple):
    """What a row is about."""

    configuration: int
    fold: int
    seed: int
    baseline: str = ""
    """Name of what the configurations are compared with; empty for one of them."""


FIRST = Key(0, 0, 0)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Row(ShownFields):
    """What one fit gave."""

    configuration: Count
    fold: Count
    seed: Count
    params: dict[str, Any]
    status: Status
    reason: str
    best_epoch: Count
    best_step: Count
    num_epochs: Count
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
    outputs: NDArray[np.floating[Any]]
    """Of each scored row, (n, ...): see :attr:`meden.run.HeldOut.outputs`."""
    epochs: Count | None = None
    """Length of the schedule, in epochs, where the time was too short for that of the recipe; None where it was not."""
    baseline: str = ""
    """What it is, if it is no configuration of the space: a row that they are compared with, and never chosen."""
    versions: dict[str, str] | None = None
    """Those of the libraries that trained it, by name; None where they are those that began the ledger."""
    fit_losses: NDArray[np.float16] | None = None
    """Data loss of each fitting row, in the fold's order, see :func:`halved`; None where it was not to be kept."""
    stop_losses: NDArray[np.float16] | None = None
    """The same of the stop split."""

    @property
    def key(self) -> Key:
        """What the row is about."""
        return Key(self.configuration, self.fold, self.seed, self.baseline)


_ARRAYS = {"train_loss": "<f8", "stop_loss": "<f8", "losses": "<f4", "scores": "<f8"}
"""How a line holds what is of each epoch and row; squared errors may be as small or large as 1e-80, 1e80."""
_CURVES = ("train_loss", "stop_loss")
_SEEN = {"fit_losses": "<f2", "stop_losses": "<f2"}
"""Of most rows and each fit, and so in half precision, and there only if they were asked for."""
_BEGINNING = f'{{"{FIELD}": "'.encode()
"""Of the first line: what has another is no ledger that was torn, but somebody's own file."""
_DECODER = json.JSONDecoder()
_OUTPUTS = "outputs"
"""Of another precision, and another shape, in each study."""
_PLAIN = tuple(field.name for field in dataclasses.fields(Row) if field.name not in (*_ARRAYS, *_SEEN, _OUTPUTS))
_VERSIONS, _CODE = "versions", "code"
"""What an identity says of the libraries that trained, and of the model's source."""


class Content(NamedTuple):
    """What a ledger's file holds."""

    identity: dict[str, Any] | None
    """What the study is; None before the first row."""
    header: bytes
    """The first line, whose checksum those of the rows cover; empty before the first row."""
    rows: dict[Key, Row]
    num_bytes: int
    """Length of the whole lines: a kill, or a full disk, may have torn one after them, which is not read."""


def read_rows(path: Path) -> Content:
    """Read a ledger, neither locking nor changing it; another process may be writing it.

    Args:
        path: of the file; one that is not there has no rows yet.

    Raises:
        Damaged: an InputError, if a line was changed, naming it.
        InputError: if the file cannot be read, or if it is of another major version.
    """
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise InputError(f"{str(path)!r} must be a readable ledger: {error.strerror}") from None
    header, *lines = content.split(b"\n")[:-1] or [b""]  # what follows the last end of a line is torn
    if not header and not lines:
        if content[: len(_BEGINNING)] != _BEGINNING[: len(content)]:
            raise Damaged(f"{str(path)!r} must be a ledger as meden wrote it, but line 1 is damaged")
        return Content(None, b"", {}, 0)
    first = _parse(header, 1, path)
    check_format(first.get(FIELD), path)
    _check_sealed(header, b"", 1, path)
    rows = [_row(line, header, number, path) for number, line in enumerate(lines, start=2)]
    if not isinstance(identity := first.get("identity"), dict):
        raise Damaged(f"{str(path)!r} must be a ledger as meden wrote it, but does not name its study")
    return Content(identity, header, {row.key: row for row in rows}, content.rfind(b"\n") + 1)


class Ledger:
    """Rows by key; on disk if it has a path. Close it, or use it in a ``with`` statement, to let others write there.

    Args:
        path: a file, made if it is not there; None keeps the rows in memory only.
        identity: what the study is (data, splits, space, seed, versions): a file of another study is refused.
        allow_version: go on with a file that other versions of the libraries began; each row that is added says which
            it was made with.

    Raises:
        InputError: if the file belongs to another study, naming what differs; if it cannot be written, or if another
            process is writing it.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any], *, allow_version: bool = False) -> None:
        self.path, self.identity = path, dict(identity)
        self.rows: dict[Key, Row] = {}
        self._allow_version = allow_version
        self._versions: dict[str, str] | None = None
        """Those of this process, where others began the file."""
        self._header = sealed(json.dumps(versioned({"identity": self.identity})))
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
        if self._versions is not None:
            row = dataclasses.replace(row, versions=self._versions)
        if self._file is not None:
            fields = {name: value for name, value in vars(row).items() if value is not None}
            packed = {n: _pack(fields[n], dtype) for n, dtype in (_ARRAYS | _SEEN).items() if n in fields}
            packed[_OUTPUTS] = row.outputs.dtype.str + _pack(row.outputs, row.outputs.dtype.str)
            line = json.dumps(fields | packed)
            lines = [sealed(line, self._header), b""]
            self._write(self._file, b"\n".join(lines if self._num_bytes else [self._header, *lines]))
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
            text = f"{error.strerror}: finished work is safe; free some disk space, and continue with the same folder"
            raise OSError(error.errno, text, str(self.path)) from error
        self._num_bytes += len(lines)

    def _load(self, path: Path) -> None:
        found = read_rows(path)
        if not found.rows:  # whatever began here left nothing
            return
        assert found.identity is not None
        self.rows, self._num_bytes = found.rows, found.num_bytes
        _check_same(found.identity, self.identity, path, self._allow_version)
        if found.identity.get(_VERSIONS) != self.identity.get(_VERSIONS):
            self._versions = self.identity[_VERSIONS]
        self.identity, self._header = found.identity, found.header


def halved(losses: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Return losses in half precision: four digits down to 6e-5, a smallest one of 6e-8, none beyond 65,504."""
    most = float(np.finfo(np.float16).max)
    return np.asarray(np.clip(losses, -most, most), dtype=np.float16)


def digest_of(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hexadecimal, of what a ledger belongs to."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def versions_of(identity: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions of the libraries that began a ledger, by name; none where its identity does not say so."""
    found = identity.get(_VERSIONS)
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _opened(path: Path, held: ExitStack) -> FileIO:
    """Lock a file, and open it to append to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held.enter_context(writing(path))
        file = held.enter_context(FileIO(path, "a+"))
        flush_name(path)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise InputError(f"study_dir must be a writable folder, got {str(path.parent)!r}: {error.strerror}") from error
    return file


def _parse(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        fields = parse_json(line)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise Damaged(f"{str(path)!r} must be a ledger as meden wrote it, but line {number} is damaged")
    return fields


def _row(line: bytes, header: bytes, number: int, path: Path) -> Row:
    _check_sealed(line, header, number, path)
    written, _ = _DECODER.raw_decode(line.decode())  # that it is JSON is known by now
    with damaged(f"{str(path)!r} must be a ledger as meden wrote it"):
        fields = checked_fields(Row, written, *_PLAIN)
        for name, dtype in (_ARRAYS | {name: dtype for name, dtype in _SEEN.items() if name in written}).items():
            values = np.frombuffer(a2b_base64(written[name]), dtype=dtype)
            fields[name] = values.tolist() if name in _CURVES else values.astype(dtype[1:])
        return Row(**fields, outputs=_outputs(written[_OUTPUTS], len(fields["losses"])))


def _outputs(text: str, num_rows: int) -> NDArray[Any]:
    dtype, packed = text[:3], text[3:]
    check_all("outputs must be floating numbers", dtype in ("<f4", "<f8"), dtype)
    return np.frombuffer(a2b_base64(packed), dtype=dtype).reshape(num_rows, -1)


def _check_sealed(line: bytes, header: bytes, number: int, path: Path) -> None:
    if not is_sealed(line, header):
        raise Damaged(
            f"{str(path)!r} must be a ledger as meden wrote it, but line {number} is damaged: it was changed, or "
            "belongs to another study"
        )


def _check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], path: Path, allow_version: bool) -> None:
    differing = [name for name, value in wanted.items() if found.get(name) != json.loads(json.dumps(value))]
    if differing == [_VERSIONS]:
        if not allow_version:
            raise InputError(
                f"study_dir {str(path.parent)!r} must be resumed with the versions that started it, "
                f"{_text(found[_VERSIONS])}, got {_text(wanted[_VERSIONS])}, whose numbers may differ; "
                "allow_version=True (--allow-version) resumes it anyway"
            )
    elif differing == [_CODE]:
        raise InputError(
            f"study_dir {str(path.parent)!r} must be resumed with the code that started it, but the model's code "
            "may have changed; choose another folder, or undo the change"
        )
    elif differing:
        differing = [name for name in differing if name not in (_CODE, _VERSIONS)] or ["code and versions"]
        raise InputError(
            f"study_dir {str(path.parent)!r} must be empty or hold this same study, got one with different "
            f"{' and '.join(differing)}; choose another folder"
        )


def _text(versions: Mapping[str, str]) -> str:
    return " and ".join(f"{name} {version}" for name, version in versions.items())


def _pack(values: NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.asarray(values, dtype=dtype).tobytes()).decode()
