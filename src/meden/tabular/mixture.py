"""A mixture of models that predicts: weights, a temperature, and how probabilities become labels.

Legend: ``n`` rows, ``C`` classes, ``M`` numbers to predict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden.study.decision import Decision
from meden.study.temperature import tempered
from meden.tabular.candidate import Answering, Family, RowsToAnswer, all_answers

Array = NDArray[Any]
FEWEST_ROWS, MOST_CELLS = 1_000, 20_000_000
"""Of rows that are answered at once, and of the inputs that all encoders make of them (8 bytes each)."""


@dataclass(frozen=True)
class Part:
    """What is mixed."""

    name: str
    family: Family
    weight: float
    """Of all parts; they add up to 1."""
    loss: float
    """Mean out-of-fold loss of it alone: cross-entropy in nats, or the squared error over the target's variance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """Models, what each counts, and what is made of their mean."""

    parts: tuple[Part, ...]
    """What is mixed, the largest weight first."""
    models: tuple[Answering, ...]
    """What predicts."""
    weights: tuple[float, ...]
    """Of the models; they add up to 1."""
    temperature: float = 1.0
    """What the logarithms of the probabilities are divided by."""
    decision: Decision | None = None
    """How probabilities become labels; None for numbers, and for several labels a row."""

    def answers(self, frame: pd.DataFrame) -> Array:
        """Return the answer to rows with the columns of the fit.

        Returns:
            Probabilities (n, C) or, for T labels a row, (n, T, C); or numbers (n,) or (n, M).
        """
        answers: list[Array] = []
        start, size = 0, FEWEST_ROWS
        while not answers or start < len(frame):
            rows = RowsToAnswer(frame.iloc[start : start + size])
            answers.append(self._answers(rows))
            start += size
            size = max(FEWEST_ROWS, MOST_CELLS * len(rows.frame) // max(1, rows.num_cells))
        return np.concatenate(answers)

    def _answers(self, rows: RowsToAnswer) -> Array:
        each = all_answers(self.models, rows)
        mean = np.asarray(sum(weight * one for weight, one in zip(self.weights, each, strict=True)))
        return mean if self.temperature == 1 else tempered(mean, self.temperature)
