"""Rows of a table that are the same, or nearly: inside of it, or across two parts of it.

Legend: ``N`` rows, ``D`` columns, ``P`` rows that have a twin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden._checks import InputError

RARE = 1e-3
"""Twins that a row may expect, were its cells drawn each for itself, below which those it has are no coincidence:
a tenth of what would be needed for one such row in a hundred, since columns that depend on each other agree oftener."""
ALARMS = 0.01
"""Rows of a table that may be called near their neighbour by chance."""
NEAR = 0.1
"""A twin is at most so far away, in distances to the ``FAR``-th neighbour."""
FAR = 10
"""Neighbour whose distance is the scale: up to so many near copies of a row do not hide each other."""
_TYPICAL = -math.log(1 - 0.5 ** (1 / (FAR - 1)))
"""Median of the logarithm of the ratio of the two distances in one dimension, where the neighbours between the row and
the last are uniform."""
SENTENCE = 30
"""Bytes, in the mean, from which two equal texts are no coincidence; a moment has 19, or 25 with its zone."""
MOST_ROWS, MOST_COLUMNS = 20_000, 1_000
"""Of larger tables a sample of rows is compared by distance; wider ones only by equality."""


@dataclass(frozen=True)
class Twins:
    """Rows that have a twin."""

    rows: NDArray[np.int64]
    """Positions of the rows, rising, (P,)."""
    twins: NDArray[np.int64]
    """Position of a twin of each, (P,): in the other part where there are two."""
    exact: NDArray[np.bool_]
    """Whether the twin is equal in every column, not only nearly, (P,)."""

    def __len__(self) -> int:
        return len(self.rows)


def twins(part: pd.DataFrame, among: pd.DataFrame | None = None) -> Twins:
    """Return the rows that have a twin which is no coincidence.

    Equal rows count where their values are too rare to come together by chance, were the columns independent: two rows
    of three yes-or-no answers are often equal, and mean nothing. Near rows are told by their distance in standardised
    columns, categories as indicators: in ``d`` dimensions the ``FAR - 1`` times ``t ** d`` of the rows have their
    neighbour within ``t`` times the distance of the ``FAR``-th; ``t`` is chosen so that ``ALARMS`` rows are found by
    chance. ``d`` is estimated from the distances (Facco et al.), and at most the number of columns of measurements.
    Columns that number the rows are left out, since they hide every twin.

    Args:
        part: rows, (N, D), inputs only.
        among: other rows of the same columns, to find twins in; None looks among the other rows of ``part``.

    Returns:
        rows of ``part`` with their twins.

    Raises:
        InputError: if the two have other columns, or there are none.

    Example:
        >>> rows = pd.DataFrame(np.random.default_rng(0).standard_normal((50, 4)))
        >>> found = twins(rows.iloc[:5], among=pd.concat([rows.iloc[10:], rows.iloc[3:4] + 1e-7, rows.iloc[:1]]))
        >>> found.rows.tolist(), found.twins.tolist(), found.exact.tolist()
        ([0, 3], [41, 40], [True, False])

    Reference:
        E. Facco, M. d'Errico, A. Rodriguez and A. Laio, Estimating the intrinsic dimension of datasets by a minimal
        neighborhood information, 2017; B. Barz and J. Denzler, Do we train on test data?, 2020.
    """
    if among is not None and list(among.columns) != list(part.columns):
        raise InputError(f"among must have the columns of part ({_named(part)}), got {_named(among)}")
    rows = part if among is None else pd.concat([part, among], ignore_index=True)
    rows = _comparable(rows.reset_index(drop=True))
    if rows.shape[1] == 0 or len(rows) < 2:
        return _collected({}, {})
    exact = _equal(rows, len(part), inside=among is None)
    near = _near(rows, len(part), inside=among is None)
    return _collected(exact, {row: twin for row, twin in near.items() if row not in exact})


def _named(frame: pd.DataFrame) -> str:
    shown = ", ".join(map(str, frame.columns[:5]))
    return shown + (", ..." if frame.shape[1] > 5 else "") or "none"


def _collected(exact: dict[int, int], near: dict[int, int]) -> Twins:
    both = exact | near
    rows = sorted(both)
    return Twins(
        np.array(rows, np.int64),
        np.array([both[row] for row in rows], np.int64),
        np.array([row in exact for row in rows], np.bool_),
    )


def _comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that say something, of values that can be hashed."""
    kept = {}
    for place in range(rows.shape[1]):
        column = rows.iloc[:, place]
        if pd.api.types.is_float_dtype(column):
            kept[place] = column + 0.0  # no negative zeros
        elif column.nunique(dropna=False) < len(column):
            is_number = pd.api.types.is_numeric_dtype(column)
            kept[place] = column if is_number else column.astype(str).where(column.notna())
    return pd.DataFrame(kept, index=rows.index)


