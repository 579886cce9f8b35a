"""Linear models of a table, along paths of strengths over all folds at once, and the best of each kind.

Legend: ``n`` rows, ``D`` inputs, ``C`` classes, ``M`` numbers to predict, ``K`` scores or numbers of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden.data import Dataset, Encoder, Fold
from meden.data.tables import Table, TableEncoder
from meden.deadline import NEVER, Deadline
from meden.tabular.candidate import Candidate, RowsToAnswer
from meden.tabular.linear.losses import CrossEntropy, probabilities
from meden.tabular.linear.smooth import Logistic, Ridge
from meden.tabular.linear.sparse import Lasso, SparseLogistic
from meden.tabular.network import scaled_for
from meden.tabular.scored import Scored, counting, training_rows

Array = NDArray[Any]
NUM_STRENGTHS, DECADES = 24, 5
FEW = 0.5
"""Of the columns: models that look at no more have chosen among them."""
STEPS_AFTER, MARGIN = 3, 0.02
"""A path ends when so many strengths in a row are worse than the best by more than this part of it, ..."""
STEPS_FLAT, GAIN = 5, 0.002
"""... or when so many have not made it better by this part."""
BESIDE = 1
"""Strengths on each side of the best that are candidates, too."""
MOST_NUMBERS = 1.5e8
"""Inputs of the rows of all folds beyond which there are no candidates: they would not fit into memory."""
MOST_DIRECTIONS = 2500
"""Inputs or rows, whichever are fewer, beyond which there are none: it would take minutes."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What was learnt of a fold's training rows to make standardised inputs."""

    encoder: Encoder
    center: Array
    """(D,)"""
    scale: Array
    """One over the standard deviation, (D,); 0 for what does not vary."""

    @classmethod
    def of(cls, encoder: Encoder, x: Array, shares: Array) -> Inputs:
        """Return that of encoded inputs x (n, D) of rows with weights (n,) that add up to 1."""
        center = shares @ x
        spread = np.sqrt(shares @ (x - center) ** 2)
        varies = spread > 1e-7 * np.maximum(np.abs(x).max(axis=0), 1e-30)
        return cls(encoder, center, np.where(varies, 1 / np.where(varies, spread, 1.0), 0.0))

    def standardised(self, x: Array) -> Array:
        """Return encoded inputs (n, D) standardised."""
        return (x - self.center) * self.scale


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A linear model of one fold.

    Attributes:
        inputs: that it is linear in.
        weights: (D, K).
        intercept: (K,).
        present: of classes, the positions of those that the fold trained on; empty for numbers.
        shape: of an answer: (C,), (M,), or () for one number.
    """

    inputs: Inputs
    weights: Array
    intercept: Array
    present: Array
    shape: tuple[int, ...]

    @property
    def columns(self) -> frozenset[str]:
        """Names of the columns that it looks at."""
        assert isinstance(self.inputs.encoder.inputs, TableEncoder)
        names = self.inputs.encoder.inputs.input_columns
        return frozenset(names[place] for place in np.flatnonzero(self.weights.any(axis=1)))

    def answers(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return probabilities (n, C), or numbers (n,) or (n, M) in the target's own units."""
        return self.answers_to(RowsToAnswer(frame))

    def answers_to(self, rows: RowsToAnswer) -> NDArray[np.float64]:
        """Return the same of rows that other models may have read already."""
        return self.answers_of(self.inputs.standardised(rows.inputs(self.inputs.encoder)))

    def answers_of(self, x: Array) -> NDArray[np.float64]:
        """Return the same of standardised inputs (n, D)."""
        scores = x @ self.weights + self.intercept
        if not len(self.present):
            return np.asarray(scores.reshape(len(x), *self.shape))
        full = np.zeros((len(x), *self.shape))
        full[:, self.present] = probabilities(scores) if len(self.present) > 1 else 1.0
        return full


class Solver(Protocol):
    """Finds the linear model of a fold for one strength after the other, from strong to weak."""

    strongest: float

    def solve(self, strength: float) -> tuple[Array, Array]:
        """Return weights (D, K) and intercepts (K,)."""


