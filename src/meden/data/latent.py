"""Columns of a table as correlated normal numbers behind their cells: a Gaussian copula.

Legend: ``n`` rows, ``P`` columns. Cells are canonical values (``columns.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from meden.data.columns import Values, missing

Array = NDArray[np.float64]
SWEEPS = 10
"""Rounds in which cells that share a value, or hold none, are drawn given the rest of their rows."""
TIED = 0.05
"""Share of its cells that a value must hold for a column to be drawn: fewer ties say nothing."""


def ordered_levels(columns: Sequence[Values], random: np.random.Generator) -> list[Array]:
    """Return the columns as numbers, NaN for missing: levels of strings by their mean of what all columns share.

    What they share is the first principal component of all columns' normal scores, levels by frequency at first.
    """
    coded = [_by_frequency(column) if column.dtype == object else column.astype(np.float64) for column in columns]
    texts = [place for place, column in enumerate(columns) if column.dtype == object]
    if not texts:
        return coded
    scores = np.nan_to_num(np.column_stack([_scores(cells, random)[0] for cells in coded]))
    for place in texts:
        others = np.delete(scores, place, axis=1)
        shared = np.linalg.svd(others - others.mean(0), full_matrices=False)[0][:, 0] if others.size else scores[:, 0]
        cells = coded[place]
        present = ~np.isnan(cells)
        levels, codes = np.unique(cells[present], return_inverse=True)
        means = np.bincount(codes, shared[present]) / np.bincount(codes)
        ranks = np.empty(len(levels))
        ranks[np.argsort(means, kind="stable")] = np.arange(len(levels))
        coded[place] = cells.copy()
        coded[place][present] = ranks[codes]
    return coded


def normal_scores(columns: Sequence[Array], random: np.random.Generator) -> Array:
    """Return a normal number behind each cell, (n, P), of columns of numbers with NaN for missing.

    The number of a cell lies between the quantiles of its value: there is one where values differ, and a range where
    they are alike, in which it is drawn given the row's other numbers. So two columns that always agree have scores
    that agree, and not only scores of like ranges.

    Reference:
        P. Hoff, Extending the rank likelihood for semiparametric copula estimation, 2007.
    """
    made = [_scores(column, random) for column in columns]
    scores, low, high = (np.column_stack(part) for part in zip(*made, strict=True))
    ties = [place for place, column in enumerate(columns) if _is_tied(column)]
    for _ in range(SWEEPS if ties else 0):
        precision = np.linalg.inv(correlation(scores))
        for place in ties:
            weights = -precision[place] / precision[place, place]
            weights[place] = 0.0
            mean, spread = scores @ weights, 1 / np.sqrt(precision[place, place])
            ends = ndtr((low[:, place] - mean) / spread), ndtr((high[:, place] - mean) / spread)
            drawn = ends[0] + random.random(len(scores)) * (ends[1] - ends[0])
            cells = mean + spread * ndtri(np.clip(drawn, 1e-12, 1 - 1e-12))
            scores[:, place] = np.clip(cells, low[:, place], high[:, place])
    return scores


def correlation(scores: Array) -> Array:
    """Return the correlations of columns (n, P), (P, P), shrunk towards none as far as few rows ask for.

    Reference:
        O. Ledoit and M. Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004.
    """
    from sklearn.covariance import ledoit_wolf

    spread = scores.std(axis=0)
    covariance = ledoit_wolf((scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1.0))[0]
    covariance[np.diag_indices_from(covariance)] += (spread == 0) | (np.diag(covariance) < 1e-6)
    diagonal = np.sqrt(np.diag(covariance))
    found: Array = covariance / diagonal / diagonal[:, None]
    return found


def _by_frequency(column: Values) -> Array:
    """Return strings as ranks of their levels, the most frequent first; NaN for missing."""
    present = ~missing(column)
    levels, codes, counts = np.unique(column[present].astype(str), return_inverse=True, return_counts=True)
    ranks = np.empty(len(levels))
    ranks[np.argsort(-counts, kind="stable")] = np.arange(len(levels))
    found = np.full(len(column), np.nan)
    found[present] = ranks[codes]
    return found


def _scores(column: Array, random: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return normal scores, and the ends of the ranges they lie in, (n,) each; a missing cell may have any."""
    scores, low, high = random.standard_normal(len(column)), *(np.full(len(column), e) for e in (-np.inf, np.inf))
    present = ~np.isnan(column)
    counts, codes = _counts(column)
    if counts.size:
        ends = np.concatenate([[0], counts.cumsum()]) / counts.sum()
        low[present], high[present] = ndtri(ends[:-1])[codes], ndtri(ends[1:])[codes]
        order = np.lexsort((random.random(len(codes)), codes))
        ranks = np.empty(len(codes))
        ranks[order] = np.arange(len(codes))
        scores[present] = ndtri((ranks + 0.5) / len(codes))
    return scores, low, high


def _counts(column: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how often each value occurs, and which one each present cell holds."""
    _, codes, counts = np.unique(column[~np.isnan(column)], return_inverse=True, return_counts=True)
    return counts, codes


def _is_tied(column: Array) -> bool:
    counts = _counts(column)[0]
    return bool(counts.size == 0 or counts.sum() < len(column) or counts.max() > max(1, TIED * len(column)))
