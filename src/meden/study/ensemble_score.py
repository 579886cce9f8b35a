"""What a mixture of models is worth on new rows, once its weights, temperature and decision are accounted for.

Legend: ``M`` candidates, ``n`` rows, ``C`` classes, ``T`` answers of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meden.deadline import NEVER, Deadline
from meden.run import HeldOut
from meden.study.decision import Decision, check_costs, decision_for
from meden.study.ensemble_selection import check_outputs, mixed, select_ensemble
from meden.study.metrics import RANGES, MetricName, Truth, is_defined, of_rows
from meden.study.selection import Score, score_of_draws
from meden.study.temperature import mixture_temperature, tempered

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
FEWEST_UNITS = 5
"""Rows, or groups of rows, of which an interval can be told."""
COST = "cost"
"""Name of the mean cost of a row's label, where costs are given."""
FEWEST_DRAWS, MOST_DRAWS, MOST_TIMED, DRAWN = 10, 100, 1000, 4e6
"""Of the bootstrap: draws at least, at most, at most where a deadline says how many, and answers that all draws have
together where none does."""


@dataclass(frozen=True)
class Mixing:
    """What rows decide about a mixture."""

    weights: Array
    """Of the candidates, (M,), 1 in all."""
    temperature: float
    """Of the probabilities; 1 for numbers."""
    decision: Decision | None
    """How probabilities become labels; None for numbers."""

    @classmethod
    def of(
        cls, outputs: Array, truth: Truth, metric: MetricName, folds: Whole | None, costs: Array | None = None
    ) -> Mixing:
        """Return what rows decide; arguments are those of :func:`ensemble_score`."""
        weights = select_ensemble(outputs, truth, metric, folds=folds)
        if not truth.num_classes:
            return cls(weights, 1.0, None)
        mean = mixed(weights, outputs)
        temperature = mixture_temperature(mean, truth.labels, truth.weights)
        decision = decision_for(metric, tempered(mean, temperature), truth.labels, truth.weights, costs)
        return cls(weights, temperature, decision)

    def values(self, outputs: Array, truth: Truth, metric: MetricName, costs: Array | None = None) -> Array:
        """Return what rows add to a metric of the mixture, or to the mean cost, (n,).

        The loss is the log loss of the tempered mean in nats, or half the squared error.
        """
        mean, counted = mixed(self.weights, outputs), truth.counted
        if self.decision is None:
            errors = counted * ((mean - truth.labels) ** 2).reshape(len(mean), -1).mean(axis=1)
            return of_rows(metric, HeldOut((errors / 2).astype(np.float32), errors, mean), truth)
        told = tempered(mean, self.temperature)
        labels = self.decision.labels(told)
        if costs is not None:
            paid = counted * costs[truth.labels, labels]
            return of_rows("accuracy", HeldOut(paid.astype(np.float32), paid, told), truth)  # a plain mean
        losses = counted * -np.log(told[np.arange(len(told)), truth.labels])
        right = counted * (labels == truth.labels)
        shown = self.decision.support(told) if metric == "f1" else told
        return of_rows(metric, HeldOut(losses.astype(np.float32), right, shown), truth)


