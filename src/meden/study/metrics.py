"""What a choice may be made by, and reported in: numbers of held-out rows whose mean over a fold is the metric there.

Where a metric is no mean over rows, each row adds the metric and its own pull on it: n times the derivative of the
metric by the row's weight. These pulls add up to 0, so that the mean is the metric exactly, and a bootstrap of the rows
has the metric's spread to first order (the infinitesimal jackknife; of the ROC AUC it is DeLong's variance).

Legend: ``n`` scored rows of a fold, ``C`` classes.

Reference:
    L. Jaeckel, The infinitesimal jackknife, 1972; E. DeLong, D. DeLong and D. Clarke-Pearson, Comparing the areas under
    two or more correlated receiver operating characteristic curves, 1988.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError, check_choice
from meden.data import Dataset, Fold
from meden.data.targets import Task
from meden.run import HeldOut
from meden.study.data_summary import DataSummary

Array = NDArray[np.float64]
MetricName = Literal[
    "loss", "accuracy", "balanced_accuracy", "roc_auc", "average_precision", "f1", "mse", "rmse", "mae", "r2"
]
OF_LABELS: tuple[MetricName, ...] = ("loss", "accuracy", "balanced_accuracy", "roc_auc", "average_precision", "f1")
OF_NUMBERS: tuple[MetricName, ...] = ("loss", "mse", "rmse", "mae", "r2")
METRICS = (*OF_LABELS, *OF_NUMBERS[1:])
OF_SEVERAL = ("loss", "accuracy", "mse")
"""Those of rows with several labels or numbers each."""
HIGHER_IS_BETTER = ("accuracy", "balanced_accuracy", "roc_auc", "average_precision", "f1", "r2")
SHARES = ("accuracy", "balanced_accuracy")
"""Metrics that are shares of 1, and read in percent."""
RANGES: Mapping[str, tuple[float, float]] = {
    name: (-np.inf if name == "r2" else 0.0, 1.0 if name in HIGHER_IS_BETTER else np.inf) for name in METRICS
}
"""What each metric can be."""
UNITS = {"classification": "nats", "regression": "half squared error", "losses": "the function's own unit"}
"""Of losses, by task."""

_SPOKEN = {"roc_auc": "ROC AUC", "f1": "F1 (macro)", "mse": "MSE", "rmse": "RMSE", "mae": "MAE", "r2": "R2"}


def spoken(metric: str) -> str:
    """Return a metric as people write it.

    Example:
        >>> spoken("roc_auc"), spoken("balanced_accuracy")
        ('ROC AUC', 'balanced accuracy')
    """
    return _SPOKEN.get(metric, metric.replace("_", " "))


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of a fold's scored rows."""

    labels: NDArray[Any]
    """Positions of classes, or numbers, (n,)."""
    num_classes: int = 0
    """0 for numbers."""
    weights: Array | None = None
    """What each row counts, (n,); None for 1 each."""
    variance: float = 0.0
    """Of the numbers of all scored rows, of other folds too."""

    @property
    def counted(self) -> Array:
        """What each row counts, (n,)."""
        return np.ones(len(self.labels)) if self.weights is None else self.weights


def fitting(task: Task, labels: NDArray[Any]) -> tuple[MetricName, ...]:
    """Return the metrics that fit a target, (n,) or (n, M)."""
    if task == "losses":
        return ("loss",)
    fit = OF_LABELS if task == "classification" else OF_NUMBERS
    several = labels.ndim > 1 and labels.shape[1] > 1
    return tuple(metric for metric in fit if metric in OF_SEVERAL) if several else fit


def check_metric(metric: str, dataset: Dataset | DataSummary, folds: Sequence[Fold] | None = None) -> None:
    """Check that a metric is known, fits the target, and can be told in one of the folds at least.

    Raises:
        InputError: if it does not; it lists those that do.
    """
    check_choice("metric", metric, METRICS)
    if metric not in (allowed := fitting(dataset.task, dataset.labels)):
        several = " with several labels or numbers per row" if allowed not in (OF_LABELS, OF_NUMBERS, ("loss",)) else ""
        raise InputError(f"metric must be one of {', '.join(allowed)} for {dataset.task}{several}, got {metric!r}")
    if folds is not None and not any(is_defined(metric, truth) for truth in truths_of(dataset, folds)):
        missing = "different numbers" if metric == "r2" else "rows of two classes"
        raise InputError(
            f"metric {metric!r} must have {missing} among the scored rows of a fold, got none in {len(folds)} folds"
        )


def truths_of(dataset: Dataset | DataSummary, folds: Sequence[Fold]) -> list[Truth]:
    """Return what is true of the scored rows of each fold, (F,)."""
    rows = np.concatenate([fold.score for fold in folds])
    weights = dataset.weights
    variance = 0.0
    if not dataset.classes and dataset.labels.size == dataset.num_rows:
        variance = variance_of(
            dataset.labels[rows].astype(np.float64).ravel(), None if weights is None else weights[rows]
        )
    return [
        Truth(
            dataset.labels[fold.score],
            len(dataset.classes),
            None if weights is None else weights[fold.score],
            variance,
        )
        for fold in folds
    ]


def is_defined(metric: str, truth: Truth) -> bool:
    """Say whether a metric can be told of some rows: the ROC AUC needs two classes, whatever a model says."""
    if metric == "r2":
        return truth.variance > 0
    if metric not in ("roc_auc", "average_precision"):
        return True
    present = np.bincount(truth.labels, truth.counted, truth.num_classes) > 0
    return bool(np.count_nonzero(present) > 1)


