"""Choosing among configurations, and what the choice is worth.

Legend: ``M`` configurations, ``F`` folds, ``n`` scored rows, ``D`` draws of the bootstrap.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from meden._shown import ShownFields

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
BLOCK_SIZE = 2**20
"""Numbers of a bootstrap block: it bounds the memory, and changes no result."""
MOST_DRAWN = 3e7
"""Rows that all draws of a bootstrap have together: of so many rows, few draws differ."""


@dataclass(frozen=True, repr=False)
class Score(ShownFields):
    """An estimate with its interval.

    Attributes:
        estimate: expected score of the chosen configuration on new rows, corrected for the selection.
        low: lower end of the interval.
        high: upper end of the interval.
        confidence: nominal coverage of the interval.
        naive: mean of the chosen configuration over the folds, uncorrected: too optimistic if many were tried.
        metric: the metric of these numbers.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    naive: float
    metric: str = "loss"

    def within(self, low: float, high: float) -> Score:
        """Return the score with its numbers cut to the range that the metric has."""
        cut = {name: min(max(getattr(self, name), low), high) for name in ("estimate", "low", "high")}
        return dataclasses.replace(self, **cut)


def standard_error(values: Array) -> float:
    """Return the standard error of a mean; infinite for a single value."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


def best(scores: Array) -> int:
    """Return the row of the lowest mean; a row with NaN (it diverged) is never chosen.

    Args:
        scores: (M, F), lower is better; one row at least is finite.
    """
    return _chosen(scores, None)


def one_standard_error(scores: Array, simplicity: Sequence[float]) -> int:
    """Return the simplest row whose paired difference from the best is within one standard error.

    Args:
        scores: (M, F), lower is better; columns are the same folds for every row. One row at least is finite.
        simplicity: (M,), larger is simpler; of equally simple ones the better is taken.

    Reference:
        L. Breiman, J. Friedman, R. Olshen and C. Stone, Classification and regression trees, 1984 (the rule);
        here with the standard error of paired differences, which shared folds make smaller.
    """
    return _chosen(scores, np.asarray(simplicity, dtype=np.float64))


def differences_from_best(scores: Array) -> tuple[Array, Array]:
    """Return each row's mean paired difference from the best, and its standard error over the folds, (M,) each.

    A row is as good as the best within one standard error where the first is at most the second, which is what
    :func:`one_standard_error` goes by. Rows with NaN have NaN; of a single fold, which cannot tell, errors are 0.

    Args:
        scores: (M, F), lower is better; columns are the same folds for every row. One row at least is finite.

    Example:
        >>> differences_from_best(np.array([[1.0, 2.0, 3.0], [1.5, 2.0, 4.0]]))[0].tolist()
        [0.0, 0.5]
    """
    usable = np.isfinite(scores).all(axis=1)
    means, drawn = scores[None, usable], np.ones((1, scores.shape[1]), dtype=bool)
    differences, errors = np.full(len(scores), np.nan), np.full(len(scores), np.nan)
    mean, error = _differences(means, drawn, _average(means, drawn).argmin(axis=1))
    differences[usable], errors[usable] = mean[0], error[0]
    return differences, errors


def corrected_score(
    losses: Array,
    *,
    naive: float,
    values: Array | None = None,
    folds: Whole | None = None,
    simplicity: Sequence[float] | None = None,
    units: Whole | None = None,
    metric: str = "loss",
    num_draws: int | None = None,
    confidence: float = 0.9,
    seed: int = 0,
) -> Score:
    """Return what the choice is worth once its having been chosen is accounted for.

    Rows are drawn with replacement; each draw chooses its own winner on the rows drawn, by the rule that chose on all
    rows, so that no row that it left out has chosen. With ``left(w)`` the mean of the draw's winner over the rows left
    out, and ``left(c)`` the mean of the choice over the same rows,

        estimate = naive + mean over draws of (left(w) - left(c)).

    Every row weighs as in ``naive``, one over its fold's size, and is compared with itself, so that what makes folds or
    rows hard cancels out; where there is nothing to choose the estimate is ``naive``. The interval is that of a normal
    error: the standard deviation of ``left(w)``, times ``sqrt(q / (1 - q))`` for the share ``q`` left out, 1 in e: by
    so much does the mean of all rows scatter less than that of a part of them. Where means of folds scatter more than
    rows alone explain, because each fold's models learned from other rows, it is as much wider as they do. To that is
    added what one row more would move that is as far out as the farthest: a difference that a single row makes is none.

    Why: let means of configurations err by ``e``, and those of rows drawn by ``e + d``, where ``d`` has the variance
    of ``e``. Then means of the rows left out err by ``e - d``, which is independent of ``e + d``. So ``left(w)`` has no
    bias for what a choice is worth that is made with twice the variance: exactly the worth of the choice where all are
    worth the same, and otherwise a little worse, on average never better. Measured: no bias where nothing is to be
    chosen, else pessimistic by at most a sixth of the error's standard deviation; 90 % intervals cover 91 to 100 %.
    What no draw of rows can tell is luck in training that all rows of a fold share.

    Args:
        losses: (M, n), what each configuration is chosen by, out of fold, lower is better; rows with NaN (diverged)
            never win. One at least is finite.
        naive: the mean over the folds of the choice's means.
        values: (M, n), what is told of each row, such as an accuracy or a gain over something fixed, of either sign;
            None is ``losses``.
        folds: (n,), fold of each row, whose means are compared; None is a single one.
        simplicity: (M,), for the rule of one standard error; None chooses the best.
        units: (n,), groups of rows that are drawn together; None draws single rows.
        metric: name of ``values``.
        num_draws: bootstrap draws; None is 1,000, and fewer, 100 at least, where they would draw more than 3e7 rows.
        confidence: coverage of the interval, in (0, 1).
        seed: of the draws.

    Example:
        >>> losses = np.random.default_rng(0).exponential(size=(50, 200))  # all are worth 1
        >>> score = corrected_score(losses, naive=losses.mean(axis=1).min())
        >>> score.naive < 0.9, 0.95 < score.estimate < 1.05, score.low < 1 < score.high
        (True, True, True)

    Reference:
        I. Tsamardinos, E. Greasidou and G. Borboudakis, Bootstrapping the out-of-sample predictions for efficient and
        accurate cross-validation, 2018 (BBC-CV, which this is where folds are alike); N. Oliveira, J. Lei and
        R. Tibshirani, Unbiased risk estimation in the normal means problem via coupled bootstrap techniques, 2021 (why
        it has no bias). Measured in benchmarks/known_truth.py and benchmarks/noise_coverage.py.
    """
    finite = np.isfinite(losses).all(axis=1)
    chosen_by, worth = losses[finite], (losses if values is None else values)[finite]
    simple = None if simplicity is None else np.asarray(simplicity, dtype=np.float64)[finite]
    num_rows = losses.shape[1]
    folds = np.zeros(num_rows, dtype=np.int64) if folds is None else np.unique(folds, return_inverse=True)[1]
    units = np.arange(num_rows) if units is None else np.unique(units, return_inverse=True)[1]
    num_draws = num_draws or int(np.clip(MOST_DRAWN / num_rows, 100, 1000))
    weights = 1 / np.bincount(folds)[folds]
    choice = _chosen(_of_folds(chosen_by, folds), simple)
    found = []
    for counts in _counts(units, num_draws, np.random.default_rng(seed)):
        counts = counts[(counts == 0).any(axis=1)]  # a draw of very few rows may leave none out
        winners = _winners(*_fold_means(counts, chosen_by, folds), simple)
        left_out = (counts == 0) * weights
        found.append(np.stack([_weighted(left_out, worth[winners]), _weighted(left_out, worth[choice])]))
    of_winners, of_choice = np.concatenate(found, axis=1)
    of_folds = _of_folds(worth[[choice]], folds)[0]
    return score_of_draws(
        of_winners,
        of_choice,
        naive=naive,
        own=worth[choice],
        of_folds=of_folds,
        num_units=int(units.max()) + 1,
        metric=metric,
        confidence=confidence,
    )


def score_of_draws(
    of_winners: Array,
    of_choice: Array,
    *,
    naive: float,
    own: Array,
    of_folds: Array,
    num_units: int,
    metric: str = "loss",
    confidence: float = 0.9,
) -> Score:
    """Return the corrected score that draws of a bootstrap tell, each of the rows that it left out.

    See :func:`corrected_score` for the estimate and its interval. What is chosen anew in each draw may be anything that
    rows decide, such as the weights of a mixture.

    Args:
        of_winners: (D,), means of what the draws chose.
        of_choice: (D,), of what all rows chose, over the same rows.
        naive: of what all rows chose, on all rows.
        own: (n,), its rows' parts of that.
        of_folds: (F,), its means of the folds; one is not compared.
        num_units: that are drawn.
        metric: what all these are.
        confidence: coverage of the interval, in (0, 1).
    """
    estimate = float(naive + (of_winners - of_choice).mean())
    size = float(max(np.abs(part).max() for part in (own, of_winners, of_choice))) or 1.0
    spread = (of_winners / size).std() * _scale(of_choice / size, of_folds / size, num_units)  # squares may overflow
    farthest = np.abs(own / size - own.mean() / size).max() / num_units
    half = NormalDist().inv_cdf((1 + confidence) / 2) * size * math.hypot(spread, farthest)
    return Score(estimate, estimate - half, estimate + half, confidence, float(naive), metric)


def _chosen(scores: Array, simplicity: Array | None) -> int:
    usable = np.flatnonzero(np.isfinite(scores).all(axis=1))
    simple = None if simplicity is None else simplicity[usable]
    drawn = np.ones((1, scores.shape[1]), dtype=bool)
    return int(usable[_winners(scores[None, usable], drawn, simple)[0]])


def _winners(means: Array, drawn: NDArray[np.bool_], simplicity: Array | None) -> Whole:
    """Return the row that each draw chooses, (D,).

    Args:
        means: (D, M, F), means of folds.
        drawn: (D, F), whether a fold has a mean.
        simplicity: (M,) for the simplest within one standard error of the best, None for the best.
    """
    leaders: Whole = _average(means, drawn).argmin(axis=1)
    if simplicity is None:
        return leaders
    mean, errors = _differences(means, drawn, leaders)
    rank = np.where(mean <= errors, simplicity, -np.inf)
    simplest = rank == rank.max(axis=1, keepdims=True)
    chosen: Whole = np.where(simplest, mean, np.inf).argmin(axis=1)
    return chosen


def _differences(means: Array, drawn: NDArray[np.bool_], leaders: Whole) -> tuple[Array, Array]:
    """Return the mean paired difference of each row from each draw's leader, and its standard error, (D, M) each."""
    differences = means - np.take_along_axis(means, leaders[:, None, None], axis=1)
    mean, num = _average(differences, drawn), drawn.sum(axis=1)[:, None]
    squares = (np.where(drawn[:, None], differences - mean[..., None], 0.0) ** 2).sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors: Array = np.where(num > 1, np.sqrt(squares / (num - 1) / num), 0.0)
    return mean, errors


