"""The target: classes or numbers, how the task is inferred from the values, and outputs turned back into answers.

Legend: ``n`` rows, ``C`` classes, ``M`` outputs of a regression.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from meden._checks import BadCells, InputError, check_choice
from meden._fields import check_all, checked_fields
from meden._shown import ShownFields
from meden.data.columns import Values, canonical, kind_of
from meden.data.fitted import standardisation
from meden.data.numerals import Hint, is_mark, is_plain, tell_numerals
from meden.data.reading import (
    READABLE,
    Format,
    Reading,
    ReadOptions,
    cells_named,
    merges,
    read_column,
    reading_of_labels,
    without,
)
from meden.data.texts import Texts, texts_of

Task = Literal["classification", "regression", "losses"]
"""Of the last, nothing is known but the losses of rows."""
TASKS = ("classification", "regression")
Label = str | bool | int | float

IGNORED = -100
"""The class number of a token that does not count, as in :func:`torch.nn.functional.cross_entropy`."""
MOST_CLASSES = 2**20
"""Of class numbers (n, T), which are logits' places and not labels: larger numbers are surely something else."""
LARGEST, SMALLEST = 1e150, 1e-150
"""Range of numbers that are to be predicted: their squares are finite, and not 0."""
LARGEST_RAW, SMALLEST_RAW = 1e18, 1e-15
"""The same of numbers that are not standardised, and squared in single precision."""
MAX_WHOLE_CLASSES = 20
"""Whole numbers with at most this many distinct values, each twice on average, are taken as classes."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Target(ShownFields):
    """A whole target, read.

    Attributes:
        name: its name.
        task: ``"classification"`` or ``"regression"``.
        classes: the labels in sorted order, as Python scalars; empty for regression.
        labels: int64 (n,), positions in ``classes``; int64 (n, T), those of the T tokens of a row, -100 for one that
            does not count; or float64, (n,) or (n, M), for regression.

    Raises:
        InputError: if numbers are too large or differ by too little, see :func:`check_range`.
    """

    name: str
    task: Task
    classes: tuple[Label, ...]
    labels: Values
    reading: Reading | None = None
    """How its cells were read; None where they came as numbers or codes."""

    def __post_init__(self) -> None:
        if self.task == "regression":
            check_range(self.name, self.labels, SMALLEST, LARGEST)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictions(ShownFields):
    """Answers in the user's labels and units.

    Attributes:
        values: labels (n,), or numbers (n,) or (n, M); None or NaN for a row without an answer.
        classes: the labels of the columns of ``probabilities``; empty for regression.
        probabilities: float64 (n, C), NaN for a row without an answer; (n, 0) for regression.
    """

    values: Values
    classes: tuple[Label, ...]
    probabilities: Values

    def without(self, rows: Iterable[int]) -> Predictions:
        """Return them with nothing, None or NaN, for some rows."""
        gone = list(rows)
        if not gone:
            return self
        values = self.values.astype(np.float64 if not self.classes else object)
        values[gone] = None if self.classes else np.nan
        probabilities = self.probabilities.copy()
        probabilities[gone] = np.nan
        return Predictions(values, self.classes, probabilities)

    def frame(self) -> pd.DataFrame:
        """Return a table: ``prediction`` (``prediction_0``, ... for several outputs), then ``p_<label>`` per class."""
        columns = self.values.reshape(len(self.values), -1)
        names = ["prediction"] if columns.shape[1] == 1 else [f"prediction_{i}" for i in range(columns.shape[1])]
        named = {name: columns[:, i] for i, name in enumerate(names)}
        return pd.DataFrame(named | {f"p_{c}": self.probabilities[:, i] for i, c in enumerate(self.classes)})


@dataclasses.dataclass(frozen=True)
class ClassCodec:
    """Class positions, int64 (n,); outputs are logits.

    Example:
        >>> found = ClassCodec(("bad", "good")).decode(torch.tensor([[0.0, 2.0], [1.0, 1.0]]))
        >>> found.values.tolist(), found.probabilities.round(2).tolist()
        (['good', 'bad'], [[0.12, 0.88], [0.5, 0.5]])
    """

    classes: tuple[Label, ...]

    def encode(self, labels: Values) -> Tensor:
        """Return the positions as they are."""
        return torch.as_tensor(labels, dtype=torch.int64)

    def weigh(self, y: Tensor, weights: Tensor) -> Tensor:
        """Return positions (n, ...) as zeros and the row's weight (n,) at the position, float32 (n, ..., C)."""
        counted = weights.view(-1, *[1] * (y.ndim - 1)) * (y != IGNORED)
        return one_hot(y.clamp(min=0), len(self.classes)) * counted.unsqueeze(-1)

    def decode(self, outputs: Tensor) -> Predictions:
        """Return the most probable labels and all probabilities."""
        if outputs.ndim != 2 or outputs.shape[1] != len(self.classes):
            raise InputError(f"outputs must have shape (n, {len(self.classes)}), got {tuple(outputs.shape)}")
        probabilities = outputs.detach().cpu().double().softmax(dim=1).numpy()
        labels = np.asarray(self.classes, dtype=object if isinstance(self.classes[0], str) else None)
        return Predictions(labels[probabilities.argmax(axis=1)], self.classes, probabilities)


