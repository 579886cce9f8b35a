"""One data set: features, target and groups, from whatever the user has."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from meden._checks import BadCells, InputError, check_choice, nearest
from meden._shown import Pair, Shown
from meden.data.arrays import Arrays, read_array, to_tensor
from meden.data.columns import Values, text_of
from meden.data.encoders import Encoder
from meden.data.files import BUNDLED, bundled_table, read_file
from meden.data.frames import as_dense, as_pandas
from meden.data.labels import LabelColumn
from meden.data.reading import Reading, ReadingWarning, ReadOptions, hint_of
from meden.data.tables import Table, named_columns, read_columns
from meden.data.targets import (
    LARGEST_RAW,
    SMALLEST_RAW,
    TASKS,
    Label,
    Target,
    Task,
    check_range,
    fit_target,
    read_class_numbers,
    read_target,
)

_SAID = 8
"""Remarks on columns that a warning lists."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset(Shown):
    """Features and target of ``num_rows`` rows, made by :func:`as_dataset`.

    Attributes:
        inputs: the features: a table to be encoded, or arrays used as they are.
        y: the target.
        groups: int64 (n,), rows of one group are never split between folds; or None.
        weights: float64 (n,), what each row counts in losses and scores; or None, for 1 each. Encoders do not heed it.
        origin: arguments of :func:`as_dataset` that read these rows, as plain values; ``data`` is None where they came
            from memory. None where they cannot say it.
        notes: what of the file is unusual or was passed over, in words.
    """

    inputs: Table | Arrays
    y: Target
    groups: Values | None = None
    weights: Values | None = None
    origin: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def _pairs(self) -> Iterable[Pair]:
        yield "rows", self.num_rows
        yield "task", self.task
        yield "target", self.target
        if self.classes:
            yield "classes", self.classes
        yield "features", self.feature_names if isinstance(self.inputs, Table) else self.inputs.x
        yield from ((name, "given") for name in ("groups", "weights") if getattr(self, name) is not None)
        yield from (("note", note) for note in self.notes)

    @property
    def readings(self) -> tuple[Reading, ...]:
        """How the target and each column were read; empty for arrays."""
        columns = self.inputs.readings if isinstance(self.inputs, Table) else ()
        return (self.y.reading, *columns) if columns and self.y.reading is not None else columns

    @property
    def num_rows(self) -> int:
        """Number of rows n."""
        return self.inputs.num_rows

    @property
    def task(self) -> Task:
        """``"classification"`` or ``"regression"``."""
        return self.y.task

    @property
    def target(self) -> str:
        """Name of the target."""
        return self.y.name

    @property
    def classes(self) -> tuple[Label, ...]:
        """Labels of the whole target in sorted order; empty for regression."""
        return self.y.classes

    @property
    def labels(self) -> Values:
        """int64 positions in ``classes``, (n,) or (n, T) with -100, or float64 numbers, (n,) or (n, M)."""
        return self.y.labels

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns; ``x0``, ``x1``, ... for arrays of vectors."""
        return self.inputs.feature_names

    @property
    def num_outputs(self) -> int:
        """Outputs a network needs (of each token, if rows have several): one per class, or per number to predict."""
        return len(self.classes) or int(np.prod(self.labels.shape[1:], dtype=int))

    def take(self, rows: Values | Any) -> Dataset:
        """Return the data set of some rows (positions); the classes stay those of the whole target."""
        rows = np.asarray(rows, dtype=np.int64)
        y = dataclasses.replace(self.y, labels=self.labels[rows])
        groups, weights = (None if part is None else part[rows] for part in (self.groups, self.weights))
        return Dataset(self.inputs.take(rows), y, groups, weights)

    def fit_encoder(self, rows: Values | Any) -> Encoder:
        """Return the encoder fitted on ``rows`` (positions) and on no others."""
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size == 0:
            raise InputError("rows must hold at least one position, got none")
        standardise = isinstance(self.inputs, Table)
        codec = fit_target(self.y, self.labels[rows], standardise=standardise)
        reading = self.y.reading
        return Encoder(
            self._some(rows).fit(), codec, LabelColumn(self.target, None if reading is None else reading.format)
        )

    def features(self, encoder: Encoder, rows: Values | Any) -> Tensor:
        """Return inputs of some rows, float32 (len(rows), D), or (len(rows), ...) as they are for arrays."""
        return encoder.inputs.encode(self._some(np.asarray(rows, dtype=np.int64)))  # type: ignore[arg-type]

    def _some(self, rows: Values) -> Table | Arrays:
        """Return the inputs of some rows; of all in their order without a copy."""
        whole = len(rows) == self.num_rows and bool((rows == np.arange(self.num_rows)).all())
        return self.inputs if whole else self.inputs.take(rows)

    def targets(self, encoder: Encoder, rows: Values | Any) -> Tensor:
        """Return training targets of some rows: int64 (len(rows),), or float32 of the target's own shape.

        Where rows have weights, targets bring them along as :func:`meden.objective.row_loss` takes them.
        """
        y = encoder.target.encode(self.labels[rows])
        return y if self.weights is None else encoder.target.weigh(y, torch.as_tensor(self.weights[rows]).float())

    def content_hash(self) -> str:
        """Return the SHA-256, in hexadecimal, of features, target, task and groups."""
        digest = hashlib.sha256(json.dumps([self.target, self.task, self.classes, self.labels.shape]).encode())
        digest.update(np.ascontiguousarray(self.labels).data)
        for part in (self.groups, self.weights):
            digest.update(b"" if part is None else np.ascontiguousarray(part).data)
        self.inputs.update(digest)
        return digest.hexdigest()


def as_dataset(
    data: Any,
    *,
    target: str | None = None,
    task: str | None = None,
    groups: Any = None,
    drop: Sequence[str] = (),
    read: Mapping[str, str] | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    na: Sequence[str] = (),
) -> Dataset:
    """Read a data set.

    How columns are read is told from their cells: numbers with a decimal comma, separators between thousands, a unit
    or a currency; dates in one order of day and month; words such as ``?`` or ``n/a`` for a missing value. A few cells
    that are no numbers (or dates) are missing values. A warning says what is not plain; ``readings`` says it of every
    column.

    Args:
        data: a bundled name (``breast_cancer``, ``diabetes``, ``digits``, ``iris``, ``wine``); a path (.csv, .tsv,
            also .gz, .parquet, .feather); a DataFrame of pandas or Polars, or an Arrow table; a pair ``(X, y)``; or a
            Dataset, returned as it is. In a pair X is such a table, or an array, sparse matrix or tensor (n, ...), used
            as it is: float32, or int64 if it holds whole numbers. A floating y is (n,) or (n, M); one of whole numbers
            (n, T) holds the classes of T tokens of each row, from 0, and -100 where none counts.
        target: the target column of a table; needed for paths and DataFrames.
        task: ``"classification"`` or ``"regression"``; None to infer it from the target (:func:`read_target`).
        groups: a column (which is then no feature), or an array (n,) of labels; rows of one group stay together.
        drop: columns of a table to leave out.
        read: columns of a table that are to be read as ``"number"``, ``"category"`` or ``"date"``, or left out
            (``"drop"``).
        sep: what separates the fields of a text file; told from the file unless given.
        decimal: ``"."`` or ``","``; told from each column unless given.
        na: texts or numbers (``"-999"``) that stand for a missing value, beside the usual ones.

    Raises:
        InputError: one line, for whatever cannot be used.

    Example:
        >>> wine = as_dataset("wine")
        >>> wine.task, wine.num_rows, len(wine.feature_names), wine.classes
        ('classification', 178, 13, ('class_0', 'class_1', 'class_2'))
    """
    options = ReadOptions(read=read or {}, sep=sep, decimal=decimal, na=na)
    dataset = read_dataset(data, from_table, target, task, groups, drop, options)
    return dataset if dataset is data else with_warning(dataset)


FromTable = Callable[
    [pd.DataFrame, "pd.Series[Any]", str, str | None, Any, Sequence[str], ReadOptions, str | None], Dataset
]
"""What :func:`from_table` is, and what else may make a data set of named columns."""


def read_dataset(
    data: Any,
    make: FromTable,
    target: str | None,
    task: str | None,
    groups: Any,
    drop: Sequence[str],
    options: ReadOptions,
) -> Dataset:
    """Read a data set as :func:`as_dataset` does, without a warning; ``make`` makes it of a table."""
    if task is not None:
        check_choice("task", task, TASKS)
    if isinstance(data, Dataset):
        if not (target is None and task is None and groups is None and len(drop) == 0 and not options.to_dict()):
            raise InputError(
                "target, task, groups and drop must not be given for a Dataset, which was read with its own"
            )
        return data
    origin = _origin(data, target, task, groups, drop, options)
    if isinstance(data, (tuple, list)) and len(data) == 2:
        x, y = as_pandas(data[0]), as_pandas(data[1])
        made = _from_pair(make, x, y, target or name_of(y), task, groups, drop, options)
        return dataclasses.replace(made, origin=origin)
    notes: tuple[str, ...] = ()
    separator: str | None = None
    if isinstance(data, str) and data in BUNDLED:
        data, usual = bundled_table(data)
        target = usual if target is None else target
    elif isinstance(data, (str, Path)):
        as_text = [name for name, kind in options.read.items() if kind == "category"]
        raw = read_file(data, as_text=as_text, labels=[str(target)], sep=options.sep, decimal=options.decimal)
        data, notes, separator = raw.frame, raw.notes, raw.separator
    data = as_pandas(data)
    if not isinstance(data, pd.DataFrame):
        raise InputError(f"data must be a name, a path, a DataFrame or a pair (X, y), got {type(data).__name__}")
    frame = named_columns(data)
    check_column("target, the column to predict," if target is None else "target", target, frame)
    y = frame[str(target)]
    made = make(frame.drop(columns=[str(target)]), y, str(target), task, groups, drop, options, separator)
    return dataclasses.replace(made, origin=origin, notes=notes)


def with_warning(dataset: Dataset) -> Dataset:
    """Return a data set, with one warning if something of it is not plain."""
    remarks = [
        f"column {reading.name!r}: {'; '.join(reading.remarks)}" for reading in dataset.readings if reading.remarks
    ]
    if said := [*dataset.notes, *remarks]:
        more = f"; and {len(said) - _SAID} more, see .readings" if len(said) > _SAID else ""
        warnings.warn(
            f"columns that were read in a special way: {'; '.join(said[:_SAID])}{more}", ReadingWarning, stacklevel=3
        )
    return dataset


def _origin(
    data: Any, target: str | None, task: str | None, groups: Any, drop: Sequence[str], options: ReadOptions
) -> dict[str, Any]:
    """Return what reads a table again, but for groups that came as an array."""
    place = str(data) if isinstance(data, (str, Path)) else None
    if place is not None and place not in BUNDLED:
        place = str(Path(place).resolve())
    column = groups if isinstance(groups, str) else None
    origin = {"data": place, "target": target, "task": task, "groups": column, "drop": list(drop)}
    return origin | options.to_dict()


def _from_pair(
    make: FromTable,
    x: Any,
    y: Any,
    name: str,
    task: str | None,
    groups: Any,
    drop: Sequence[str],
    options: ReadOptions,
) -> Dataset:
    if isinstance(x, pd.DataFrame):
        _check_lengths(len(x), len(y))
        column = pd.Series(np.asarray(y) if not isinstance(y, pd.Series) else y.array, index=x.index, name=name)
        return make(named_columns(x), column, name, task, groups, drop, options, None)
    if drop:
        raise InputError(f"drop must be empty for arrays (they have no named columns), got {drop!r}")
    inputs = read_array(as_dense(x))
    _check_lengths(inputs.num_rows, len(y))
    return Dataset(inputs, _array_target(y, name, task), group_codes(groups, inputs.num_rows))


def from_table(
    frame: pd.DataFrame,
    y: pd.Series[Any],
    name: str,
    task: str | None,
    groups: Any,
    drop: Sequence[str],
    options: ReadOptions,
    separator: str | None,
) -> Dataset:
    """Read a table of named columns, of which a string for ``groups`` names one."""
    features, groups = chosen_columns(frame, name, groups, drop, options)
    hint = hint_of([y, *(frame[column] for column in frame.columns)], separator)
    read = read_target(y, name, task=task, options=options, hint=hint)
    return Dataset(read_columns(features, options, hint), read, group_codes(groups, len(frame)))


def chosen_columns(
    frame: pd.DataFrame, name: str, groups: Any, drop: Sequence[str], options: ReadOptions
) -> tuple[pd.DataFrame, Any]:
    """Return the columns that are features, and the labels of groups (n,), or None.

    Raises:
        InputError: if there is no row, or an argument names no column.
    """
    if len(frame) == 0:
        raise InputError(f"the table must have rows, got none (columns: {', '.join([*frame.columns, name])})")
    if isinstance(drop, str):
        raise InputError(f"drop must be a list of columns, got {drop!r}")
    for column in drop:
        check_column("drop", column, frame)
    if isinstance(groups, str):
        check_column("groups", groups, frame)
        groups, drop = frame[groups], [*drop, groups]
    for column in options.read:
        check_column("read", column, pd.DataFrame(columns=[*frame.columns, name]))
    return frame.drop(columns=list(drop)), groups


def _array_target(y: Any, name: str, task: str | None) -> Target:
    """Read y: one column by the rule of columns; floating values (n, M) as M numbers, whole ones as T classes."""
    column = isinstance(y, pd.Series) or np.ndim(y) == 1
    if column:
        cells = to_tensor("y", y).cpu().numpy() if isinstance(y, Tensor) else y
        target = read_target(pd.Series(cells).reset_index(drop=True), name, task=task)
    else:
        values = to_tensor("y", y).cpu()
        whole = not values.is_floating_point()
        if task != "regression" and whole and values[0].numel() > 1:
            return read_class_numbers(values, name)
        if task == "classification" or (task is None and whole):
            wanted = "(n,), or (n, T) of integers," if not whole else "(n,)"
            raise InputError(f"y must have shape {wanted} for classification, got {tuple(values.shape)}")
        target = Target(name, "regression", (), values.double().numpy())
    if target.task == "regression":
        check_range(name, target.labels, SMALLEST_RAW, LARGEST_RAW)
    return target


def group_codes(groups: Any, num_rows: int) -> Values | None:
    """Return labels (n,) as int64 codes, or None for None."""
    if groups is None:
        return None
    column = pd.Series(groups.cpu().numpy() if isinstance(groups, Tensor) else np.asarray(groups))
    if len(column) != num_rows:
        raise InputError(f"groups must have one label per row ({num_rows}), got {len(column)}")
    if column.isna().any():
        absent = column.isna().to_numpy(dtype=bool)
        raise BadCells(f"groups must have a label in every row, got {absent.sum()} missing", np.flatnonzero(absent))
    return np.unique([text_of(label) for label in column], return_inverse=True)[1].astype(np.int64)


def check_column(argument: str, name: str | None, frame: pd.DataFrame) -> None:
    """Check that a table has a column.

    Raises:
        InputError: naming the argument that asks for it, and some of those that are there.
    """
    if name is not None and str(name) in frame.columns:
        return
    columns = list(frame.columns)
    shown = ", ".join(columns[:8]) + (", ..." if len(columns) > 8 else "")
    got = "none" if name is None else f"{name!r}{nearest(str(name), columns)}"
    raise InputError(f"{argument} must be a column of the table ({shown}), got {got}")


def _check_lengths(num_x: int, num_y: int) -> None:
    if num_x != num_y:
        raise InputError(f"X and y must have the same number of rows, got {num_x} and {num_y}")


def name_of(y: Any) -> str:
    """Return the name of a target: that of a Series, or ``target``."""
    return str(y.name) if isinstance(y, pd.Series) and y.name is not None else "target"
