"""Rows whose label is probably wrong.

Legend: ``r`` rows that are looked at, ``C`` classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from meden.data.targets import Label
from meden.diagnosis.finding import Seen
from meden.diagnosis.intervals import wilson
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.forest import forest, inputs_of
from meden.diagnosis.tables.table import FEWEST, Codes, Table
from meden.diagnosis.tables.wording import plural

FOLDS = 5
MOST_ROWS = 4_000
APART = 0.05
"""Share of mistakes in a class, suspects apart, in the mean over the classes, up to which they are told apart: where
they overlap, a surprising label is no wrong one, and nothing is said. Over the rows it would be small for a constant
answer, where a class is rare."""
FEW = 0.01
"""Share of suspects that correct tables of classes that are told apart have too, digits and spam among them."""
MANY = 0.3
"""Share of suspects in a class, in the mean over the classes, from which on they are not told apart: where nothing
tells them, half of the labels are counted as another."""


@dataclass(frozen=True)
class Suspects:
    """Rows that a forest which has not seen them is sure are of another class."""

    rows: Codes
    """By their positions in the table as it was given, the most suspect first, (s,)."""
    given: Codes
    """Class that each has, by position, (s,)."""
    likely: Codes
    """Class that it is taken for, (s,)."""
    probability: npt.NDArray[np.float64]
    """Of the class it has, (s,)."""
    expected: float
    """Wrong labels that there are by the confident joint, among the rows that were looked at."""
    num_rows: int
    """Rows that were looked at."""
    mistakes: float
    """Share of the others that the forest takes for another class, in the mean over the classes."""
    doubted: float
    """Share of suspects in a class, likewise."""

    @property
    def apart(self) -> bool:
        """Whether the classes are told apart, so that suspects mean something."""
        return self.mistakes <= APART and self.doubted <= MANY

    def to_dicts(self, classes: Sequence[Label]) -> list[dict[str, Any]]:
        """Return a mapping for each row: its position, both labels and the probability of its own."""
        columns = zip(self.rows, self.given, self.likely, self.probability, strict=True)
        return [
            {"row": int(row), "label": classes[own], "likely": classes[likely], "probability": round(float(p), 4)}
            for row, own, likely, p in columns
        ]


def suspects(table: Table) -> Suspects | None:
    """Find labels that are probably wrong, by confident learning; None where there are no classes to tell.

    A row is counted as of class j if its probability of j, from folds that it was not in, is at least the mean of those
    labelled j, and the largest of those that are. Rows whose label is another are suspects.

    Reference:
        C. G. Northcutt, L. Jiang and I. L. Chuang, Confident learning: estimating uncertainty in dataset labels, 2021.
    """
    if not table.is_classes:
        return None
    rows = table.draw(MOST_ROWS, salt=7)
    sizes = np.bincount(table.dataset.labels[rows])
    rows = rows[sizes[table.dataset.labels[rows]] >= FOLDS]
    classes, labels = np.unique(table.dataset.labels[rows], return_inverse=True)
    inputs, _ = inputs_of(table, rows)
    if len(rows) < FEWEST or len(classes) < 2 or inputs.shape[1] == 0:
        return None
    probabilities = _out_of_fold(table, inputs, labels, rows)
    if probabilities is None:
        return None
    counted, expected = confident(probabilities, labels)
    doubted = np.flatnonzero((counted >= 0) & (counted != labels))
    own = probabilities[doubted, labels[doubted]]
    order = np.argsort(own, kind="stable")
    doubted, own = doubted[order], own[order]
    others = np.setdiff1d(np.arange(len(rows)), doubted)
    wrong = probabilities[others].argmax(axis=1) != labels[others]
    sizes, left = np.bincount(labels), np.bincount(labels[others], minlength=len(classes))
    mistakes = np.where(left > 0, np.bincount(labels[others], wrong, minlength=len(classes)) / np.maximum(left, 1), 1.0)
    return Suspects(
        table.named(rows[doubted]),
        classes[labels[doubted]],
        classes[counted[doubted]],
        own,
        expected,
        len(rows),
        float(mistakes.mean()),
        float((1 - left / sizes).mean()),
    )


def _out_of_fold(
    table: Table, inputs: npt.NDArray[np.float32], labels: Codes, rows: Codes
) -> npt.NDArray[np.float64] | None:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    groups = None if table.dataset.groups is None else table.dataset.groups[rows]
    if groups is not None and len(np.unique(groups)) < FOLDS:
        return None
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    probabilities = np.zeros((len(rows), int(labels.max()) + 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # groups may hold all rows of a class
        folds = list(kind(FOLDS, shuffle=True, random_state=table.seed).split(inputs, labels, groups))
    for fit, score in folds:
        fitted = forest(table).fit(inputs[fit], labels[fit])
        probabilities[np.ix_(score, fitted.classes_)] = fitted.predict_proba(inputs[score])
    return probabilities


def confident(probabilities: npt.NDArray[np.float64], labels: Codes) -> tuple[Codes, float]:
    """Return the class that each row is counted as, -1 for none, (r,), and the expected number of wrong labels.

    Args:
        probabilities: of each class, for rows that they were not learnt from, (r, C).
        labels: 0 to C - 1, each in one row at least, (r,).

    Example:
        >>> sure = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9], [0.0, 1.0]])
        >>> counted, expected = confident(sure, np.array([0, 0, 1, 1, 0]))
        >>> counted.tolist(), round(expected, 2)
        ([0, 0, -1, 1, 1], 1.0)
    """
    num = probabilities.shape[1]
    sizes = np.bincount(labels, minlength=num)
    own = probabilities[np.arange(len(labels)), labels]
    least = np.bincount(labels, own, minlength=num) / sizes
    over = np.where(probabilities >= least, probabilities, -1.0)
    counted = np.where(over.max(axis=1) >= 0, over.argmax(axis=1), -1)
    sure = counted >= 0
    joint = np.bincount(labels[sure] * num + counted[sure], minlength=num * num).reshape(num, num).astype(np.float64)
    joint *= (sizes / np.maximum(joint.sum(axis=1), 1))[:, None]
    return counted, float(joint.sum() - np.trace(joint))


@rule("data", "warning")
def label_suspects(table: Table) -> Seen | None:
    """Labels are probably wrong, in classes that are otherwise well separated."""
    found = table.once(suspects)
    if found is None or not len(found.rows) or not found.apart:
        return None
    low, high = wilson(len(found.rows) / found.num_rows, found.num_rows)
    if low < FEW:
        return None
    classes = table.dataset.classes
    first = ", ".join(
        f"row {row} ({classes[given]!r}, probably {classes[likely]!r})"
        for row, given, likely in list(zip(found.rows, found.given, found.likely, strict=True))[:3]
    )
    return Seen(
        f"{plural(len(found.rows), 'label')} of {found.num_rows:,} {'is' if len(found.rows) == 1 else 'are'} "
        f"probably wrong; about {found.expected:.0f} are expected ({first} and more): a forest that has not seen "
        f"them confidently predicts another class, and is wrong on {100 * found.mistakes:.1f} % of the other rows "
        "(mean over the classes)",
        "Check these rows and correct them by hand; they are listed in the report and in `suspects`",
        value=len(found.rows) / found.num_rows,
        interval=(low, high),
    )
