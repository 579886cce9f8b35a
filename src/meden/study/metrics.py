"""What a choice may be made by, and reported in: numbers of held-out rows whose mean is the metric.

Legend: ``M`` configurations, ``n`` scored rows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError, check_choice
from meden.data import Dataset
from meden.study.data_summary import DataSummary

Array = NDArray[np.float64]
MetricName = Literal["loss", "accuracy", "balanced_accuracy", "mse", "r2"]
METRICS = ("loss", "accuracy", "balanced_accuracy", "mse", "r2")
FIT = {"classification": ("loss", "accuracy", "balanced_accuracy"), "regression": ("loss", "mse", "r2")}
SHARES = ("accuracy", "balanced_accuracy")
"""Metrics that are shares of 1, and read in percent."""
UNITS = {"classification": "nats", "regression": "half squared error"}
"""Of losses, by task."""
HIGHER_IS_BETTER = ("accuracy", "balanced_accuracy", "r2")


def check_metric(metric: str, dataset: Dataset | DataSummary) -> None:
    """Check that a metric is known and fits the task.

    Raises:
        InputError: if it does not; ``r2`` needs a single number as target.
    """
    check_choice("metric", metric, METRICS)
    if metric not in FIT[dataset.task]:
        allowed = ", ".join(FIT[dataset.task])
        raise InputError(f"metric must be one of {allowed} for {dataset.task}, got {metric!r}")
    if metric == "r2" and dataset.labels.ndim > 1 and dataset.labels.shape[1] > 1:
        raise InputError(f"metric 'r2' must have a single number as target, got {dataset.labels.shape[1]}")


def of_rows(metric: MetricName, losses: Array, scores: Array, labels: Array, weights: Array | None = None) -> Array:
    """Return what each row adds to a metric, (M, n): the mean over all rows is the metric itself.

    Args:
        metric: which.
        losses: (M, n), data losses, times the rows' weights.
        scores: (M, n), whether rows are right, or their squared errors, times the rows' weights.
        labels: (n,) classes or numbers. ``balanced_accuracy`` weighs each class alike, ``r2`` measures squared errors
            in the variance of these labels.
        weights: (n,); None for 1 each.

    Example:
        >>> right, labels = np.array([[1.0, 1.0, 1.0, 0.0]]), np.array([0, 0, 0, 1])
        >>> of_rows("balanced_accuracy", 1 - right, right, labels).mean().item()
        0.5
    """
    if metric == "loss":
        return losses
    if metric == "balanced_accuracy":
        _, position = np.unique(labels, return_inverse=True)
        sizes = np.bincount(position, weights)
        shares = np.divide(len(labels) / np.count_nonzero(sizes), sizes, out=np.zeros(len(sizes)), where=sizes > 0)
        return scores * shares[position]
    if metric == "r2":
        squares = (labels - np.average(labels, weights=weights)) ** 2
        variance = np.mean(squares if weights is None else weights * squares)
        return 1 - scores / variance if variance > 0 else np.full_like(scores, np.nan)
    return scores
