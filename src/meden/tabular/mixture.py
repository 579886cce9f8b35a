"""A mixture of models that predicts: weights, a temperature, and how probabilities become labels.

Legend: ``n`` rows, ``C`` classes, ``M`` numbers to predict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden._shown import ShownFields
from meden.study.decision import Decision
from meden.study.temperature import tempered
from meden.tabular.candidate import Answering, Family, RowsToAnswer, all_answers

Array = NDArray[Any]
FEWEST_ROWS, MOST_CELLS = 1_000, 20_000_000
"""Of rows that are answered at once, and of the inputs that all encoders make of them (8 bytes each)."""


@dataclass(frozen=True, repr=False)
class Part(ShownFields):
    """One part of a mixture: a kind of model."""

    name: str
    family: Family
    weight: float
    """Weight in the mixture; the weights of all parts add up to 1."""
    loss: float
    """Mean out-of-fold loss of this part alone: cross-entropy in nats, or the squared error divided by the target's
    variance."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Mixture(ShownFields):
    """A weighted mixture of models, with its temperature and decision rule."""

    parts: tuple[Part, ...]
    """The parts of the mixture, the largest weight first."""
    models: tuple[Answering, ...]
    """The models that predict."""
    weights: tuple[float, ...]
    """Weights of the models; they add up to 1."""
    temperature: float = 1.0
    """Temperature that divides the logarithms of the probabilities."""
    decision: Decision | None = None
    """How probabilities become labels; None for numbers and for several labels per row."""

    def answers(self, frame: pd.DataFrame) -> Array:
        """Return the predictions for rows that have the columns of the fit.

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
