"""Which inputs are selected, how often, and whether more often than noise would be.

Legend: ``P`` columns, ``F`` folds, ``S`` seeds, ``M`` noise copies of each column.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Frequency:
    """How often a column was kept, with an interval."""

    share: float
    """Share of the runs, over all folds and seeds, that kept it."""
    low: float
    high: float
    """End of the interval of ``share``; ``low`` is the other."""


def frequency(kept: NDArray[np.bool_], overlap: float, confidence: float = CONFIDENCE) -> Frequency:
    """Return the share of runs that kept a column, with an interval for that of runs on new rows.

    It is Wilson's interval for as many independent runs as those of the folds are worth. Folds share most of their
    rows: the variance of their mean is not 1 / F of that of one fold, but 1 / F + ``overlap`` of it (the corrected
    variance of Nadeau and Bengio), so that five folds are worth 2.2 runs. Seeds of one fold train on the same rows:
    they are averaged, and count as one.

    Args:
        kept: (F, S), whether each run kept it.
        overlap: scored rows for each row that trains, 0.25 of five folds; 0 for runs on rows of their own.
        confidence: coverage of the interval, in (0, 1).

    Example:
        >>> always = frequency(np.ones((5, 1), dtype=bool), overlap=0.25)
        >>> always.share, round(always.low, 2), always.high
        (1.0, 0.37, 1.0)

    Reference:
        E. Wilson, Probable inference, the law of succession, and statistical inference, 1927; C. Nadeau and Y. Bengio,
        Inference for the generalization error, 2003.
    """
    share, num = float(kept.mean()), 1 / (1 / len(kept) + overlap)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z**2 / (2 * num)) / (1 + z**2 / num)
    half = z / (1 + z**2 / num) * math.sqrt(share * (1 - share) / num + z**2 / (4 * num**2))
    return Frequency(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def false_discovery_rates(weights: Array) -> Array:
    """Return for each column the estimated share of false ones among all that are told from noise no worse, (P,).

    A column that says nothing of the target is as likely to weigh more than its copies as each of these is to weigh
    more than it: of M copies, the largest is a copy M times as often as it is the column. So the columns that are below
    one of their copies, by as much as the others are above all theirs, tell how many of these are there by luck. The
    columns with a rate of at most q are those of the knockoff+ filter: the share of false ones among them is q or less,
    on average over data sets.

    Args:
        weights: (P, 1 + M), how much each column weighs (a strength at which it appears, or a norm), and its copies.

    Returns:
        Rates in [0, 1]: 1 for a column that weighs no more than one of its copies.

    Example:
        >>> told_apart = np.stack([np.arange(1.0, 11), np.zeros(10)], axis=1)
        >>> false_discovery_rates(told_apart).tolist()  # ten columns and no noise: one in ten at most is there by luck
        [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]

    Reference:
        R. Barber and E. Candès, Controlling the false discovery rate via knockoffs, 2015 (one copy); J. Gimenez and
        J. Zou, Improving the stability of the knockoff procedure: multiple simultaneous knockoffs and entropy
        maximization, 2019 (several).
    """
    own, copies = weights[:, 0], weights[:, 1:]
    above = own > copies.max(axis=1)
    ordered = np.sort(weights, axis=1)
    distances = ordered[:, -1] - np.median(ordered[:, :-1], axis=1)
    rates = np.ones(len(weights))
    lowest = 1.0
    for limit in np.unique(distances[above & (distances > 0)]):
        told = int((above & (distances >= limit)).sum())
        lucky = 1 + int((~above & (distances >= limit)).sum())
        lowest = min(lowest, lucky / (copies.shape[1] * told))
        rates[above & (distances == limit)] = lowest
    return rates


def copies_for(num_columns: int, rate: float) -> int:
    """Return how many copies of each column let one of them be told from noise by itself.

    That takes 1 / q, see :func:`fewest_told`. Where these were more than 200 noise columns there are fewer, or 1.

    Args:
        num_columns: P.
        rate: the share of false ones that is allowed, in (0, 1).

    Example:
        >>> copies_for(13, 0.2), copies_for(100, 0.2), copies_for(4088, 0.1)
        (5, 2, 1)
    """
    return max(1, min(fewest_told(1, rate), 200 // num_columns))


def fewest_told(copies: int, rate: float) -> int:
    """Return how many columns have to stand out from their copies for any to have a rate that is allowed.

    With M copies the rate of k columns is 1 / (M k) at least.

    Args:
        copies: M, of each column.
        rate: the share of false ones that is allowed, in (0, 1).

    Example:
        >>> fewest_told(5, 0.2), fewest_told(2, 0.2), fewest_told(1, 0.1)
        (1, 3, 10)
    """
    return math.ceil((1 - 1e-12) / (copies * rate))  # 1 / q of a rounded q = 1 / k may be above k by its last bit