@dataclass(frozen=True, eq=False)
class FoldRows:
    """A fold's rows, encoded and standardised by what its training rows show."""

    inputs: Inputs
    x: Array
    """Of the training rows that count, (n, D)."""
    labels: Array
    shares: Array
    """Their weights, (n,), which add up to 1."""
    scored: Array
    """Inputs of the scored rows."""
    shape: tuple[int, ...]

    @classmethod
    def of(cls, dataset: Dataset, fold: Fold) -> FoldRows:
        """Encode a fold's rows."""
        encoder = dataset.fit_encoder(training_rows(fold))
        rows = counting(dataset, training_rows(fold))
        x, scored = (dataset.features(encoder, part).double().numpy() for part in (rows, fold.score))
        weights = None if dataset.weights is None else dataset.weights[rows]
        weights = np.ones(len(rows)) if weights is None or not weights.any() else weights
        shares = weights / weights.sum()
        inputs = Inputs.of(encoder, x, shares)
        labels = dataset.labels[rows]
        shape = (dataset.num_outputs,) if dataset.task == "classification" else labels.shape[1:]
        return cls(inputs, inputs.standardised(x), labels, shares, inputs.standardised(scored), shape)


class FoldPath:
    """Linear models of one kind of one fold."""

    def __init__(self, rows: FoldRows) -> None:
        self.rows = rows
        self.present: Array = np.empty(0, dtype=np.int64)
        self._unit, self._middle = np.ones(1), np.zeros(1)

    def numbers(self, make: Callable[[Array, Array, Array], Solver]) -> FoldPath:
        """Prepare to predict numbers, standardised."""
        y = self.rows.labels.reshape(len(self.rows.labels), -1)
        self._middle = self.rows.shares @ y
        spread = np.sqrt(self.rows.shares @ (y - self._middle) ** 2)
        self._unit = np.where(spread > 0, spread, 1.0)
        self.solver: Solver | None = make(self.rows.x, (y - self._middle) / self._unit, self.rows.shares)
        return self

    def classes(self, make: Callable[[Array, CrossEntropy], Solver]) -> FoldPath:
        """Prepare to predict the classes that are present."""
        self.present, labels = np.unique(self.rows.labels, return_inverse=True)
        several = len(self.present) > 1
        loss = CrossEntropy.of(labels, len(self.present), self.rows.shares) if several else None
        self.solver = None if loss is None else make(self.rows.x, loss)
        return self

    def model(self, strength: float) -> LinearModel:
        """Return the model of a strength."""
        if self.solver is None:
            weights, intercept = np.zeros((self.rows.x.shape[1], 1)), np.zeros(1)
        else:
            weights, intercept = self.solver.solve(strength)
        moved = intercept * self._unit + self._middle
        return LinearModel(self.rows.inputs, weights * self._unit, moved, self.present, self.rows.shape)


KINDS: dict[str, Callable[[FoldRows], FoldPath]] = {
    "ridge": lambda rows: FoldPath(rows).numbers(Ridge),
    "lasso": lambda rows: FoldPath(rows).numbers(Lasso),
    "logistic": lambda rows: FoldPath(rows).classes(Logistic),
    "few inputs": lambda rows: FoldPath(rows).classes(SparseLogistic),
}


def linear_candidates(dataset: Dataset, folds: Sequence[Fold], *, deadline: Deadline | None = None) -> list[Candidate]:
    """Return linear models of a table: of each kind that of the best strength, and those of the strengths beside it.

    The kinds are ridge regression and lasso for numbers (the latter for one number a row), logistic regression with
    strength * 1/2 sum of w^2 and with strength * the sum over inputs of the norm of their weights for classes.
    Inputs are encoded and standardised by the training rows of each fold. Paths go from strong to weak, and end where
    the out-of-fold loss has turned up.

    Args:
        dataset: a table; of classes of several labels a row there are no candidates.
        folds: the models train on the rows of ``fit`` and ``stop``.
        deadline: when paths end with what there is, the strongest of the first kind at least.

    Returns:
        At most three of each kind, the best first, named by kind and strength: in units of the mean loss, which for
        numbers is half the squared error in standard deviations.

    Example:
        >>> from meden.data import as_dataset, make_folds
        >>> iris = as_dataset("iris")
        >>> found = linear_candidates(iris, make_folds(iris, 2, seed=0))
        >>> sorted({candidate.name.split(" 0")[0] for candidate in found}), found[0].outputs.shape
        (['few inputs', 'logistic'], (150, 3))
    """
    deadline = deadline or NEVER
    if not isinstance(dataset.inputs, Table) or (dataset.task == "classification" and dataset.labels.ndim > 1):
        return []
    dataset = scaled_for("linear", dataset)
    rows: list[FoldRows] = []
    for fold in folds:
        rows.append(FoldRows.of(dataset, fold))
        if is_too_large(rows[-1], len(folds)):
            return []
    scored = Scored.of(dataset, folds)
    names = ["logistic", "few inputs"] if dataset.task == "classification" else ["ridge", "lasso"]
    if dataset.num_outputs > 1 and dataset.task == "regression":
        names.remove("lasso")
    found: list[Candidate] = []
    for name in names:
        if not (found and deadline.passed()):
            found += path_candidates(name, rows, scored, deadline)
    return found