@dataclasses.dataclass(frozen=True)
class NumberCodec:
    """(label - mean) / std, float32 of the labels' shape; outputs are in the same standardised units.

    Example:
        >>> codec = NumberCodec(mean=10.0, std=2.0)
        >>> codec.decode(codec.encode(np.array([12.0, 6.0]))[:, None]).values.tolist()
        [12.0, 6.0]
    """

    mean: float
    std: float

    def encode(self, labels: Values) -> Tensor:
        """Standardise."""
        return torch.as_tensor((labels - self.mean) / self.std, dtype=torch.float32)

    def weigh(self, y: Tensor, weights: Tensor) -> Tensor:
        """Return pairs (number, the row's weight), float32 (n, M, 2), of numbers (n,) or (n, M) and weights (n,)."""
        return paired(y, weights)

    def decode(self, outputs: Tensor) -> Predictions:
        """Return to the user's units; a single output column is returned as (n,)."""
        values = outputs.detach().cpu().double().numpy() * self.std + self.mean
        numbers = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
        return Predictions(numbers, (), np.empty((len(numbers), 0)))


@dataclasses.dataclass(frozen=True)
class NumbersCodec:
    """(label - mean) / std of each of M numbers, float32 (n, M); outputs are in the same standardised units.

    Losses and scores stay in those units: the numbers may be of different kinds, and are added up there.

    Example:
        >>> codec = NumbersCodec(mean=(10.0, 0.0), std=(2.0, 1.0))
        >>> codec.decode(codec.encode(np.array([[12.0, 3.0]]))).values.tolist()
        [[12.0, 3.0]]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def encode(self, labels: Values) -> Tensor:
        """Standardise each column."""
        return torch.as_tensor((labels - np.array(self.mean)) / np.array(self.std), dtype=torch.float32)

    def weigh(self, y: Tensor, weights: Tensor) -> Tensor:
        """Return pairs (number, the row's weight), float32 (n, M, 2), of numbers (n, M) and weights (n,)."""
        return paired(y, weights)

    def decode(self, outputs: Tensor) -> Predictions:
        """Return to the user's units, (n, M)."""
        values = outputs.detach().cpu().double().numpy() * np.array(self.std) + np.array(self.mean)
        return Predictions(values, (), np.empty((len(values), 0)))


def paired(y: Tensor, weights: Tensor) -> Tensor:
    """Return numbers (n,) or (n, M) with weights (n,) beside each, (n, M, 2)."""
    numbers = y.reshape(len(y), -1)
    return torch.stack([numbers, weights[:, None].expand_as(numbers)], dim=-1)


TargetCodec = ClassCodec | NumberCodec | NumbersCodec


def fit_target(target: Target, labels: Values, *, standardise: bool) -> TargetCodec:
    """Fit a codec on the labels of the fitting rows; the classes are those of the whole target."""
    if target.task == "classification":
        return ClassCodec(target.classes)
    if not standardise:
        return NumberCodec(mean=0.0, std=1.0)
    if labels.ndim > 1:
        each = [_number_codec(column) for column in labels.T]
        return NumbersCodec(tuple(codec.mean for codec in each), tuple(codec.std for codec in each))
    return _number_codec(labels)


def _number_codec(labels: Values) -> NumberCodec:
    mean, scale = standardisation(labels)
    return NumberCodec(mean, 1.0 / scale if scale > 0 else 1.0)


def target_from_dict(fields: Mapping[str, Any]) -> TargetCodec:
    """Return the codec whose ``dataclasses.asdict`` gave ``fields``."""
    if "classes" in fields:
        codec = ClassCodec(**checked_fields(ClassCodec, fields))
        kinds = {isinstance(label, str) for label in codec.classes}
        right = len(set(codec.classes)) == len(codec.classes) > 0 and len(kinds) == 1
        check_all("classes must be one or more, unique, and all strings or none", right, codec.classes)
        return codec
    kind = NumberCodec if isinstance(fields["mean"], float | int) else NumbersCodec
    numbers = kind(**checked_fields(kind, fields))
    means, stds = np.atleast_1d(numbers.mean), np.atleast_1d(numbers.std)
    right = len(means) == len(stds) > 0 and bool(
        np.isfinite(means).all() and np.isfinite(stds).all() and (stds > 0).all()
    )
    check_all("mean and std must be finite, std above 0", right, fields)
    return numbers


def read_target(
    column: pd.Series[Any],
    name: str,
    *,
    task: str | None = None,
    options: ReadOptions | None = None,
    hint: Hint | None = None,
) -> Target:
    """Read a target column (n,).

    Without ``task`` it is classification if the values are strings, booleans or pandas categories, or whole numbers
    (whatever their type) with at most 20 distinct values and at least two rows per value on average; else regression.
    Strings that are numbers with a decimal comma, a unit or the like are numbers.

    Args:
        column: the raw cells.
        name: of the target.
        task: ``"classification"`` or ``"regression"``.
        options: what the user says of how cells are to be read.
        hint: of the decimal mark, where the target alone does not tell.

    Raises:
        InputError: if values are missing, infinite, dates or all the same, if strings should be regressed, or naming
            cells that are no numbers among numbers.

    Example:
        >>> read_target(pd.Series([3, 5, 5, 3]), "stars").classes
        (3, 5)
        >>> read_target(pd.Series([3, 5, 5, 3]), "stars", task="regression").labels.tolist()
        [3.0, 5.0, 5.0, 3.0]
    """
    if task is not None:
        check_choice("task", task, TASKS)
    options = options or ReadOptions()
    asked = options.read.get(name)
    if asked in ("date", "drop"):
        raise InputError(f"read of the target {name!r} must be number or category, got {asked!r}")
    categorical = isinstance(column.dtype, pd.CategoricalDtype) or asked == "category"
    cells = without(column.rename(name), options.na)
    check_complete(cells.isna().to_numpy(dtype=bool), name)
    values, numeric, reading = _label_values(cells, name, task, options, hint)
    if reading.format is not None:
        marks = tuple(dict.fromkeys((*reading.format.marks, *options.na)))
        reading = dataclasses.replace(reading, format=dataclasses.replace(reading.format, marks=marks))
    distinct, positions = np.unique(values, return_inverse=True)
    if len(distinct) < 2:
        raise InputError(f"target {name!r} must have at least two different values, got only {as_label(distinct[0])!r}")
    if task == "regression" and not numeric:
        raise InputError(f"target {name!r} must hold numbers for task='regression', got {as_label(distinct[0])!r}")
    categorical = categorical or values.dtype == bool
    if task == "classification" or (task is None and (categorical or not numeric or _few_whole(distinct, len(values)))):
        labels = tuple(as_label(v) for v in distinct)
        return Target(name, "classification", labels, positions.astype(np.int64), reading)
    return Target(name, "regression", (), values.astype(np.float64), reading)


def read_class_numbers(numbers: Tensor, name: str) -> Target:
    """Read the class numbers of rows with several each, int64 (n, T), such as the next token of each token.

    They are the places of a model's logits, and so the classes are all numbers up to the largest; -100 does not count.

    Raises:
        InputError: if a number is none of a class, or there are not two of them.

    Example:
        >>> read_class_numbers(torch.tensor([[2, 0], [0, -100]]), "next").classes
        (0, 1, 2)
    """
    counted = numbers[numbers != IGNORED]
    low, high = (int(end) for end in counted.aminmax()) if counted.numel() else (IGNORED, IGNORED)
    if not 0 <= low < high < MOST_CLASSES:
        raise InputError(
            f"target {name!r} with several integers per row must hold at least two classes in [0, "
            f"{MOST_CLASSES - 1}] ({IGNORED} where none counts; numbers to predict must be floating point), got "
            f"{low} to {high}"
        )
    return Target(name, "classification", tuple(range(high + 1)), numbers.long().numpy())


def check_range(name: str, labels: Values, smallest: float, largest: float) -> None:
    """Check that the squares of numbers (n, ...), and of what they differ by, are finite and not 0.

    Raises:
        InputError: naming the number that is too large, or all of which differ by too little.
    """
    farthest = labels.flat[np.abs(labels).argmax()]
    if abs(farthest) > largest:
        raise BadCells(
            f"target {name!r} must hold numbers up to {largest:g}, got {farthest:g}; choose a larger unit, "
            "or standardise them",
            np.flatnonzero((np.abs(labels) > largest).reshape(len(labels), -1).any(axis=1)),
        )
    spread = np.abs(labels - labels[:1]).max()
    if 0 < spread < smallest:
        raise InputError(
            f"target {name!r} must hold numbers that differ by at least {smallest:g}, got at most {spread:g}; "
            "choose a smaller unit, or standardise them"
        )


def check_complete(absent: Values, name: str) -> None:
    """Check that no cell of a target is missing.

    Raises:
        BadCells: naming the first row that is, of those that ``absent`` (n,) marks.
    """
    if absent.any():
        raise BadCells(
            f"target {name!r} must have a value in every row, got {int(absent.sum())} missing of {len(absent)}; "
            f"leave those rows out of the table; the first is row {int(absent.argmax())}",
            np.flatnonzero(absent),
        )


def _label_values(
    column: pd.Series[Any], name: str, task: str | None, options: ReadOptions, hint: Hint | None
) -> tuple[Values, bool, Reading]:
    """Return the values in sortable form (numbers, booleans or strings), whether they can be regressed, and how."""
    asked = options.read.get(name)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object).infer_objects()
    texts = None if asked == "category" or task == "classification" else texts_of(column)
    if texts is not None and _are_numbers(texts, name, wanted=asked == "number" or task == "regression"):
        asked_number = dataclasses.replace(options, read={name: "number"})
        values, reading = read_column(column, asked_number, hint)
        return values, True, reading
    labels = (canonical(column, "text"), False, reading_of_labels(column))
    if asked == "category":
        return labels
    kind = kind_of(column)
    if kind == "number" and not merges(column):
        return canonical(column, "number"), True, Reading(name, Format("number"))
    if kind == "boolean":
        return canonical(column, "boolean").astype(bool), True, Reading(name, Format("boolean"))
    if kind == "date" and pd.api.types.infer_dtype(column, skipna=True) != "string":
        raise InputError(f"target {column.name!r} must hold labels or numbers, got dates")
    return labels


