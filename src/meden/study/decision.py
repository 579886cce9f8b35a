"""How probabilities become labels, by what an answer is judged by.

Legend: ``n`` rows, ``C`` classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meden._checks import InputError, check_choice
from meden.run import HeldOut
from meden.study.metrics import OF_LABELS, MetricName, Truth, of_rows

Array = NDArray[np.float64]
ADDED_ROWS = 5.0
"""Added to each class's rows where classes count alike: one of two rows would be named for rows by chance."""
POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the balancing factors, that F1 is tried at."""
STEPS = (0.5, 0.7, 1.0, 1.4, 2.0)
"""By which the factor of one class is then moved."""


@dataclass(frozen=True)
class Decision:
    """How probabilities become labels: the largest, times a factor of its class; or the least expected cost."""

    factors: tuple[float, ...]
    """Factor of each class, (C,), above 0."""
    costs: tuple[tuple[float, ...], ...] | None = None
    """Cost of predicting a class (column) for a row of another (row), (C, C); None uses the factors."""

    def support(self, probabilities: Array) -> Array:
        """Return the support for each class, (n, C); the predicted label has the largest."""
        found: Array = (
            probabilities * np.array(self.factors) if self.costs is None else -(probabilities @ np.array(self.costs))
        )
        return found

    def labels(self, probabilities: Array) -> NDArray[np.int64]:
        """Return the positions of the classes that are named, (n,); the first of equal ones.

        Args:
            probabilities: (n, C).

        Example:
            >>> Decision((1.0, 3.0)).labels(np.array([[0.7, 0.3], [0.8, 0.2]])).tolist()
            [1, 0]
            >>> Decision((1.0, 1.0), ((0.0, 1.0), (9.0, 0.0))).labels(np.array([[0.8, 0.2], [0.95, 0.05]])).tolist()
            [1, 0]
        """
        return np.asarray(self.support(probabilities).argmax(axis=1))


def decision_for(
    metric: MetricName,
    probabilities: Array,
    labels: NDArray[np.int64],
    weights: Array | None = None,
    costs: ArrayLike | None = None,
) -> Decision:
    """Return the decision that suits a metric, by rows that the probabilities were not fitted on.

    - ``loss``, ``accuracy``, ``roc_auc`` and ``average_precision``: the most probable class.
    - ``balanced_accuracy``: the largest of the probabilities over the classes' shares (:func:`balancing`), which is
      best where probabilities are right.
    - ``f1``, the mean over classes: of the most probable class, the above, and what lies between them, the one
      of the highest F1; then one class's factor after the other, where that gains more than two standard errors.
    - with ``costs``, whatever the metric: the label of the least expected cost.

    Args:
        metric: one of those of labels.
        probabilities: (n, C).
        labels: positions of the true classes, (n,).
        weights: what each row counts, (n,); None for 1 each.
        costs: of naming a class (column) for a row of another (row), (C, C).

    Raises:
        InputError: if the metric is not of labels, or costs are not those of C classes.

    Example:
        >>> probabilities = np.full((200, 2), [0.7, 0.3])
        >>> decision_for("balanced_accuracy", probabilities, np.arange(200) // 150).labels(probabilities[:2]).tolist()
        [1, 1]

    Reference:
        C. Elkan, The foundations of cost-sensitive learning, 2001; A. Menon, H. Narasimhan, S. Agarwal and S. Chawla,
        On the statistical consistency of algorithms for binary classification under class imbalance, 2013 (balanced
        accuracy); S. Parambath, N. Usunier and Y. Grandvalet, Optimizing F-measures by cost-sensitive classification,
        2014 (F1 is best at some costs of the classes).
    """
    check_choice("metric", metric, OF_LABELS)
    num_classes = probabilities.shape[1]
    plain = Decision((1.0,) * num_classes)
    if costs is not None:
        return Decision(plain.factors, tuple(tuple(row) for row in check_costs(costs, num_classes).tolist()))
    if metric not in ("balanced_accuracy", "f1"):
        return plain
    balanced = balancing(labels, num_classes, weights)
    if metric == "balanced_accuracy":
        return Decision(tuple(balanced.tolist()))
    return _for_f1(probabilities, Truth(labels, num_classes, weights), balanced)


def balancing(labels: NDArray[np.int64], num_classes: int, weights: Array | None = None) -> Array:
    """Return factors by which classes count alike, (C,): one over their shares, to each of which five rows are added.

    By the plain shares a class of two rows would be named for a great part of all rows, as its probabilities err by as
    much as they are; of many rows five change nothing.

    Example:
        >>> balancing(np.array([0] * 95 + [1] * 5), 2).round(2).tolist()
        [0.55, 5.5]
    """
    totals = np.bincount(labels, weights, num_classes) + ADDED_ROWS
    factors: Array = totals.sum() / num_classes / totals
    return factors


def check_costs(costs: ArrayLike, num_classes: int) -> Array:
    """Return a matrix of costs, (C, C).

    Raises:
        InputError: if it is not finite numbers of at least 0 in C rows of C, of which the right label costs the least.
    """
    try:
        found = np.asarray(costs, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"costs must be numbers (true class, predicted class), got {costs!r:.80}") from None
    if found.shape != (num_classes, num_classes):
        raise InputError(
            f"costs must have a row and a column for each of {num_classes} classes, got shape {found.shape}"
        )
    if not (np.isfinite(found).all() and (found >= 0).all()):
        bad = found[~(np.isfinite(found) & (found >= 0))][0]
        raise InputError(f"costs must be finite numbers of at least 0, got {bad:g}")
    wrong = np.argwhere(found < found.diagonal()[:, None])
    if len(wrong):
        true, named = wrong[0]
        raise InputError(
            f"costs must be lowest for the true class, got {found[true, named]:g} for predicting class {named} and "
            f"{found[true, true]:g} for predicting class {true} where class {true} is true"
        )
    return found


def _for_f1(probabilities: Array, truth: Truth, balanced: Array) -> Decision:
    def told(factors: Array) -> Array:
        nothing = np.zeros(len(probabilities))
        return of_rows("f1", HeldOut(nothing.astype(np.float32), nothing, probabilities * factors), truth)

    tried = [balanced**power for power in POWERS]
    factors = max(tried, key=lambda factors: told(factors).mean())
    rows = told(factors)
    for place in range(len(factors)) if len(factors) > 2 else (1,):
        moved = [factors * np.where(np.arange(len(factors)) == place, step, 1.0) for step in STEPS if step != 1]
        of_moved = [told(factors) for factors in moved]
        best = int(np.argmax([rows.mean() for rows in of_moved]))
        gain = of_moved[best] - rows
        if gain.mean() > 2 * gain.std() / np.sqrt(truth.counted.sum()):
            factors, rows = moved[best], of_moved[best]
    return Decision(tuple(factors.tolist()))
