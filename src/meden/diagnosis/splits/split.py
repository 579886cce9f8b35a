"""What is known of a split: which rows fit, which decide when to stop, which score, and what they hold.

Legend: ``N`` rows, ``D`` columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_object_dtype

from meden._checks import InputError
from meden.data import Fold
from meden.diagnosis.command import PLACEHOLDER, command

Values = NDArray[Any]
PARTS = ("fit", "stop", "score")
CHANCE = 1e-6
"""Chance that independent rows come in the order of others, below which they are the same rows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Rows by their part, in one fold or in several, and what is known of them.

    Raises:
        InputError: if there is no fold, a fold has no row that fits or none that scores, or rows, columns and lengths
            do not belong together.

    Example:
        >>> from meden import diagnose
        >>> split = Split(folds=[Fold(fit=[0, 1, 2], stop=[3, 4], score=[3, 4])])
        >>> [finding.code for finding in diagnose(split).findings]
        ['stop_rows_scored']
    """

    folds: Sequence[Fold]
    """Rows of each fold: positions in ``inputs``, or arbitrary ids if there are no inputs."""
    inputs: Any = None
    """Inputs of all rows as the network sees them (scaled, encoded, imputed), (N, D); arrays become a DataFrame."""
    target: Any = None
    """Targets of all rows, (N,)."""
    groups: Any = None
    """Group of each row, (N,), such as its patient, machine or source."""
    moments: Any = None
    """Time of each row, as sortable values, (N,): no fold may then be fitted to rows later than those it scores."""
    places: Any = None
    """Names of the rows in messages, (N,); None for their positions."""
    source: str = f"DATA --target {PLACEHOLDER}"
    """The data as named on a command line; empty if no command can train on them as they are."""

    def __post_init__(self) -> None:
        if self.inputs is not None:
            object.__setattr__(self, "inputs", _table(self.inputs, "inputs"))
        if not self.folds:
            raise InputError("folds must hold at least one fold, got none")
        known = {name: value for name in ("inputs", "target", "groups", "moments") if (value := self._given(name))}
        if len(set(known.values())) > 1:
            told = ", ".join(f"{name} {length}" for name, length in known.items())
            raise InputError(f"inputs, target, groups and moments must have the same number of rows, got {told}")
        if self.moments is not None:
            try:
                pd.Series(np.asarray(self.moments)).rank()
            except TypeError:
                raise InputError("moments must be values that can be ordered, got mixed types") from None
        for place, fold in enumerate(self.folds):
            for part in ("fit", "score"):
                if len(getattr(fold, part)) == 0:
                    raise InputError(f"each fold must have rows that {part}, got none in fold {place}")
            for part in PARTS:
                _check_rows(getattr(fold, part), next(iter(known.values()), None), f"{part} of fold {place}")

    def _given(self, name: str) -> int | None:
        value = getattr(self, name)
        return None if value is None else len(value)

    def part(self, fold: Fold, *names: str) -> np.ndarray[Any, Any]:
        """Return the rows of some parts of a fold, each once."""
        return np.unique(np.concatenate([np.asarray(getattr(fold, name)) for name in names]))

    def command(self, *options: str) -> str:
        """Return the line that searches on these rows, divided by itself, with some options more."""
        return command("tune", self.source, options)

    def named(self, rows: Any) -> np.ndarray[Any, Any]:
        """Return what messages call some rows."""
        return np.asarray(rows) if self.places is None else np.asarray(self.places)[np.asarray(rows)]

    def rows(self, rows: Any) -> pd.DataFrame:
        """Return the inputs of some rows."""
        found: pd.DataFrame = self.inputs.iloc[np.asarray(rows, dtype=np.int64)]
        return found


def split_of(fit: Any, score: Any, stop: Any = None) -> Split:
    """Return the split of parts that are kept apart, as most scripts keep them.

    Args:
        fit: inputs and target of the rows that fit, as the network gets them: ``(X, y)``, arrays or tables.
        score: the same of the rows that score.
        stop: the same of the rows that decide when to stop; None if there are none.

    A part that holds the rows of another in their order is the same rows, unless the values are so few that this may be
    chance.

    Raises:
        InputError: if the parts have other columns, or inputs and target are not of as many rows.

    Example:
        >>> x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
        >>> split = split_of(fit=(x[:2], y[:2]), score=(x[2:], y[2:]))
        >>> split.folds[0].score.tolist(), split.inputs.shape
        ([2, 3], (4, 2))
    """
    tables: list[pd.DataFrame] = []
    targets: list[Values] = []
    held: list[Values] = []
    rows, done = {}, 0
    for name, part in zip(PARTS, (fit, stop, score), strict=True):
        if part is None:
            rows[name] = np.arange(0)
            continue
        if not isinstance(part, (tuple, list)) or len(part) != 2:
            raise InputError(f"{name} must be a pair (inputs, target), got {type(part).__name__}")
        table = _table(part[0], name)
        if tables and list(table.columns) != list(tables[0].columns):
            raise InputError(
                f"{name} must have the columns of fit ({tables[0].shape[1]}), got {table.shape[1]} columns"
            )
        target = np.asarray(part[1])
        if target.shape[:1] != (len(table),):
            raise InputError(f"{name} must have a target for each of its {len(table)} rows, got {target.shape}")
        again = [place for place, known in enumerate(tables) if _is_again(table, target, known, targets[place])]
        if again:
            rows[name] = held[again[0]]
            continue
        tables.append(table)
        targets.append(target)
        held.append(np.arange(done, done + len(table)))
        rows[name] = held[-1]
        done += len(table)
    inputs = pd.concat(tables, ignore_index=True)
    return Split(folds=[Fold(**rows)], inputs=inputs, target=np.concatenate(targets))


def _is_again(table: pd.DataFrame, target: Values, known: pd.DataFrame, labels: Values) -> bool:
    """Whether rows are those of another part in their order, and independent rows would hardly come in it by chance."""
    table, known = table.reset_index(drop=True), known.reset_index(drop=True)
    if not table.equals(known) or not np.array_equal(target, labels):
        return False
    words = table.astype({name: str for name, kind in table.dtypes.items() if is_object_dtype(kind)})
    hashes = pd.util.hash_pandas_object(words, index=False).to_numpy()
    _, codes, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    return bool(np.log(counts[codes] / len(codes)).sum() < math.log(CHANCE))


def _table(inputs: Any, name: str) -> pd.DataFrame:
    if isinstance(inputs, pd.DataFrame):
        return inputs
    values = np.asarray(inputs)
    if values.ndim < 2:
        raise InputError(f"{name} must have inputs of shape (N, D), got shape {values.shape}")
    return pd.DataFrame(values.reshape(len(values), -1))


def _check_rows(rows: Any, num_rows: int | None, what: str) -> None:
    if num_rows is None or len(rows) == 0:
        return
    places = np.asarray(rows)
    if places.dtype.kind not in "iu" or places.min() < 0 or places.max() >= num_rows:
        wrong = places if places.dtype.kind not in "iu" else places[(places < 0) | (places >= num_rows)]
        raise InputError(f"{what} must be positions from 0 to {num_rows - 1}, got {wrong[0]!r}")