def of_rows(metric: MetricName, told: HeldOut, truth: Truth) -> Array:
    """Return what each scored row of a fold adds to a metric, (n,): the mean over them is the metric of the fold.

    - ``loss``, ``accuracy`` and ``mse`` are means of the rows' own, by their weights.
    - ``balanced_accuracy``, ``roc_auc``, ``average_precision``, ``f1``, ``rmse`` and ``mae`` are scikit-learn's numbers
      on the fold, with the rows' weights; the mean over classes where there are more than two (each against the rest),
      and for F1 always. Classes that the fold lacks do not count; the positive class of two is the second.
    - ``r2`` measures squared errors in the variance of the labels of all folds, so that folds of little variance do not
      count more than others.

    Args:
        metric: which.
        told: by the model; NaN of a model that diverged is NaN here.
        truth: of these rows.

    Returns:
        NaN too where the metric is not defined: see :func:`is_defined`.

    Example:
        >>> right, probabilities = np.array([1.0, 1, 0, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
        >>> told = HeldOut(np.zeros(4, np.float32), right, probabilities)
        >>> of_rows("roc_auc", told, Truth(np.array([0, 0, 0, 1]), 2)).mean().item()
        1.0
    """
    losses, scores = told.losses.astype(np.float64), told.scores
    if metric in ("loss", "accuracy", "mse"):
        own = losses if metric == "loss" else scores
        return own if truth.weights is None else _share(own, truth.weights)
    if not is_defined(metric, truth) or np.isnan(scores).any():
        return np.full(len(scores), np.nan)
    if metric == "r2":
        return 1 - scores / truth.variance
    weights = truth.counted
    if metric == "rmse":
        return _root(scores, weights)
    if metric == "mae":
        return _share(weights * np.abs(told.outputs.ravel() - truth.labels.ravel()), weights)
    if metric == "balanced_accuracy":
        classes = np.flatnonzero(np.bincount(truth.labels, weights))
        return _mean(_share(scores * (truth.labels == c), weights * (truth.labels == c)) for c in classes)
    return _of_outputs(metric, told.outputs, truth.labels, weights)


def _of_outputs(metric: MetricName, outputs: NDArray[np.floating[Any]], labels: NDArray[Any], weights: Array) -> Array:
    """Return what rows add to a metric of the classes' probabilities (n, C)."""
    num_classes = outputs.shape[1]
    if metric == "f1":
        said = outputs.argmax(axis=1)
        each = [(weights * (labels == c), weights * (said == c)) for c in range(num_classes)]
        return _mean(_share(2 * np.minimum(true, own), true + own) for true, own in each if (true + own).any())
    one = _area if metric == "roc_auc" else _precision
    present = [1] if num_classes == 2 else np.flatnonzero(np.bincount(labels, weights))
    return _mean(one(outputs[:, c], labels == c, weights) for c in present)


def _mean(parts: Iterable[Array]) -> Array:
    mean: Array = np.mean(list(parts), axis=0)
    return mean


def _share(parts: Array, wholes: Array) -> Array:
    """Return what rows add to sum(parts) / sum(wholes)."""
    share = parts.sum() / wholes.sum()
    added: Array = share + (parts - share * wholes) / wholes.mean()
    return added


def _root(squares: Array, weights: Array) -> Array:
    """Return what rows add to the root of the mean of squares, which have their weights in them."""
    mean = squares.sum() / weights.sum()
    if mean == 0:
        return squares
    root = np.sqrt(mean)
    added: Array = root + (squares - mean * weights) / weights.mean() / (2 * root)
    return added


def _area(scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_], weights: Array) -> Array:
    """Return what rows add to the ROC AUC: placement values, the share of the other class that a row is right about.

    Ties count half.
    """
    level = np.unique(scores, return_inverse=True)[1]
    hits, others = np.bincount(level, weights * positive), np.bincount(level, weights * ~positive)
    below, above = np.cumsum(others) - others / 2, hits.sum() - np.cumsum(hits) + hits / 2
    placement = np.where(positive, below[level] / others.sum(), above[level] / hits.sum())
    area = (hits @ below) / hits.sum() / others.sum()
    size = np.where(positive, hits.sum(), others.sum())
    added: Array = area + len(scores) * weights * (placement - area) / size
    return added


def _precision(scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_], weights: Array) -> Array:
    """Return what rows add to the average precision, the mean over positives of the precision at their own threshold.

    A row moves the precision at every threshold below its score, besides adding its own.
    """
    level = np.unique(-scores, return_inverse=True)[1]  # the highest score first
    hits, every = np.bincount(level, weights * positive), np.bincount(level, weights)
    taken = np.cumsum(every)
    precision = np.divide(np.cumsum(hits), taken, out=np.zeros_like(taken), where=taken > 0)
    average = (hits @ precision) / hits.sum()
    moved = np.divide(hits, taken, out=np.zeros_like(taken), where=taken > 0)
    later, lost = (np.cumsum(part[::-1])[::-1] for part in (moved, moved * precision))
    own = np.where(positive, precision[level] - average + later[level], 0.0) - lost[level]
    added: Array = average + len(scores) * weights * own / hits.sum()
    return added


def variance_of(labels: Array, weights: Array | None = None) -> float:
    """Return the mean squared difference of numbers (n,) from their mean, times the rows' weights."""
    squares = (labels - np.average(labels, weights=weights)) ** 2
    return float(np.mean(squares if weights is None else weights * squares))
