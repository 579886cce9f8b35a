"""Rows that are the same, or nearly: inside of a table, or across two parts of it.

Equal rows are of two kinds. A copy is the same row written twice. A tie is two rows that coarse columns cannot tell
apart: then their values are frequent, or many other pairs of rows differ in one column alone.

Legend: ``N`` rows, ``D`` columns, ``P`` rows that have a twin, ``K`` neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden._checks import InputError
from meden.data.fitted import robust_scaling

Places = NDArray[np.int64]
Mask = NDArray[np.bool_]
Hashes = NDArray[np.uint64]
Numbers = NDArray[np.float64]

RARE = 1e-3
"""Equal rows that a row may expect, were its cells drawn each for itself, below which those it has may be copies: a
tenth of what would be needed for one such row in a hundred, since columns that depend on each other agree oftener."""
SENTENCE = 30
"""Bytes, in the mean, from which two equal texts are no coincidence; a moment has 19, or 25 with its zone."""
DIFFERENT = 0.9
"""Share of different values from which on a column is fine: two rows do not share one by chance."""
MOST_LEFT_OUT = 200
"""Columns that are left out in turn to tell ties from copies; of more, so many are drawn."""
ALARMS = 0.01
"""Chance that some row is called near where none is, over all rows that are asked."""
FEWEST = 20
"""Rows from which on distances say how dense rows lie."""
MOST_ASKED, MOST_AMONG, MOST_CELLS = 2_000, 50_000, 20_000_000
"""Rows whose nearest neighbours are looked for, rows among which, and their numbers: drawn, where there are more."""
MOST_COPIES = 4
"""Neighbours that may be copies of one row."""
MEASURED, FEWEST_MEASURED = 0.05, 2
"""Share of different values from which on a column of numbers measures, where others count or rate, and must agree;
and so many such columns that distances mean something."""
NEAR = 0.1
"""Share of the usual distance to the nearest neighbour within which a pair is near: where density changes at once, at
the rim of a cluster, ratios alone are large too."""


@dataclass(frozen=True)
class Equal:
    """Rows that are equal to others."""

    groups: Places
    """Number of the set of equal rows that each row belongs to, (N,)."""
    is_copy: Mask
    """Whether a row is equal to another, and that is no coincidence, (N,)."""

    @property
    def copies(self) -> bool:
        """Whether there are copies; equal rows of a table that has none are ties."""
        return bool(self.is_copy.any())

    @property
    def repeated(self) -> Places:
        """Copies with what they are copies of, or the ties where there are no copies, rising."""
        return np.flatnonzero(self.is_copy if self.copies else np.bincount(self.groups)[self.groups] > 1)

    @property
    def num_rows(self) -> int:
        """How many of them have an earlier one that is equal."""
        return num_later(self.groups[self.repeated])


@dataclass(frozen=True)
class Twins:
    """Rows that have a twin."""

    rows: Places
    """Positions of the rows, rising, (P,)."""
    twins: Places
    """Position of a twin of each, (P,): in the other part where there are two."""
    exact: Mask
    """Whether the twin is equal in every column, not only nearly, (P,)."""

    def __len__(self) -> int:
        return len(self.rows)


def twins(part: pd.DataFrame, among: pd.DataFrame | None = None) -> Twins:
    """Return the rows that have a twin which is no coincidence.

    Equal rows are told from ties as in :func:`equal_rows`, near ones as in :func:`near_rows`, of which up to
    ``MOST_ASKED`` rows are looked at. Columns that number the rows are left out, since they hide every twin.

    Args:
        part: rows, (N, D), inputs only.
        among: other rows of the same columns, to find twins in; None looks among the other rows of ``part``.

    Returns:
        rows of ``part`` with their twins.

    Raises:
        InputError: if the two have other columns.

    Example:
        >>> rows = pd.DataFrame(np.random.default_rng(0).standard_normal((50, 4)))
        >>> found = twins(rows.iloc[:5], among=pd.concat([rows.iloc[10:], rows.iloc[3:4] + 1e-7, rows.iloc[:1]]))
        >>> found.rows.tolist(), found.twins.tolist(), found.exact.tolist()
        ([0, 3], [41, 40], [True, False])

    Reference:
        B. Barz and J. Denzler, Do we train on test data?, 2020.
    """
    if among is not None and list(among.columns) != list(part.columns):
        raise InputError(f"among must have the columns of part ({_named(part)}), got {_named(among)}")
    rows = comparable(part if among is None else pd.concat([part, among], ignore_index=True))
    num, start = len(part), 0 if among is None else len(part)
    equal = equal_rows(rows)
    pool = _firsts(equal.groups, start, len(rows))
    asked = _firsts(equal.groups, 0, num)
    asked = asked if among is None else asked[~np.isin(equal.groups[asked], equal.groups[pool])]
    exact = _partners(equal, num, start)
    near = _near_groups(equal.groups, near_rows(rows, asked, pool), is_mutual=among is None)
    found = {row: near[group] for row, group in enumerate(equal.groups[:num].tolist()) if group in near} | exact
    places = sorted(found)
    return Twins(
        np.array(places, np.int64),
        np.array([found[row] - start for row in places], np.int64),
        np.array([row in exact for row in places], np.bool_),
    )


def comparable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns in which rows may be equal, by their places, of values that can be hashed."""
    rows = rows.reset_index(drop=True)
    kept = {}
    for place in range(rows.shape[1]):
        given: pd.Series[Any] = rows.iloc[:, place]
        is_number = pd.api.types.is_numeric_dtype(given)
        column: pd.Series[Any] = given if is_number else given.astype(str).where(given.notna())
        if pd.api.types.is_float_dtype(column):
            kept[place] = column.abs().where(column == 0, column)  # no negative zeros
        elif column.nunique(dropna=False) < len(column) or _is_text(column):
            kept[place] = column
    return pd.DataFrame(kept, index=rows.index)


