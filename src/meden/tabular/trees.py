"""Trees of a table beside networks: boosted ones, and an average of very random ones.

Legend: ``n`` rows, ``P`` columns, ``D`` inputs, ``C`` classes, ``M`` numbers to predict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from meden.data import Dataset, Encoder, Fold
from meden.data.fitted import Column, TextColumn
from meden.data.tables import Table, TableEncoder
from meden.deadline import NEVER, Deadline, now
from meden.noise import derive
from meden.tabular.candidate import Candidate, RowsToAnswer
from meden.tabular.network import scaled_for
from meden.tabular.scored import counting, training_rows

Array = NDArray[Any]
MOST_ROWS_FOR_MANY = 50_000
"""Rows beyond which there are no extremely randomised trees."""
NUM_TREES, FEWEST_TREES, RANDOM_LEAF = 300, 100, 2
"""Of extremely randomised trees: how many of a thousand rows or less, of many more; and rows of a leaf at least for
classes (for numbers 1)."""
MOST_BYTES, NODE_BYTES = 10**8, 64
"""Of extremely randomised trees of a fold: where one of them says that all would take more, leaves hold more rows. And
of a node, without its answer."""
RATE, MOST_RATE, MOST_BOOSTED_LEAF = 0.05, 0.2, 20
"""Of boosted trees: what each counts, at most where they are fewer than usual, and rows of a leaf at least where there
are many rows."""
LEAST = 0.25
"""Share of the usual trees below which a kind is left out."""
LEAVES, LEAVES_OF_MANY, MANY = 15, 31, 5_000
"""Of a boosted tree, at most; the second for so many rows or more."""
FEWEST, USUAL, MOST = 10, 150, 500
"""Boosted trees (of each class): at least, of a thousand rows without others that say how many, at most."""
TRIALS, SAFE = (0.005, 0.02, 0.06), 1.1
"""Shares of the trees that show how long all take, tried while there is time, and how much longer it may be."""


class Part(NamedTuple):
    """Rows that train, or stop."""

    x: Array
    """(n, P) or (n, D)"""
    y: Array
    """(n,) or (n, M)"""
    weights: Array | None
    """(n,)"""


@dataclass(frozen=True, eq=False)
class Columns:
    """What trees are grown on, as a fold's training rows say.

    Attributes:
        encoder: of the fold, of all columns: so that what a new row must hold is what it must for other models.
        coded: whether a text is the position of its level, NaN if it has none, and a number is as it is; else the
            columns are the inputs of a network, with one for each level.
        names: of the columns that are looked at; None is all.

    Example:
        >>> from meden.data import as_dataset
        >>> frame = pd.DataFrame({"pet": ["cat", "dog"] * 2, "age": [1.0, 2.0, None, 4.0], "y": [0, 1, 0, 1]})
        >>> dataset = as_dataset(frame, target="y")
        >>> columns = Columns(dataset.fit_encoder(range(4)), coded=True)
        >>> columns.of(dataset.inputs).tolist(), columns.are_levels
        ([[0.0, 1.0], [1.0, 2.0], [0.0, nan], [1.0, 4.0]], [True, False])
    """

    encoder: Encoder
    coded: bool
    names: frozenset[str] | None = None

    @property
    def _fitted(self) -> TableEncoder:
        assert isinstance(self.encoder.inputs, TableEncoder)
        return self.encoder.inputs

    @property
    def _own(self) -> list[Column]:
        return [column for _, column in self._fitted.columns if self.names is None or column.name in self.names]

    @property
    def are_levels(self) -> list[bool]:
        """Which of coded columns are texts, (P,)."""
        return [isinstance(column, TextColumn) for column in self._own]

    def of(self, table: Table) -> Array:
        """Return the columns (n, P), or inputs (n, D), of a table with the encoder's columns."""
        if not self.coded:
            return self._chosen(self._fitted.encode(table).numpy())
        return np.column_stack([coded(column, table.values[column.name]) for column in self._own])

    def _chosen(self, inputs: Array) -> Array:
        """Return the inputs of the columns that are looked at."""
        if self.names is None:
            return inputs
        return inputs[:, [name in self.names for name in self._fitted.input_columns]]

    def new(self, rows: RowsToAnswer) -> Array:
        """Return those of new rows.

        Raises:
            InputError: naming rows with cells that cannot be read as what they were.
        """
        inputs = rows.inputs(self.encoder)
        return self.of(rows.table(self.encoder)) if self.coded else self._chosen(inputs).astype(np.float32)


