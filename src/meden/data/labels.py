"""The target's column in new rows, read as in training, so that it can be compared with what a model predicts.

Legend: ``n`` rows, ``M`` numbers to predict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from meden._checks import InputError
from meden._fields import check_all
from meden.data.columns import Values, missing
from meden.data.numerals import Decimal
from meden.data.reading import Format, cells_named, read_again
from meden.data.targets import Label, check_complete

SHOWN = 8
"""Labels that a message lists."""


@dataclasses.dataclass(frozen=True)
class LabelColumn:
    """What is known of the target's column.

    Example:
        >>> LabelColumn("pet", Format("text")).read(pd.Series(["dog", " cat"]), ("cat", "dog")).tolist()
        [1, 0]
    """

    name: str = "target"
    format: Format | None = None
    """How its cells are read; None where they came as numbers or codes."""

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Its name, if its cells must be read as they stand in a file."""
        return () if self.format is None or (self.format.kind != "text" and self.format.is_plain) else (self.name,)

    def read(self, cells: Any, classes: Sequence[Label]) -> Values:
        """Return positions in ``classes``, int64 (n,); or numbers, float64 (n,) or (n, M), if there are none.

        Raises:
            InputError: naming cells that are missing, are no numbers, or hold labels that training did not have.
        """
        if np.ndim(cells) > 1 and not classes:
            return self._checked_numbers(np.asarray(cells, dtype=np.float64))
        column = pd.Series(cells).reset_index(drop=True).rename(self.name)
        told = self.format or Format("text" if any(isinstance(label, str) for label in classes) else "number")
        values, reading = read_again(column, told)
        if reading.unread:
            raise InputError(
                f"target {self.name!r} must hold {told.kind}s, as in training, got {cells_named(reading.unread)}; "
                "correct them, or leave those rows out"
            )
        check_complete(missing(values), self.name)
        return self._positions(values, told, classes) if classes else values.astype(np.float64)

    def reading_as(self, decimal: Decimal | None = None, na: Sequence[str] = ()) -> LabelColumn:
        """Return one that is read by another decimal mark, or with more words for a missing cell."""
        told = self.format and self.format.reading_as(decimal, na)
        return dataclasses.replace(self, format=told)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {"name": self.name, "format": None if self.format is None else self.format.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the column that :meth:`to_dict` described."""
        check_all("name must be a text", isinstance(fields["name"], str), fields["name"])
        return cls(fields["name"], None if fields["format"] is None else Format.from_dict(fields["format"]))

    def _checked_numbers(self, values: Values) -> Values:
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise InputError(
                f"target {self.name!r} must hold finite numbers in every row, got another value in row {row}"
            )
        return values

    def _positions(self, values: Values, told: Format, classes: Sequence[Label]) -> Values:
        kind = object if told.kind == "text" else np.float64
        found = pd.Index(np.array(classes, dtype=kind)).get_indexer(pd.Index(values.astype(kind)))
        unknown = np.flatnonzero(found < 0)
        if unknown.size:
            known = ", ".join(map(repr, classes[:SHOWN])) + (", ..." if len(classes) > SHOWN else "")
            cells = [(int(row), str(values[row]) if kind is object else f"{values[row]:g}") for row in unknown]
            raise InputError(
                f"target {self.name!r} must hold only labels seen in training ({known}), got {cells_named(cells)}; "
                "leave those rows out, or train again on rows that have them"
            )
        positions: Values = found.astype(np.int64)
        return positions