def ensemble_score(
    outputs: Array,
    truth: Truth,
    metric: MetricName,
    *,
    folds: Whole | None = None,
    units: Whole | None = None,
    costs: Array | None = None,
    shown: MetricName | None = None,
    deadline: Deadline = NEVER,
    confidence: float = 0.9,
    seed: int = 0,
) -> Score:
    """Return what a mixture is worth on new rows, corrected for all that the rows have decided about it.

    Rows are drawn with replacement; each draw chooses weights, temperature and decision anew by the rows drawn, and is
    judged by those left out, beside the mixture of all rows; from there on it is as
    :func:`meden.study.selection.corrected_score`.

    Args:
        outputs: probabilities (M, n, C), or numbers (M, n) or (M, n, T), out of fold.
        truth: of the rows.
        metric: that the mixture is for.
        folds: of the rows, (n,), as for :func:`select_ensemble`.
        units: groups of rows that are drawn together, (n,); None draws single rows.
        costs: of labels, (C, C): the score is then the mean cost of a row.
        shown: metric of the score; None is ``metric``, or accuracy, RMSE or (several numbers) MSE where that is the
            loss.
        deadline: after which no more draws are made than ten.
        confidence: coverage of the interval, in (0, 1).
        seed: of the draws.

    Returns:
        The score; its interval is all that the metric can be where fewer than two draws can be judged.

    Raises:
        InputError: if shapes, the metric or costs do not fit.

    Example:
        >>> random = np.random.default_rng(0)
        >>> numbers = random.normal(size=200)
        >>> outputs = numbers + random.normal(size=(5, 200))
        >>> score = ensemble_score(outputs, Truth(numbers, variance=1.0), "r2")
        >>> score.low < 0.8 < score.high
        True

    Reference:
        As for :func:`meden.study.selection.corrected_score`; coverage is measured in benchmarks/ensemble_coverage.py.
    """
    shown = shown or shown_for(metric, truth)
    check_outputs(outputs, truth, shown)
    if costs is not None:
        costs = check_costs(costs, truth.num_classes)
    told, limits = (shown, RANGES[shown]) if costs is None else (COST, (0.0, np.inf))
    num_rows = len(truth.labels)
    units = np.arange(num_rows) if units is None else np.unique(units, return_inverse=True)[1]
    num_units = int(units.max()) + 1
    choice = Mixing.of(outputs, truth, metric, folds, costs)
    own = choice.values(outputs, truth, shown, costs)
    fitting = int(np.clip(DRAWN / outputs.shape[0] / num_rows, FEWEST_DRAWS, MOST_DRAWS))
    num_draws = MOST_TIMED if deadline != NEVER else fitting
    random, found = np.random.default_rng(seed), []
    for number in range(num_draws):
        if number >= FEWEST_DRAWS and deadline.passed():
            break
        counts = np.bincount(random.integers(num_units, size=num_units), minlength=num_units)[units]
        drawn, left = np.flatnonzero(counts), np.flatnonzero(counts == 0)
        if not truth.counted[left].any() or not truth.counted[drawn].any():
            continue  # a draw of very few rows may leave none out
        again, judged = _drawn(truth, drawn, counts), _drawn(truth, left, np.ones(num_rows, dtype=np.int64))
        if not is_defined(shown, judged) or (truth.num_classes and len(np.unique(again.labels)) < 2):
            continue  # or none of a class
        parts = None if folds is None else folds[drawn]
        winner = Mixing.of(outputs[:, drawn], again, metric, parts, costs)
        pair = [one.values(outputs[:, left], judged, shown, costs).mean() for one in (winner, choice)]
        found.append(pair)
    if len(found) < 2 or num_units < FEWEST_UNITS:
        naive = float(own.mean())
        return Score(naive, -np.inf, np.inf, confidence, naive, told).within(*limits)
    of_winners, of_choice = np.array(found).T
    of_folds = np.array([own.mean()] if folds is None else [own[folds == fold].mean() for fold in np.unique(folds)])
    score = score_of_draws(
        of_winners,
        of_choice,
        naive=float(own.mean()),
        own=own,
        of_folds=of_folds,
        num_units=num_units,
        metric=told,
        confidence=confidence,
    )
    return score.within(*limits)


def shown_for(metric: MetricName, truth: Truth) -> MetricName:
    """Return the metric that people read: what decides; for the loss, accuracy, RMSE or (several numbers) MSE."""
    if metric != "loss":
        return metric
    if truth.num_classes:
        return "accuracy"
    return "rmse" if truth.labels.size == len(truth.labels) else "mse"


def _drawn(truth: Truth, rows: Whole, counts: Whole) -> Truth:
    """Return what is true of some rows that count so often, with weights of 1 in the mean."""
    weights = truth.counted * counts
    return Truth(truth.labels[rows], truth.num_classes, weights[rows] / weights[rows].mean(), truth.variance)
