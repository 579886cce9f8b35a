"""Methods compared over tables: ranks, paired differences, tests of both.

Legend: ``T`` tables, ``M`` methods; scores (T, M), higher is better, NaN where a method has failed.

Reference: J. Demšar, Statistical comparisons of classifiers over multiple data sets, 2006; A. Benavoli, G. Corani and
F. Mangili, Should we really use post-hoc tests based on mean-ranks?, 2016; C. Nadeau and Y. Bengio, Inference for the
generalization error, 2003; S. Holm, A simple sequentially rejective multiple test procedure, 1979.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
NUM_DRAWS = 10_000


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def over_splits(scores: np.ndarray, ratio: float) -> Estimate:
    """Return the mean over random splits (S,), whose variance is corrected for the rows that they share.

    Args:
        scores: one a split.
        ratio: scored rows for each row that trains.
    """
    return _student(scores, float(1 / len(scores) + ratio) if len(scores) else 0.0)


def over_tables(values: np.ndarray) -> Estimate:
    """Return the mean over independent tables (T,), with Student's interval."""
    return _student(values, 1 / max(1, len(values)))


def _student(values: np.ndarray, factor: float) -> Estimate:
    if len(values) < 2:
        return Estimate(float(values.mean()) if len(values) else np.nan, np.nan, np.nan)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) * np.sqrt(factor)
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half))


def ratio(gains: np.ndarray, costs: np.ndarray) -> Estimate:
    """Return mean gain over mean cost, (T,) each, with a bootstrap interval over tables."""
    draws = _draws(len(gains))
    told = gains[draws].mean(axis=1) / costs[draws].mean(axis=1)
    return Estimate(float(gains.mean() / costs.mean()), *_middle(told))


def _draws(num: int) -> np.ndarray:
    return np.random.default_rng(0).integers(num, size=(NUM_DRAWS, num))


def _middle(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def ranks_of(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the ranks on each table, (T, M): 1 is best, what is level shares the mean rank, what failed is last."""
    return scores.fillna(-np.inf).rank(axis=1, ascending=False)


def mean_ranks(scores: pd.DataFrame) -> dict[str, Estimate]:
    """Return the mean rank of each method with a bootstrap interval over tables, the best first."""
    ranks = ranks_of(scores)
    draws = _draws(len(ranks))
    found = {}
    for name in ranks.mean().sort_values(kind="stable").index:
        column = ranks[name].to_numpy()
        found[name] = Estimate(float(column.mean()), *_middle(column[draws].mean(axis=1)))
    return found


def friedman(scores: pd.DataFrame) -> tuple[float, float]:
    """Return the statistic that ranks are due to chance, and its p-value; three methods or more."""
    found = stats.friedmanchisquare(*ranks_of(scores).to_numpy().T)
    return float(found.statistic), float(found.pvalue)


def critical_difference(num_methods: int, num_tables: int) -> float:
    """Return Nemenyi's: mean ranks that are further apart differ at 5 %, all pairs together."""
    quantile = stats.studentized_range.ppf(CONFIDENCE, num_methods, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(num_methods * (num_methods + 1) / (6 * num_tables)))


def wilcoxon_holm(scores: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Return the p-value of each pair by Wilcoxon's signed ranks of its differences, by Holm for all pairs together."""
    pairs = list(combinations(scores.columns, 2))
    filled = scores.fillna(scores.min().min() - 1)  # what failed is worse than all
    raw = np.array([_wilcoxon((filled[a] - filled[b]).to_numpy()) for a, b in pairs])
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    adjusted = np.empty(len(raw))
    adjusted[order] = np.minimum(stepped, 1)
    return dict(zip(pairs, adjusted.tolist(), strict=True))


def _wilcoxon(differences: np.ndarray) -> float:
    return float(stats.wilcoxon(differences, zero_method="zsplit").pvalue) if differences.any() else 1.0


def level_groups(ordered: list[str], p_values: dict[tuple[str, str], float]) -> list[list[str]]:
    """Return the longest rows of methods, neighbours by mean rank, of which no pair differs at 5 %."""

    def level(group: list[str]) -> bool:
        return all(p_values.get((a, b), p_values.get((b, a), 1.0)) >= 1 - CONFIDENCE for a, b in combinations(group, 2))

    found: list[list[str]] = []
    for start in range(len(ordered)):
        stop = max(stop for stop in range(start + 1, len(ordered) + 1) if level(ordered[start:stop]))
        group = ordered[start:stop]
        if len(group) > 1 and not any(set(group) <= set(other) for other in found):
            found.append(group)
    return found
