"""A table of features: named columns of several kinds, and the encoder fitted on some of its rows.

Legend: ``n`` rows, ``D`` inputs made of all columns.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from meden._checks import InputError, nearest
from meden._fields import check_all
from meden._shown import Pair, Shown, ShownFields
from meden.data.arrays import all_finite, array_rows, check_some
from meden.data.columns import Kind, Values, missing
from meden.data.fitted import Column, column_from_dict, fit_column, listed
from meden.data.new_rows import NewRows
from meden.data.numerals import Decimal, Hint
from meden.data.reading import Format, Reading, ReadOptions, read_again, read_column


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Table(ShownFields):
    """Columns in canonical form (``columns.py``), by name."""

    kinds: Mapping[str, Kind]
    values: Mapping[str, Values]
    robust: bool = False
    """Whether numbers are scaled by their quartiles and clipped smoothly, not standardised."""
    readings: tuple[Reading, ...] = ()
    """How each column was read, those left out included."""

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.values.values())))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.values)

    def take(self, rows: Values) -> Table:
        """Return some rows, in the order given."""
        return dataclasses.replace(self, values={name: values[rows] for name, values in self.values.items()})

    def only(self, names: Collection[str]) -> Table:
        """Return some columns, in the order of the table."""
        kinds = {name: kind for name, kind in self.kinds.items() if name in names}
        values = {name: values for name, values in self.values.items() if name in names}
        readings = tuple(reading for reading in self.readings if reading.name in names)
        return dataclasses.replace(self, kinds=kinds, values=values, readings=readings)

    def fit(self) -> TableEncoder:
        """Return the encoder of what these rows, and no others, show."""
        columns = tuple(
            (kind, fit_column(name, kind, self.values[name], robust=self.robust)) for name, kind in self.kinds.items()
        )
        encoder = TableEncoder(columns)
        if encoder.num_inputs == 0:
            raise InputError(f"the table must have a column whose values repeat, got only {listed(self.feature_names)}")
        formats = {r.name: r.format for r in self.readings if r.format is not None}
        return TableEncoder(columns, tuple(formats.get(name, Format(kind)) for name, kind in self.kinds.items()))

    def update(self, digest: hashlib._Hash) -> None:
        """Feed the contents to a hash."""
        digest.update(b"robust" if self.robust else b"")
        for name, kind in self.kinds.items():
            values = self.values[name]
            content = json.dumps(values.tolist()).encode() if kind == "text" else _bytes(values)
            digest.update(json.dumps([name, kind, len(content)]).encode() + content)


@dataclasses.dataclass(frozen=True, repr=False)
class TableEncoder(Shown):
    """Fitted columns with their kinds, side by side.

    The first inputs are the scaled numbers and days, one of each such column; indicators, levels and the phases of
    dates follow.
    """

    columns: tuple[tuple[Kind, Column], ...]
    formats: tuple[Format, ...] = ()
    """How the cells of each column are read."""

    def _pairs(self) -> Iterable[Pair]:
        return [("columns", {column.name: kind for kind, column in self.columns})]

    @property
    def num_inputs(self) -> int:
        """Inputs D of a row."""
        return len(self.input_names)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns whose cells must reach :meth:`read` as they stand in a file."""
        pairs = zip(self.columns, self.formats, strict=True)
        return tuple(c.name for (kind, c), form in pairs if kind == "text" or not form.is_plain)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the D inputs."""
        return tuple(_numbers_first(self.columns, [column.input_names for _, column in self.columns]))

    @property
    def input_columns(self) -> tuple[str, ...]:
        """Name of the column that each of the D inputs is made of.

        Example:
            >>> table = read_columns(pd.DataFrame({"pet": ["cat", "cat", "dog", "dog"], "age": [1.0, 2.0, None, 4.0]}))
            >>> table.fit().input_columns
            ('age', 'pet', 'pet', 'age')
        """
        return tuple(_numbers_first(self.columns, [[c.name] * len(c.input_names) for _, c in self.columns]))

    def encode(self, table: Table) -> Tensor:
        """Return the inputs, float32 (n, D).

        Raises:
            InputError: naming a cell that is too far from those of the fit for a float32.
        """
        inputs = self._inputs(table)
        if not all_finite(inputs):
            row, number = (int(place) for place in torch.nonzero(~torch.isfinite(inputs))[0])
            raise InputError(f"{self._too_large(table, row, number)} (row {row})")
        return inputs

    def transform(self, rows: Any) -> NewRows:
        """Return the inputs of new rows: a table, or a tensor of inputs that are encoded already.

        Raises:
            InputError: if it is neither, has no rows, or lacks a column.
        """
        if isinstance(rows, Tensor):
            return array_rows(rows, (self.num_inputs,), "float32")
        if not isinstance(rows, pd.DataFrame):
            raise InputError(f"rows must be a table with the columns used in training, got {type(rows).__name__}")
        check_some(rows)
        return self.transform_read(self.read(rows))

    def transform_read(self, table: Table) -> NewRows:
        """Return the inputs of new rows that :meth:`read` has read: that of any fold, as all read alike."""
        refused: dict[int, str] = {}
        for reading, kind in zip(table.readings, table.kinds.values(), strict=True):
            for row, text in reading.unread:
                refused.setdefault(row, f"column {reading.name!r} must hold {kind}s, got {text!r:.40}")
        if any(f"{column.name} is missing" not in column.input_names for _, column in self.columns):
            absent = np.all([missing(values) for values in table.values.values()], axis=0)
            for row in np.flatnonzero(absent).tolist():
                refused.setdefault(row, "all cells are empty")
        inputs = self._inputs(table)
        for row, number in torch.nonzero(~torch.isfinite(inputs)).tolist():
            refused.setdefault(row, self._too_large(table, row, number))
        inputs[list(refused)] = 0.0
        answered = np.ones(table.num_rows, dtype=bool)
        answered[list(refused)] = False
        remarks: dict[str, str] = {}
        for _, column in self.columns:
            values = table.values[column.name]
            said = column.remarks(values[answered])
            remarks |= {f"{column.name} {about}": f"column {column.name!r}: {text}" for about, text in said.items()}
        return NewRows(inputs, refused, remarks)

    def _inputs(self, table: Table) -> Tensor:
        """Return the inputs, float32 (n, D); not finite where a number is too far from those of the fit."""
        blocks = [[(name, k) for k in range(len(column.input_names))] for name, (_, column) in self._named(table)]
        places = {part: place for place, part in enumerate(_numbers_first(self.columns, blocks))}
        inputs = np.empty((table.num_rows, self.num_inputs), np.float32)  # torch would copy in threads, each a column
        for name, (_, column) in self._named(table):
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows is NaN
                cells = column.encode(table.values[name]).astype(np.float32)
            for k in range(cells.shape[1]):
                inputs[:, places[name, k]] = cells[:, k]
        return torch.from_numpy(inputs)

    def _named(self, table: Table) -> Iterator[tuple[str, tuple[Kind, Column]]]:
        """Yield the columns with the names of a table's."""
        return zip(table.feature_names, self.columns, strict=True)

    def _too_large(self, table: Table, row: int, number: int) -> str:
        """Say which cell is too far from those of the fit for a float32."""
        name = [column.name for kind, column in self.columns if is_numeric(kind)][number]
        return f"column {name!r} must hold numbers of the same scale as in training, got {table.values[name][row]:g}"

    def read(self, frame: pd.DataFrame) -> Table:
        """Return the fitted columns of a new raw table; others are ignored, and ``readings`` say what was not read.

        Raises:
            InputError: naming missing columns.
        """
        names = [column.name for _, column in self.columns]
        frame = named_columns(frame)
        absent = [name for name in names if name not in frame.columns]
        if absent:
            hint = nearest(absent[0], frame.columns)
            raise InputError(f"the table must have all columns used in training, but lacks {listed(absent)}{hint}")
        kinds = dict(zip(names, (kind for kind, _ in self.columns), strict=True))
        told = dict(zip(names, self.formats, strict=True))
        read = {name: read_again(frame[name], told[name]) for name in names}
        values = {name: cells for name, (cells, _) in read.items()}
        return Table(kinds, values, readings=tuple(reading for _, reading in read.values()))

    def reading_as(self, decimal: Decimal | None = None, na: Sequence[str] = ()) -> TableEncoder:
        """Return one that reads new rows of another decimal mark, or with more words for a missing cell.

        Example:
            >>> encoder = read_columns(pd.DataFrame({"a": [1.5, 2.0]})).fit()
            >>> encoder.reading_as(",").read(pd.DataFrame({"a": ["1,5"]})).values["a"].tolist()
            [1.5]
        """
        return dataclasses.replace(self, formats=tuple(form.reading_as(decimal, na) for form in self.formats))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        columns = [{"kind": kind, **dataclasses.asdict(column)} for kind, column in self.columns]
        return {"columns": columns, "formats": [form.to_dict() for form in self.formats]}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TableEncoder:
        """Return the encoder that :meth:`to_dict` described."""
        split = [(c["kind"], {k: v for k, v in c.items() if k != "kind"}) for c in fields["columns"]]
        columns = tuple((kind, column_from_dict(kind, rest)) for kind, rest in split)
        usual = [Format(kind).to_dict() for kind, _ in columns]
        formats = tuple(Format.from_dict(form) for form in fields.get("formats", usual))
        names = [column.name for _, column in columns]
        check_all("columns must be one or more with unique names", 0 < len(names) == len(set(names)), names)
        check_all("each column must have a format", len(formats) == len(columns), len(formats))
        return cls(columns, formats)


