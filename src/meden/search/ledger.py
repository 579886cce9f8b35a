"""The durable record of a study: one line per (configuration, fold, seed), appended and flushed to the disk."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError


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
    """Rows by key; on disk if it has a path.

    Args:
        path: a file, made if it is not there; None keeps the rows in memory only.
        identity: what the study is (data, splits, space, seed): a file of another study is refused.

    Raises:
        InputError: if the file belongs to another study, naming what differs.
    """

    def __init__(self, path: Path | None, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: dict[Key, Row] = {}
        if path is not None and path.exists():
            self._load(path, identity)
        elif path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(json.dumps({"identity": dict(identity)}))

    def append(self, row: Row) -> None:
        """Add a row; it is on the disk when this returns."""
        self.rows[row.key] = row
        if self.path is not None:
            fields = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
            self._write(json.dumps(fields | {"losses": _pack(row.losses), "scores": _pack(row.scores)}))

    def _write(self, line: str) -> None:
        assert self.path is not None
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _load(self, path: Path, identity: Mapping[str, Any]) -> None:
        whole, _, torn = path.read_text(encoding="utf-8").rpartition("\n")
        if torn:
            os.truncate(path, len((whole + "\n").encode() if whole else b""))
        first, *rest = whole.splitlines() or [json.dumps({"identity": dict(identity)})]
        if not whole:
            self._write(first)
        _check_same(json.loads(first).get("identity"), identity, path)
        for line in rest:
            fields = json.loads(line)
            row = Row(**fields | {"losses": _unpack(fields["losses"]), "scores": _unpack(fields["scores"])})
            self.rows[row.key] = row


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
