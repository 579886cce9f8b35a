"""What an ensemble for a table is chosen from: a model for each fold, and its answers to the rows of no training.

Legend: ``n`` rows, ``C`` classes, ``M`` numbers to predict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden.data import Encoder
from meden.data.arrays import check_some
from meden.data.new_rows import NewRows, check_answered
from meden.data.tables import Table, TableEncoder

Array = NDArray[Any]
Family = Literal["network", "linear", "trees"]


class Answering(Protocol):
    """A fitted model."""

    def answers(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return probabilities (n, C), or numbers (n,) or (n, M) in the target's own units.

        Args:
            frame: rows of a table with the columns that the user gave.
        """


@dataclass(frozen=True, eq=False)
class Candidate:
    """A way to predict, with a model for each fold, fitted to its rows of ``fit`` and ``stop``.

    Attributes:
        name: what it is, such as ``"ridge 0.01"``.
        family: which kind of model.
        outputs: answers to the scored rows of all folds, one fold behind the other: probabilities (n, C), or numbers
            (n,) or (n, M) in the target's own units.
        models: one for each fold.
    """

    name: str
    family: Family
    outputs: Array
    models: tuple[Answering, ...]


@dataclass(eq=False)
class RowsToAnswer:
    """New rows of a table, read and encoded once for all models: thousands of columns take seconds to read."""

    frame: pd.DataFrame
    _tables: dict[Any, Table] = field(default_factory=dict, init=False, repr=False)
    _encoded: dict[int, tuple[Encoder, Array]] = field(default_factory=dict, init=False, repr=False)

    def table(self, encoder: Encoder) -> Table:
        """Return the rows as read by the formats of an encoder's columns."""
        inputs = encoder.inputs
        assert isinstance(inputs, TableEncoder)
        way = (tuple(column.name for _, column in inputs.columns), inputs.formats)
        if way not in self._tables:
            check_some(self.frame)
            self._tables[way] = inputs.read(self.frame)
        return self._tables[way]

    def inputs(self, encoder: Encoder) -> NDArray[np.float64]:
        """Return the inputs of an encoder, (n, D).

        Raises:
            InputError: naming rows with cells that cannot be read as what they were.
        """
        if id(encoder) not in self._encoded:
            found = self.new_rows(encoder)
            self._encoded[id(encoder)] = encoder, found.x.double().numpy()
        return self._encoded[id(encoder)][1]

    @property
    def num_cells(self) -> int:
        """How many inputs have been made of them, in all."""
        return sum(inputs.size for _, inputs in self._encoded.values())

    def new_rows(self, encoder: Encoder) -> NewRows:
        """Return the inputs of an encoder, all rows of which have an answer, and what is to be said of them."""
        assert isinstance(encoder.inputs, TableEncoder)
        found = encoder.inputs.transform_read(self.table(encoder))
        check_answered(found.refused, len(found.x))
        return found


@runtime_checkable
class AnsweringRead(Protocol):
    """A fitted model that answers rows which others have read already."""

    def answers_to(self, rows: RowsToAnswer) -> NDArray[np.float64]:
        """Return what :meth:`Answering.answers` does."""


def all_answers(models: Sequence[Answering], rows: RowsToAnswer) -> list[NDArray[np.float64]]:
    """Return the answers of several models to the same rows, which are read once.

    Args:
        models: fitted ones.
        rows: with the columns that the user gave.
    """
    return [m.answers_to(rows) if isinstance(m, AnsweringRead) else m.answers(rows.frame) for m in models]