def _average(means: Array, drawn: NDArray[np.bool_]) -> Array:
    """Return the mean over the folds that have one, (D, M)."""
    averages: Array = np.where(drawn[:, None], means, 0.0).sum(axis=2) / drawn.sum(axis=1)[:, None]
    return averages


def _counts(units: Whole, num_draws: int, random: np.random.Generator) -> Iterator[Array]:
    """Yield how often each row was drawn, (D, n), in blocks that fit into memory."""
    num_units = int(units.max()) + 1
    per_block = max(1, BLOCK_SIZE // len(units))
    for start in range(0, num_draws, per_block):
        num = min(per_block, num_draws - start)
        drawn = random.integers(num_units, size=(num, num_units)) + num_units * np.arange(num)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=num * num_units).reshape(num, num_units)
        yield counts[:, units].astype(np.float64)


def _fold_means(counts: Array, losses: Array, folds: Whole) -> tuple[Array, NDArray[np.bool_]]:
    """Return the mean loss of each draw, configuration and fold, (D, M, F), and whether any row was drawn, (D, F)."""
    parts = [folds == fold for fold in np.unique(folds)]
    sizes = np.stack([counts[:, part].sum(axis=1) for part in parts], axis=1)
    totals = np.stack([counts[:, part] @ losses[:, part].T for part in parts], axis=2)
    return totals / np.maximum(sizes, 1)[:, None], sizes > 0


def _of_folds(values: Array, folds: Whole) -> Array:
    """Return the mean of each fold, (M, F)."""
    return np.stack([values[:, folds == fold].mean(axis=1) for fold in range(folds.max() + 1)], axis=1)


def _weighted(weights: Array, values: Array) -> Array:
    """Return the weighted mean of each draw, (D,), of ``values`` (D, n) or (n,)."""
    means: Array = (weights * values).sum(axis=1) / weights.sum(axis=1)
    return means


def _scale(left_out: Array, of_folds: Array, num_units: int) -> float:
    """Return what makes the spread of means over rows left out, (D,), that of means over all rows and folds."""
    share = (1 - 1 / num_units) ** num_units
    scale = float(np.sqrt(share / (1 - share)))
    by_rows = scale * left_out.std()
    if len(of_folds) > 1 and standard_error(of_folds) > by_rows > 0:
        scale *= standard_error(of_folds) / float(by_rows)
    return scale