def _equal(rows: pd.DataFrame, num: int, *, inside: bool) -> dict[int, int]:
    """Return a twin that is equal for each of the first ``num`` rows that has one."""
    groups = pd.Series(pd.util.hash_pandas_object(rows, index=False).to_numpy())
    pool = groups if inside else groups[num:]
    first, last = (pool.drop_duplicates(keep=keep) for keep in ("first", "last"))
    firsts, lasts = (dict(zip(ends, ends.index, strict=True)) for ends in (first, last))
    asked = groups[:num]
    asked = asked[asked.duplicated(keep=False) if inside else asked.isin(pool)]
    rare = asked.index[_expected(rows, groups.to_numpy(), asked.index.to_numpy()) < RARE]
    ends = {int(row): (int(firsts[asked[row]]), int(lasts[asked[row]])) for row in rare}
    return {row: (other if first == row else first) - (0 if inside else num) for row, (first, other) in ends.items()}


def _expected(rows: pd.DataFrame, hashes: NDArray[np.uint64], asked: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how many rows are equal to some by chance, if columns are independent; none are where they are texts.

    A value is as frequent as the rows that are not equal have it; one that they do not have at all is as rare as it is
    in its column that two such rows agree.
    """
    expected = np.full(len(asked), math.log(len(rows)))
    if len(asked) == 0:
        return expected
    groups = pd.factorize(hashes)[0]
    sizes = np.bincount(groups)
    pairs = len(rows) * (len(rows) - 1) / 2
    for _, column in rows.items():
        if _is_text(column):
            return np.zeros(len(asked))
        codes = pd.factorize(column, use_na_sentinel=False)[0]
        counts = np.bincount(codes)
        agree = (_pairs(counts) - _pairs(sizes) + 1) / pairs
        others = (counts[codes[asked]] - sizes[groups[asked]]) / len(rows)
        expected += np.log(np.where(others > 0, others, agree))
    return np.asarray(np.exp(expected))


def _pairs(counts: NDArray[np.int64]) -> float:
    return float((counts * (counts - 1.0) / 2).sum())


def _near(rows: pd.DataFrame, num: int, *, inside: bool) -> dict[int, int]:
    """Return a twin that is near for rows among the first ``num``; equal rows count as one."""
    measured = rows[_measurements(rows)].astype(np.float64) if rows.shape[1] <= MOST_COLUMNS else rows.iloc[:, :0]
    if measured.shape[1] == 0:
        return {}
    side = np.zeros(len(rows), np.int64) if inside else (np.arange(len(rows)) >= num).astype(np.int64)
    once = np.flatnonzero(~rows.assign(**{"": side}).duplicated().to_numpy())
    if len(once) > MOST_ROWS:
        once = np.sort(np.random.default_rng(0).choice(once, MOST_ROWS, replace=False))
    asked = once[once < num]
    pool = once if inside else once[once >= num]
    if len(pool) <= FAR + 1 or len(asked) == 0:
        return {}
    spread = measured.std(ddof=0).replace(0.0, 1.0)
    points = ((measured - measured.mean()) / spread).fillna(0.0).to_numpy()[once]
    within, own = _nearest(points, np.isin(once, pool), np.isin(once, pool), inside=True)
    limit = _limit(within, len(asked), measured.shape[1])
    distances, nearest = (within, own) if inside else _nearest(points, once < num, once >= num, inside=False)
    near = np.flatnonzero(distances[:, 0] < limit * distances[:, -1])
    others = rows.drop(columns=measured.columns)
    groups = pd.factorize(pd.util.hash_pandas_object(others, index=False))[0]
    alike = groups[asked[near]] == groups[pool[nearest[near]]]
    offset = 0 if inside else num
    return {int(asked[k]): int(pool[nearest[k]]) - offset for k in near[alike]}


def _is_text(column: pd.Series[Any]) -> bool:
    if pd.api.types.is_numeric_dtype(column):
        return False
    lengths = [len(text.encode()) for text in column.dropna()]
    return sum(lengths) >= SENTENCE * len(lengths)


def _nearest(
    points: NDArray[np.float64], asked: NDArray[np.bool_], pool: NDArray[np.bool_], *, inside: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the distances to the first ``FAR`` neighbours, (N, FAR), and the place of the first, (N,)."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=FAR + inside).fit(points[pool])
    distances, places = search.kneighbors(points[asked])
    if inside:  # without the row itself, which may tie with others
        own = places == np.arange(len(places))[:, None]
        own[~own.any(1), -1] = True
        distances, places = (a[~own].reshape(-1, FAR) for a in (distances, places))
    return distances, places[:, 0]


def _measurements(rows: pd.DataFrame) -> list[object]:
    """Return the columns of numbers most of which occur once or twice."""
    numeric = rows.select_dtypes("number")
    return [name for name, column in numeric.items() if 2 * column.nunique() > column.count()]


def _limit(distances: NDArray[np.float64], num: int, measured: int) -> float:
    """Return how near a twin is, in distances to the last neighbour, by the dimension in which the rows spread."""
    apart = distances[distances[:, 0] > 0]
    if len(apart) == 0:
        return 0.0
    typical = float(np.median(np.log(apart[:, -1] / apart[:, 0])))
    dimension = min(_TYPICAL / max(typical, _TYPICAL / measured), measured)
    return float(min(NEAR, (ALARMS / ((FAR - 1) * num)) ** (1 / dimension)))