def coded(column: Column, values: Array) -> Array:
    """Return numbers as they are, and texts as the positions of their levels, float64 (n,); NaN where there is none."""
    if not isinstance(column, TextColumn):
        return np.asarray(values, dtype=np.float64)
    places = pd.Index(column.levels, dtype=object).get_indexer(pd.Index(values, dtype=object))
    return np.where(places < 0, np.nan, places)


@dataclass(frozen=True, eq=False)
class TreesModel:
    """Trees of one fold.

    Attributes:
        columns: what they are grown on.
        estimators: of scikit-learn: one, or one for each of M numbers, which are standardised for them.
        shape: of an answer: (C,), (M,), or () for one number.
        prior: shares of the classes (C,), which count as one more answer beside ``votes``; empty for numbers.
        votes: answers that a probability is the mean of; infinite where it is none.
    """

    columns: Columns
    estimators: tuple[Any, ...]
    shape: tuple[int, ...]
    prior: Array
    votes: float

    def answers(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Return probabilities (n, C), or numbers (n,) or (n, M) in the target's own units."""
        return self.answers_to(RowsToAnswer(frame))

    def answers_to(self, rows: RowsToAnswer) -> NDArray[np.float64]:
        """Return the same of rows that other models may have read already."""
        return self.answers_of(self.columns.new(rows))

    def answers_of(self, x: Array) -> NDArray[np.float64]:
        """Return the same of columns (n, P) or inputs (n, D)."""
        if not len(self.prior):
            numbers = np.column_stack([one.predict(x) for one in self.estimators])
            decoded = self.columns.encoder.target.decode(torch.from_numpy(numbers)).values
            return np.asarray(decoded, dtype=np.float64).reshape(len(x), *self.shape)
        (model,) = self.estimators
        full = np.zeros((len(x), *self.shape))
        full[:, model.classes_] = model.predict_proba(x)
        return full + (self.prior - full) / (self.votes + 1)


Grow = Callable[[Dataset, Fold, Columns, int, float], TreesModel]
"""Makes trees of a fold on columns, from a seed: a share of those that it usually makes."""


def tree_candidates(
    dataset: Dataset,
    folds: Sequence[Fold],
    *,
    seed: int,
    deadline: Deadline | None = None,
    few: Mapping[str, Sequence[frozenset[str]]] = MappingProxyType({}),
) -> list[Candidate]:
    """Return trees of a table: boosted (on histograms, texts as categories), and extremely randomised.

    How many are boosted the rows of a fold's stop split say, if it has one; these then train, too.

    Args:
        dataset: a table; of classes of several labels a row there are no candidates.
        folds: the models train on the rows of ``fit`` and ``stop``.
        seed: 0 or more.
        deadline: after which no fit begins. Each kind may take an equal part of the time that is left: of one that is
            likely to need longer, by what some of its trees take, there are fewer trees (boosted ones then count more
            each), or none if it were less than a quarter. A kind that does not cover all folds is left out.
        few: columns of each fold, chosen without its scored rows, by what chose them: there are trees of these, too.

    Returns:
        At most one of each kind and choice of columns.

    Example:
        >>> from meden.data import as_dataset, make_folds
        >>> iris = as_dataset("iris")
        >>> [candidate.name for candidate in tree_candidates(iris, make_folds(iris, 2, seed=0), seed=0)]
        ['extra trees', 'boosted trees']

    References:
        J. H. Friedman, Greedy function approximation: a gradient boosting machine, 2001.
        P. Geurts, D. Ernst and L. Wehenkel, Extremely randomized trees, 2006.
    """
    from threadpoolctl import threadpool_limits

    deadline = deadline or NEVER
    if not isinstance(dataset.inputs, Table) or (dataset.task == "classification" and dataset.labels.ndim > 1):
        return []
    dataset = scaled_for("mlp", dataset)
    kinds: dict[str, tuple[Grow, bool]] = {"extra trees": (random_trees, False), "boosted trees": (boosted_trees, True)}
    if dataset.num_rows > MOST_ROWS_FOR_MANY:
        del kinds["extra trees"]
    encoders = [dataset.fit_encoder(training_rows(fold)) for fold in folds]
    choices: dict[str, Sequence[frozenset[str] | None]] = {f" of {name}": few[name] for name in few}
    choices[""] = [None] * len(folds)
    found: list[Candidate] = []
    left = len(choices) * len(kinds)
    with threadpool_limits(1):  # threads of several fits would wait for each other
        for choice, names in choices.items():
            for kind, (grow, are_coded) in kinds.items():
                columns = [Columns(encoder, are_coded, own) for encoder, own in zip(encoders, names, strict=True)]
                part = deadline if deadline == NEVER else Deadline.after(max(0.0, deadline.seconds_left()) / left)
                left -= 1
                models = grown(grow, dataset, folds, columns, derive(seed, kind), part)
                if models is not None:
                    scored = [
                        m.answers_of(m.columns.of(rows_of(dataset, f.score)))
                        for m, f in zip(models, folds, strict=True)
                    ]
                    found.append(Candidate(kind + choice, "trees", np.concatenate(scored), tuple(models)))
    return found


def grown(
    grow: Grow, dataset: Dataset, folds: Sequence[Fold], columns: Sequence[Columns], seed: int, deadline: Deadline
) -> list[TreesModel] | None:
    """Return trees of each fold, fewer than usual if need be; None if there is no time for a quarter of them."""
    if deadline.passed():
        return None
    share = 1.0
    if deadline != NEVER:
        share = affordable(grow, dataset, folds[0], columns[0], lambda: deadline.seconds_left() / len(folds))
    if share < LEAST:
        return None
    models: list[TreesModel] = []
    for number, (fold, own) in enumerate(zip(folds, columns, strict=True)):
        if deadline.passed():
            return None
        models.append(grow(dataset, fold, own, derive(seed, number) % 2**32, share))
    return models


def affordable(grow: Grow, dataset: Dataset, fold: Fold, columns: Columns, seconds_left: Callable[[], float]) -> float:
    """Return the share of the usual trees of a fold, at most 1, that there is time for by what some of them take."""
    tried: list[tuple[float, float]] = [(0.0, 0.0)]
    for share in TRIALS:
        if tried[-1][1] > seconds_left():
            break
        began = now()
        grow(dataset, fold, columns, 0, share)
        tried.append((share, now() - began))
    (first, before), (last, took) = tried[-2:]
    each = max(0.0, took - before) / (last - first)
    each = min(each, took / last)  # what precedes the trees takes no less than nothing
    spare = seconds_left() / SAFE - took
    return min(1.0, last + spare / each) if each > 0 else float(spare > 0)


def random_trees(dataset: Dataset, fold: Fold, columns: Columns, seed: int, share: float) -> TreesModel:
    """Return extremely randomised trees of a fold."""
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    part = part_of(dataset, columns, training_rows(fold))
    usual = float(np.clip(NUM_TREES * 1000 / len(part.x), FEWEST_TREES, NUM_TREES))
    num_trees = math.ceil(share * usual)
    classifies = dataset.task == "classification"  # whose leaves of one row would be too sure of their class
    kind = ExtraTreesClassifier if classifies else ExtraTreesRegressor

    def fitted(num_trees: int, leaf: int) -> Any:
        model = kind(n_estimators=num_trees, min_samples_leaf=leaf, random_state=seed, n_jobs=1)
        return model.fit(part.x, part.y, sample_weight=part.weights)

    leaf = RANDOM_LEAF if classifies else 1
    node = NODE_BYTES + 8 * int(np.prod(shape_of(dataset), dtype=int))
    needed = usual * node * fitted(1, leaf).estimators_[0].tree_.node_count
    model = fitted(num_trees, math.ceil(leaf * max(1.0, needed / MOST_BYTES)))
    return TreesModel(columns, (model,), shape_of(dataset), prior(dataset, part), num_trees)


def boosted_trees(dataset: Dataset, fold: Fold, columns: Columns, seed: int, share: float) -> TreesModel:
    """Return boosted trees of a fold."""
    from sklearn.dummy import DummyClassifier

    whole, fit = (part_of(dataset, columns, rows) for rows in (training_rows(fold), fold.fit))
    stop = part_of(dataset, columns, fold.stop) if len(fold.stop) else None
    shape, classifies = shape_of(dataset), dataset.task == "classification"
    if classifies and len(np.unique(fit.y)) < 2:
        model = DummyClassifier(strategy="prior").fit(whole.x, whole.y, whole.weights)
        return TreesModel(columns, (model,), shape, prior(dataset, whole), np.inf)
    models, rate = [], min(RATE / share, MOST_RATE)
    for number in range(1 if classifies else int(np.prod(shape, dtype=int))):
        own, first, later = (
            part if part is None or part.y.ndim == 1 else part._replace(y=part.y[:, number])
            for part in (whole, fit, stop)
        )
        assert own is not None and first is not None
        rounds = (
            math.ceil(share * usual_rounds(len(own.x)))
            if later is None
            else rounds_of(boosted(first, math.ceil(share * MOST), rate, columns, classifies, seed), later)
        )
        models.append(boosted(own, rounds, rate, columns, classifies, seed))
    return TreesModel(columns, tuple(models), shape, prior(dataset, whole), np.inf)


def boosted(part: Part, rounds: int, rate: float, columns: Columns, classifies: bool, seed: int) -> Any:
    """Return so many boosted trees (of each class), each of which counts by a rate, fitted to rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
    model = kind(
        learning_rate=rate,
        max_iter=rounds,
        max_leaf_nodes=LEAVES if len(part.x) < MANY else LEAVES_OF_MANY,
        min_samples_leaf=int(np.clip(len(part.x) // 100, 2, MOST_BOOSTED_LEAF)),
        max_features=0.5,
        categorical_features=columns.are_levels,
        early_stopping=False,
        random_state=seed,
    )
    return model.fit(part.x, part.y, sample_weight=part.weights)


def usual_rounds(num_rows: int) -> int:
    """Return how many trees are boosted where no rows say it: more rows bear more.

    Example:
        >>> [usual_rounds(num_rows) for num_rows in (200, 1000, 8000, 1_000_000)]
        [150, 150, 300, 500]
    """
    return int(min(MOST, USUAL * max(1.0, num_rows / 1000) ** (1 / 3) + 1e-9))


def rounds_of(model: Any, stop: Part) -> int:
    """Return how many of a model's trees do best on rows of a stop split."""
    if hasattr(model, "classes_"):
        known = np.isin(stop.y, model.classes_)
        places = np.searchsorted(model.classes_, stop.y[known])
        told = (found[known][np.arange(len(places)), places] for found in model.staged_predict_proba(stop.x))
        losses = [-np.log(np.maximum(share, 1e-12)) for share in told]
        weights = None if stop.weights is None else stop.weights[known]
        if not known.any():
            return max(FEWEST, usual_rounds(len(stop.x)) * int(model.n_iter_) // MOST)
    else:
        losses, weights = [(stop.y - found) ** 2 for found in model.staged_predict(stop.x)], stop.weights
    return max(FEWEST, 1 + int(np.argmin([np.average(each, weights=weights) for each in losses])))


def rows_of(dataset: Dataset, rows: Array) -> Table:
    """Return some rows of a table."""
    assert isinstance(dataset.inputs, Table)
    return dataset.inputs.take(rows)


def part_of(dataset: Dataset, columns: Columns, rows: Array) -> Part:
    """Return those of some rows that count."""
    rows = counting(dataset, rows)
    weights = None if dataset.weights is None else dataset.weights[rows]
    weights = None if weights is None or not weights.any() else weights
    labels = dataset.labels[rows]
    if dataset.task != "classification":  # whose unit and distance from 0 must not say where trees stop
        labels = columns.encoder.target.encode(labels).numpy()
    return Part(columns.of(rows_of(dataset, rows)), labels, weights)


def shape_of(dataset: Dataset) -> tuple[int, ...]:
    """Return the shape of an answer: (C,), (M,) or ()."""
    return (dataset.num_outputs,) if dataset.task == "classification" else dataset.labels.shape[1:]


def prior(dataset: Dataset, part: Part) -> Array:
    """Return the shares of the classes (C,); nothing for numbers."""
    if dataset.task != "classification":
        return np.empty(0)
    counts = np.bincount(part.y, part.weights, dataset.num_outputs)
    return np.asarray(counts / counts.sum())