def equal_rows(rows: pd.DataFrame) -> Equal:
    """Find rows that are equal, and tell copies from ties.

    A copy has values too rare to come together by chance, were the columns independent; and since columns that depend
    on each other agree oftener, more pairs of the table are equal than differ in one coarse column alone: two rows that
    agree in all columns but one agree in that one, too, with less than even odds, unless one is a copy.

    Args:
        rows: (N, D), :func:`comparable`.

    Example:
        >>> rows = pd.DataFrame(np.random.default_rng(0).standard_normal((50, 4)).round(1))
        >>> equal_rows(pd.concat([rows, rows.iloc[:2]])).repeated.tolist()
        [0, 1, 50, 51]
    """
    hashes = np.zeros(len(rows), dtype=np.uint64)
    for place in range(rows.shape[1]):
        hashes += _hashed(rows, place)
    groups = pd.factorize(hashes)[0].astype(np.int64)
    is_copy = np.zeros(len(rows), dtype=bool)
    repeated = np.flatnonzero(np.bincount(groups)[groups] > 1)
    if len(repeated) and rows.shape[1]:
        rare = repeated[_expected(rows, groups, repeated) < RARE]
        is_copy[rare] = len(rare) > 0 and _pairs(np.bincount(groups)) > _pairs_nearly(rows, hashes)
    return Equal(groups, is_copy)


