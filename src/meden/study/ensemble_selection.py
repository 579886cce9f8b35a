"""Weights of a mixture of models, chosen by what they say of rows that they were not trained on.

Legend: ``M`` candidates, ``n`` rows, ``C`` classes, ``T`` answers of a row, ``F`` folds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError, check_choice, check_count
from meden.study.decision import balancing
from meden.study.metrics import OF_LABELS, OF_NUMBERS, OF_SEVERAL, MetricName, Truth

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
Loss = Callable[[Array], Array]
ROUNDS = 25
"""Most additions of a candidate: a weight is then a multiple of a twenty-fifth at least."""
MOST_ROWS = 5000
"""Rows that decide: of so many more, chosen at random, others change the weights little."""
FLOOR = 1e-7
"""Of a probability: a tree that says 0 is not worth infinity."""
PRIOR_ROWS = 200
"""Of so many rows, the search for weights counts as much as the mean of the candidates that are as good as the best."""
AS_GOOD = 2.0
"""Standard errors of its paired difference from the best within which a candidate is as good."""
MOST_AS_GOOD = 12
"""Candidates that are taken to be as good, at most."""
PATIENCE = 3
"""Additions without a gain after which the search ends: a smaller step may gain where a larger one does not."""
TIE = 1e-12
"""Of a loss, by which two are the same up to rounding."""
BALANCED = ("balanced_accuracy", "f1")
"""Metrics in which classes count alike."""


def select_ensemble(
    outputs: Array, truth: Truth, metric: MetricName, *, folds: Whole | None = None, rounds: int = ROUNDS
) -> Array:
    """Return the weights of a mixture, (M,), at least 0 and 1 in all.

    Without each fold in turn, candidates are added one by one, with replacement, each the one by which the mean of
    those taken loses least, until none lowers the loss; weights are the mean of these over the folds. Few rows cannot
    tell weights: what is returned is ``(1 - s)`` times this and ``s`` times the plain mean of the candidates within two
    standard errors of the best (a dozen at most), with ``s = 200 / (200 + rows)``. Ties go to the candidate that is in
    already, then to the first.

    What is lowered is smooth, since counts of right answers are fitted by chance: the log loss for metrics of
    probabilities and labels, by classes that count alike for ``balanced_accuracy`` and ``f1``; the absolute error for
    ``mae`` and the squared error for other numbers, in each answer's own variance for ``loss``.

    Args:
        outputs: probabilities (M, n, C), or numbers (M, n) or (M, n, T). A candidate with NaN has no weight.
        truth: of the rows; ``num_classes`` is 0 for numbers. A row of weight 2 is a row that is there twice, so that
            weights should be 1 in the mean.
        metric: that the mixture is for.
        folds: of the rows, (n,); None is a single one, of which no part is left out.
        rounds: most additions, 1 or more.

    Raises:
        InputError: if shapes or the metric do not fit, rounds are not 1 or more, or no candidate is finite.

    Example:
        >>> random = np.random.default_rng(0)
        >>> numbers = random.normal(size=400)
        >>> outputs = numbers + random.normal(size=(3, 400)) * np.array([[1.0], [1.0], [9.0]])
        >>> select_ensemble(outputs, Truth(numbers), "mse", folds=np.arange(400) % 5).round(1).tolist()
        [0.5, 0.5, 0.0]

    Reference:
        R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, Ensemble selection from libraries of models, 2004;
        L. Breiman, Stacked regressions, 1996 (weights of few rows err). The shrinkage was measured: docs/log.md.
    """
    check_outputs(outputs, truth, metric)
    check_count("rounds", rounds)
    if folds is not None and folds.shape != (len(truth.labels),):
        raise InputError(f"folds must have one value for each of {len(truth.labels)} rows, got shape {folds.shape}")
    usable = np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
    if not usable.any():
        raise InputError(f"outputs must be finite for at least one candidate, got none of {len(outputs)}")
    rows = np.flatnonzero(truth.counted > 0)
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False))
    truth = taken(truth, rows)
    told, loss = _told(outputs[usable][:, rows], truth, metric)
    factors = np.ones(len(rows))
    if metric in BALANCED:
        factors = balancing(truth.labels, truth.num_classes, truth.weights)[truth.labels]
    parts = np.zeros((1, len(rows)), dtype=bool) if folds is None else folds[rows] == np.unique(folds[rows])[:, None]
    left = ~parts if len(parts) > 1 else np.ones_like(parts)
    weights = truth.counted * factors
    searched = np.mean([_greedy(told[:, kept], weights[kept], loss, rounds) for kept in left], axis=0)
    share = PRIOR_ROWS / (PRIOR_ROWS + weights.sum() ** 2 / (weights @ factors))
    found = np.zeros(len(outputs))
    found[usable] = (1 - share) * searched + share * _as_good(loss(told), truth.counted, factors)
    return found


def mixed(weights: Array, outputs: Array) -> Array:
    """Return the weighted mean of outputs (M, ...) over the candidates that have a weight, (...).

    Example:
        >>> mixed(np.array([0.5, 0.5, 0.0]), np.array([[1.0], [2.0], [np.nan]])).tolist()
        [1.5]
    """
    kept = weights > 0
    mean: Array = np.tensordot(weights[kept], outputs[kept], axes=1)
    return mean


def taken(truth: Truth, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Truth:
    """Return what is true of some of the rows."""
    weights = None if truth.weights is None else truth.weights[rows]
    return dataclasses.replace(truth, labels=truth.labels[rows], weights=weights)


def deviations(truth: Truth) -> Array:
    """Return the standard deviation of each answer, (T,), by which losses of numbers are measured; 1 where it is 0."""
    numbers = truth.labels.reshape(len(truth.labels), -1).astype(np.float64)
    mean = np.average(numbers, axis=0, weights=truth.counted)
    found: Array = np.sqrt(np.average((numbers - mean) ** 2, axis=0, weights=truth.counted))
    return np.where(found > 0, found, 1.0)


def check_outputs(outputs: Array, truth: Truth, metric: str) -> None:
    """Check that outputs fit what is true, and a metric fits both.

    Raises:
        InputError: if they do not.
    """
    if truth.num_classes:
        shape: tuple[int, ...] = (len(truth.labels), truth.num_classes)
        fitting: tuple[str, ...] = OF_LABELS
    else:
        shape = truth.labels.shape
        fitting = OF_NUMBERS if truth.labels.ndim == 1 or truth.labels.shape[1] == 1 else OF_SEVERAL[::2]
    check_choice("metric", metric, fitting)
    if outputs.ndim < 2 or outputs.shape[1:] != shape or not len(outputs) or not len(truth.labels):
        raise InputError(f"outputs must be (candidates, {', '.join(map(str, shape))}), got {outputs.shape}")


def _told(outputs: Array, truth: Truth, metric: MetricName) -> tuple[Array, Loss]:
    """Return what a loss is of, (M, n, T), and the loss, which makes (..., n) of (..., n, T)."""
    num_rows = len(truth.labels)
    if truth.num_classes:
        true = outputs[:, np.arange(num_rows), truth.labels, None].astype(np.float64)
        return np.maximum(true, FLOOR), lambda told: -np.log(told[..., 0])
    errors = (outputs - truth.labels).reshape(len(outputs), num_rows, -1)
    if metric == "mae":
        return errors, lambda told: np.abs(told[..., 0])
    return errors / (deviations(truth) if metric == "loss" else 1.0), lambda told: np.square(told).sum(axis=-1)


def _greedy(told: Array, weights: Array, loss: Loss, rounds: int) -> Array:
    """Return the weights that additions one by one make, (M,); the best of all lengths."""
    added, total = np.zeros(len(told)), np.zeros_like(told[0])
    lowest, found, waited = np.inf, added, 0
    for num in range(1, rounds + 1):
        losses = loss((total + told) / num) @ weights
        near = np.flatnonzero(losses <= losses.min() + TIE * abs(losses.min()))
        inside = near[added[near] > 0]
        chosen = inside[0] if len(inside) else near[0]
        added[chosen] += 1
        total = total + told[chosen]
        if losses[chosen] < lowest - TIE * abs(losses[chosen]):
            lowest, found, waited = losses[chosen], added / num, 0
        elif (waited := waited + 1) == PATIENCE:
            break
    return found


def _as_good(losses: Array, counted: Array, factors: Array) -> Array:
    """Return equal weights of the candidates that are as good as the best, (M,), of the losses of rows (M, n)."""
    weights = counted * factors
    means = losses @ weights / weights.sum()
    apart = losses - losses[means.argmin()]
    mean = means - means.min()
    errors = np.sqrt((apart - mean[:, None]) ** 2 @ (weights * factors)) / weights.sum()
    order = np.argsort(np.where(mean <= AS_GOOD * errors, means, np.inf), kind="stable")
    kept = order[: min(MOST_AS_GOOD, np.count_nonzero(mean <= AS_GOOD * errors))]
    found = np.zeros(len(losses))
    found[kept] = 1 / len(kept)
    return found