def is_numeric(kind: Kind) -> bool:
    """Say whether columns of a kind have a scaled number among their inputs."""
    return kind in ("number", "date")


def _numbers_first(columns: Sequence[tuple[Kind, Column]], parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the parts of all columns, one per input: first the leading one of each numeric column, then the rest."""
    numeric = [is_numeric(kind) for kind, _ in columns]
    first = [part[0] for part, leads in zip(parts, numeric, strict=True) if leads]
    return first + [cell for part, leads in zip(parts, numeric, strict=True) for cell in part[int(leads) :]]


def named_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with column names as strings.

    Raises:
        InputError: if two columns have the same name.
    """
    names = [str(name) for name in frame.columns]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"column names must be unique, got duplicates of {listed(twice)}")
    return frame.set_axis(names, axis=1)


def read_columns(frame: pd.DataFrame, options: ReadOptions | None = None, hint: Hint | None = None) -> Table:
    """Read the feature columns of a table (named, without target).

    Args:
        frame: the raw cells.
        options: what the user says of how they are to be read.
        hint: of the decimal mark, where a column alone does not tell.

    Raises:
        InputError: if there is no column, a column is wholly missing, holds infinities or what no encoder reads.

    Example:
        >>> table = read_columns(pd.DataFrame({"age": [20, 40], "pet": ["cat", None]}))
        >>> dict(table.kinds)
        {'age': 'number', 'pet': 'text'}
    """
    options = options or ReadOptions()
    dropped = [name for name in frame.columns if options.read.get(name) == "drop"]
    frame = frame.drop(columns=dropped)
    if frame.shape[1] == 0:
        raise InputError("the table must have at least one column besides the target")
    empty = [str(name) for name in frame.columns[frame.isna().all()]]
    if empty:
        raise InputError(
            f"every column must hold values, got only empty cells in {', '.join(map(repr, empty))}; drop them"
        )
    read = {name: read_column(frame[name], options, hint) for name in frame.columns}
    kinds = {name: reading.format.kind for name, (_, reading) in read.items() if reading.format is not None}
    values = {name: values for name, (values, _) in read.items()}
    left_out = [Reading(name, None) for name in dropped]
    table = Table(kinds, values, readings=(*(reading for _, reading in read.values()), *left_out))
    for name, kind in kinds.items():
        if kind == "text":
            _warn_identifier(name, table.values[name])
    return table


def _warn_identifier(name: str, values: Values) -> None:
    present = values[~missing(values)]
    num_distinct = len(set(present))
    if num_distinct > 20 and num_distinct > 0.9 * len(present):
        warnings.warn(
            f"column {name!r} holds {num_distinct} different strings in {len(present)} rows, like an identifier or "
            "free text: a string seen only once carries no information; drop the column",
            stacklevel=4,
        )


def _bytes(values: Values) -> bytes:
    return np.where(np.isnan(values), np.nan, values).astype("<f8").tobytes()