def _are_numbers(texts: Texts, name: str, *, wanted: bool) -> bool:
    """Say whether texts are the numbers of a regression, or labels; refuse a few other cells among numbers.

    Raises:
        InputError: naming those cells.
    """
    every = texts.counts
    cells = {text: count for text, count in every.items() if not is_mark(text)}
    told = tell_numerals(cells)
    few = len(every) <= MAX_WHOLE_CLASSES and 2 * len(every) <= len(texts.codes)
    if told.share == 0 or (few and not wanted and all(map(is_plain, every))):
        return False
    odd = {text for text in cells if told.numerals.read(text) is None}
    wrong = odd | (every.keys() - cells.keys())
    if not wrong:
        return True
    labels = told.share < READABLE or (odd and min(every[text] for text in odd) > 1) if few else told.share < 0.5
    if labels and not wanted:
        return False
    found = texts.rows(wrong)
    raise BadCells(
        f"target {name!r} must hold numbers, as in most rows, got {cells_named(found)}; "
        f"correct them or leave the rows out, or read {name!r} as category if they are labels",
        [row for row, _ in found],
    )


def _few_whole(distinct: Values, num_rows: int) -> bool:
    whole = distinct.dtype == bool or bool((distinct == np.round(distinct)).all())
    return whole and len(distinct) <= min(MAX_WHOLE_CLASSES, num_rows // 2)


def as_label(value: Any) -> Label:
    """Return a label as the Python scalar that stands for it in files: whole numbers are integers."""
    if isinstance(value, (np.bool_, bool)):
        return bool(value)
    if isinstance(value, (np.number, int, float)):
        return int(value) if float(value).is_integer() else float(value)
    return str(value)