def few_columns(candidates: Sequence[Candidate], dataset: Dataset) -> dict[str, list[frozenset[str]]]:
    """Return the columns that sparse linear models of each fold look at, by candidate.

    Left out are candidates that look at more than half of the columns in a fold, or at none.
    """
    found = {}
    for candidate in candidates:
        own = [model.columns for model in candidate.models if isinstance(model, LinearModel)]
        if all(0 < len(columns) <= FEW * len(dataset.feature_names) for columns in own):
            found[candidate.name] = own
    return found


def is_too_large(rows: FoldRows, num_folds: int) -> bool:
    """Say whether paths would take too much memory or time."""
    numbers = (len(rows.x) + len(rows.scored)) * rows.x.shape[1] * num_folds
    return bool(numbers > MOST_NUMBERS or min(rows.x.shape) > MOST_DIRECTIONS)


def path_candidates(name: str, rows: Sequence[FoldRows], scored: Scored, deadline: Deadline) -> list[Candidate]:
    """Return the best of one kind's path."""
    paths = [KINDS[name](each) for each in rows]
    strongest = max((path.solver.strongest for path in paths if path.solver is not None), default=0.0)
    strongest = strongest if strongest > 0 else 1.0  # nothing varies: the answer is constant at any strength
    strengths = np.geomspace(strongest, strongest * 10.0**-DECADES, NUM_STRENGTHS)
    found, losses = list[Candidate](), list[float]()
    for strength in strengths.tolist():
        models: list[LinearModel] = []
        for path in paths:
            if found and deadline.passed():
                break
            models.append(path.model(strength))
        if len(models) < len(paths):
            break
        outputs = np.concatenate([m.answers_of(each.scored) for m, each in zip(models, rows, strict=True)])
        found.append(Candidate(f"{name} {strength:.3g}", "linear", outputs, tuple(models)))
        losses.append(scored.loss(outputs))
        if has_turned(losses):
            break
    return [found[place] for place in best_places(losses)]


def has_turned(losses: Sequence[float]) -> bool:
    """Say whether a path's losses have clearly turned up, or no longer change.

    Example:
        >>> has_turned([1.0, 0.5, 0.6, 0.7]), has_turned([1.0, 0.5, 0.6, 0.7, 0.8]), has_turned([1.0, 0.9, 0.8])
        (False, True, False)
    """
    best = int(np.argmin(losses))
    if len(losses) - 1 - best >= STEPS_AFTER and min(losses[-STEPS_AFTER:]) > losses[best] * (1 + MARGIN):
        return True
    before = losses[:-STEPS_FLAT]
    return best > 0 and bool(before) and bool(min(before) * (1 - GAIN) <= losses[best])


def best_places(losses: Sequence[float]) -> list[int]:
    """Return the place of the least loss, and those beside it.

    Example:
        >>> best_places([3.0, 1.0, 2.0, 4.0]), best_places([1.0, 2.0]), best_places([])
        ([1, 0, 2], [0, 1], [])
    """
    if not losses:
        return []
    best = int(np.argmin(losses))
    beside = [best + side * distance for distance in range(1, BESIDE + 1) for side in (-1, 1)]
    return [best, *(place for place in beside if 0 <= place < len(losses))]
