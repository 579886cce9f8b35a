"""The encoder: what was learnt from the fitting rows, and nothing else, to turn raw rows into tensors and back."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from meden._fields import damaged
from meden._shown import Pair, Shown
from meden.data.arrays import ArrayEncoder
from meden.data.columns import Values
from meden.data.frames import as_pandas
from meden.data.labels import LabelColumn
from meden.data.new_rows import NewRows, check_answered
from meden.data.numerals import Decimal
from meden.data.tables import TableEncoder
from meden.data.targets import ClassCodec, Label, Predictions, TargetCodec, target_from_dict

_INPUTS: dict[str, type[TableEncoder] | type[ArrayEncoder]] = {"table": TableEncoder, "arrays": ArrayEncoder}


@dataclasses.dataclass(frozen=True, repr=False)
class Encoder(Shown):
    """Fitted by :meth:`meden.data.Dataset.fit_encoder`; saved with the model as JSON.

    Columns of a table: numbers and booleans are standardised, missing ones take the median and raise an indicator;
    strings and categories become one input per level (the 50 most frequent, seen twice or more; the others share
    one); dates become the standardised day and their phases in year, week and day. Numeric targets of a table are
    standardised. Arrays and their targets pass as they are.

    Example:
        >>> from meden.data import as_dataset
        >>> iris = as_dataset("iris")
        >>> encoder = iris.fit_encoder(range(100))
        >>> iris.features(encoder, [0, 149]).shape, iris.targets(encoder, [0, 149])
        (torch.Size([2, 4]), tensor([0, 2]))
        >>> Encoder.from_dict(encoder.to_dict()) == encoder
        True
    """

    inputs: TableEncoder | ArrayEncoder
    target: TargetCodec
    label: LabelColumn = dataclasses.field(default_factory=LabelColumn)
    """The column of the target, in rows where it is known."""

    @property
    def num_inputs(self) -> int:
        """Inputs D of a row."""
        return self.inputs.num_inputs

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, (D,)."""
        return self.inputs.input_names

    @property
    def input_columns(self) -> tuple[str, ...]:
        """Name of the original column that each input is made of, (D,): of its levels, its phases, its indicator."""
        return self.inputs.input_columns

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Columns to pass as ``as_text`` when new rows are read from a file: strings, and numbers with units."""
        return self.inputs.text_columns if isinstance(self.inputs, TableEncoder) else ()

    def _pairs(self) -> Iterable[Pair]:
        yield "inputs", self.num_inputs
        yield "of", self.inputs
        yield "target", self.target

    def transform(self, rows: Any) -> NewRows:
        """Return inputs of new rows, which of them have no answer, and what is to be said of their columns.

        Args:
            rows: a table of raw columns, of which those that the fit did not know are ignored; or an array or tensor of
                inputs (n, ...).

        Raises:
            InputError: if there are no rows, they have another shape, or a column is missing.
        """
        return self.inputs.transform(as_pandas(rows))

    def transform_frame(self, frame: pd.DataFrame) -> Tensor:
        """Return inputs of new raw rows, float32 (n, D); columns that the fit did not know are ignored.

        Warns, naming the column, about strings that have no level of their own, missing values where the fit had none,
        and numbers far outside of the fitted range.

        Raises:
            InputError: if there are no rows, a column is missing, or naming rows with cells that cannot be read as what
                they were.
        """
        found = self.transform(frame)
        check_answered(found.refused, len(found.x))
        for remark in found.remarks.values():
            warnings.warn(remark, stacklevel=2)
        return found.x

    def reading_as(self, decimal: Decimal | None = None, na: Sequence[str] = ()) -> Encoder:
        """Return one that reads new rows of a table by another decimal mark, or with more words for a missing cell."""
        if not isinstance(self.inputs, TableEncoder):
            return self
        label = self.label.reading_as(decimal, na)
        return dataclasses.replace(self, inputs=self.inputs.reading_as(decimal, na), label=label)

    @property
    def classes(self) -> tuple[Label, ...]:
        """Labels of the classes, in the order of their probabilities; empty for regression."""
        return self.target.classes if isinstance(self.target, ClassCodec) else ()

    def labels(self, cells: Any) -> Values:
        """Return the target of new rows that have one, read as in training.

        Args:
            cells: of its column (n,); or numbers (n, M).

        Returns:
            Positions in :attr:`classes`, int64 (n,); or numbers in the user's units, float64.

        Raises:
            InputError: naming cells that are missing, are no numbers, or hold labels that training did not have.
        """
        return self.label.read(cells, self.classes)

    def decode(self, outputs: Tensor) -> Predictions:
        """Return predictions in the user's labels or units, of raw network outputs (n, C) or (n, M)."""
        return self.target.decode(outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form; numbers survive JSON exactly."""
        kind = next(name for name, known in _INPUTS.items() if isinstance(self.inputs, known))
        return {
            "inputs": {"kind": kind, **self.inputs.to_dict()},
            "target": dataclasses.asdict(self.target),
            "label": self.label.to_dict(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Encoder:
        """Return the encoder that :meth:`to_dict` described.

        Raises:
            Damaged: an InputError, if the form is not one that :meth:`to_dict` gives.
        """
        with damaged("encoder must be a dictionary from to_dict()"):
            inputs = _INPUTS[fields["inputs"]["kind"]].from_dict(fields["inputs"])
            label = LabelColumn.from_dict(fields["label"]) if "label" in fields else LabelColumn()
            return cls(inputs, target_from_dict(fields["target"]), label)