def near_rows(rows: pd.DataFrame, asked: Places, pool: Places) -> Places:
    """Find rows that are almost equal, by the ratios of distances to neighbours, and equal in all but measurements.

    Where rows lie as densely as around them, the distance to neighbour k + 1 over that to neighbour k is a Pareto
    variable of shape k d, in d dimensions, which the median of the first ratio gives. A pair is near if its ratio is
    too large for that, over all rows asked. Numbers are scaled by their quartiles; a missing one lies at the median.

    Args:
        rows: (N, D), :func:`comparable`.
        asked: rows whose neighbours are looked for, none of them equal to one of the pool, but itself.
        pool: rows among which, no two of them equal.

    Returns:
        pairs of a row that was asked and one of the pool, (p, 2), rising.

    Reference:
        E. Facco, M. d'Errico, A. Rodriguez and A. Laio, Estimating the intrinsic dimension of datasets by a minimal
        neighborhood information, 2017 (k = 1); F. Denti, D. Doimo, A. Laio and A. Mira, The generalized ratios
        intrinsic dimension estimator, 2022.
    """
    none = np.empty((0, 2), dtype=np.int64)
    measured = [name for name in rows if _is_measured(rows[name].iloc[pool])]
    if len(measured) < FEWEST_MEASURED or len(pool) < FEWEST or len(asked) == 0:
        return none
    pool = _drawn(pool, min(MOST_AMONG, MOST_CELLS // len(measured)), salt=1)
    asked = _drawn(asked, MOST_ASKED)
    points = _scaled(rows[measured], pool)
    usual = _neighbours(points, _drawn(pool, MOST_ASKED), pool)[0]
    distances, found = _neighbours(points, asked, pool)
    suspects = np.argwhere(_too_near(distances, usual))
    if not len(suspects):
        return none
    others = rows.drop(columns=measured)
    alike = pd.factorize(pd.util.hash_pandas_object(others, index=False))[0] if others.shape[1] else np.zeros(len(rows))
    pairs = {(int(asked[place]), int(row)) for place, k in suspects for row in found[place, : k + 1]}
    return np.array(sorted(pair for pair in pairs if alike[pair[0]] == alike[pair[1]]), np.int64).reshape(-1, 2)


def num_later(sets: Places) -> int:
    """Return how many rows come after another one of their set."""
    return len(sets) - len(np.unique(sets))


def _named(frame: pd.DataFrame) -> str:
    shown = ", ".join(map(str, frame.columns[:5]))
    return shown + (", ..." if frame.shape[1] > 5 else "") or "none"


def _firsts(groups: Places, start: int, stop: int) -> Places:
    """Return the first row of each set of equal ones, of those from ``start`` to ``stop``."""
    return start + np.sort(np.unique(groups[start:stop], return_index=True)[1])


def _partners(equal: Equal, num: int, start: int) -> dict[int, int]:
    """Return a copy, of those from ``start`` on, of each of the first ``num`` rows that has one."""
    copies = [(row, int(equal.groups[row])) for row in np.flatnonzero(equal.is_copy).tolist()]
    last = {group: row for row, group in copies if row >= start}
    first = {group: row for row, group in reversed(copies) if row >= start}
    asked = [(row, group) for row, group in copies if row < num and group in first]
    return {row: last[group] if first[group] == row else first[group] for row, group in asked}


def _near_groups(groups: Places, pairs: Places, *, is_mutual: bool) -> dict[int, int]:
    """Return a row that is near, by the set of equal rows to which it is."""
    found: dict[int, int] = {}
    for one, other in pairs.tolist():
        found.setdefault(int(groups[one]), other)
        if is_mutual:
            found.setdefault(int(groups[other]), one)
    return found


def _hashed(rows: pd.DataFrame, place: int) -> Hashes:
    """Return a hash of each cell of a column, (N,), which add up to that of a row."""
    factor = np.random.default_rng(place).integers(0, 2**63, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = pd.util.hash_array(rows.iloc[:, place].to_numpy()) * factor
    hashed: Hashes = mixed ^ (mixed >> np.uint64(32))
    return hashed


def _expected(rows: pd.DataFrame, groups: Places, asked: Places) -> Numbers:
    """Return how many rows are equal to some by chance, if columns are independent; none are where they are texts.

    A value is as frequent as the rows that are not equal have it; one that they do not have at all is as rare as it is
    in its column that two such rows agree.
    """
    expected = np.full(len(asked), math.log(len(rows)))
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


def _pairs(counts: Places) -> float:
    return float((counts * (counts - 1.0) / 2).sum())


def _pairs_nearly(rows: pd.DataFrame, hashes: Hashes) -> float:
    """Return the number of pairs of rows that differ in one coarse column alone."""
    coarse = np.array([place for place in range(rows.shape[1]) if not _is_fine(rows.iloc[:, place])], dtype=np.int64)
    drawn = _drawn(coarse, MOST_LEFT_OUT)
    equal = _pairs(_counts(hashes))
    nearly = sum(_pairs(_counts(hashes - _hashed(rows, place))) - equal for place in drawn.tolist())
    return nearly * len(coarse) / max(1, len(drawn))


def _counts(hashes: Hashes) -> Places:
    return np.bincount(pd.factorize(hashes)[0])


def _is_fine(column: pd.Series[Any]) -> bool:
    return bool(column.nunique() > DIFFERENT * column.count()) or _is_text(column)


def _is_text(column: pd.Series[Any]) -> bool:
    if pd.api.types.is_numeric_dtype(column):
        return False
    lengths = [len(text.encode()) for text in column.dropna()]
    return sum(lengths) >= SENTENCE * max(1, len(lengths))


def _is_measured(column: pd.Series[Any]) -> bool:
    """Say whether a column measures, so that two rows may almost agree in it."""
    is_number = pd.api.types.is_numeric_dtype(column)
    return is_number and bool(column.nunique() > max(FEWEST, MEASURED * column.count()))


def _drawn(places: Places, most: int, salt: int = 0) -> Places:
    """Return all, or so many at random, in their order."""
    if len(places) <= most:
        return places
    return np.sort(np.random.default_rng(salt).choice(places, most, replace=False))


def _scaled(numbers: pd.DataFrame, pool: Places) -> Numbers:
    """Return numbers on one scale, logarithmic where they are large, so that the far ones are no neighbours, (N, D)."""
    scaled = []
    for _, column in numbers.items():
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        is_known = np.isfinite(values)
        center, scale = robust_scaling(values[pool][is_known[pool]])
        scaled.append(np.arcsinh((np.where(is_known, values, center) - center) * scale))
    return np.column_stack(scaled)


def _neighbours(points: Numbers, asked: Places, pool: Places) -> tuple[Numbers, Places]:
    """Return the distances of some rows to the nearest of the pool but themselves, (a, K), and which these are."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(MOST_COPIES + 2, len(pool)), algorithm="brute").fit(points[pool])
    found = pool[search.kneighbors(points[asked], return_distance=False)]
    exact = np.linalg.norm(points[found] - points[asked][:, None], axis=2)  # not by a difference
    exact[found == asked[:, None]] = np.inf
    order = np.argsort(exact, axis=1, kind="stable")[:, :-1]
    return np.take_along_axis(exact, order, axis=1), np.take_along_axis(found, order, axis=1)


def _too_near(distances: Numbers, usual: Numbers) -> Mask:
    """Say for each row and k whether its k nearest neighbours are nearer than what lies around them allows.

    Args:
        distances: of rows to their neighbours, (a, K).
        usual: of rows in the pool to theirs, (b, K).
    """
    spread = float(np.median(np.log(_ratios(usual)[:, 0])))
    if spread <= 0:  # numbers so coarse that most rows have several nearest neighbours
        return np.zeros((len(distances), distances.shape[1] - 1), dtype=bool)
    ratios = _ratios(distances)
    shapes = math.log(2) / spread * np.arange(1, ratios.shape[1] + 1)
    improbable = -np.log(ratios) * shapes < math.log(ALARMS / ratios.size)
    return improbable & (distances[:, :-1] < NEAR * np.median(usual[:, 0]))


def _ratios(distances: Numbers) -> Numbers:
    apart = np.maximum(distances, np.finfo(np.float64).tiny)  # rows may be equal in all that is measured
    return apart[:, 1:] / apart[:, :-1]
