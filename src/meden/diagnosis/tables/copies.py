"""Rows that are there twice: in the table, and on both sides of a split.

Equal rows are of two kinds. A copy is the same row written twice. A tie is two rows that coarse columns cannot tell
apart: then many other pairs of rows differ in one of them alone, which of copies they do not.

Legend: ``n`` rows, ``D`` columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from meden.data.fitted import robust_scaling
from meden.diagnosis.finding import Seen
from meden.diagnosis.intervals import wilson
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.columns import DIFFERENT, keys
from meden.diagnosis.tables.table import ALPHA, FEWEST, Codes, Table
from meden.diagnosis.tables.wording import are, have, listed, plural

Hashes = npt.NDArray[np.uint64]
MOST_LEFT_OUT = 200
"""Columns that are left out in turn to tell ties from copies; of more, so many are drawn."""
MOST_ASKED, MOST_AMONG = 2_000, 50_000
"""Rows whose nearest neighbours are looked for, and rows among which: drawn, where there are more."""
MOST_COPIES = 4
"""Neighbours that may be copies of one row."""
MEASURED, FEWEST_MEASURED = 0.05, 2
"""Share of different values from which on a column of numbers measures, where others count or rate, and must agree;
and so many such columns that distances mean something."""
NEAR = 0.1
"""Share of the usual distance to the nearest neighbour within which a pair is near: where density changes at once, at
the rim of a cluster, ratios alone are large too."""
TIED = 2.0
"""Times as many equal pairs as columns that do not depend on each other would have, up to which rows are ties."""
SHOWN = 3
"""Sets of rows that a message names."""


@dataclass(frozen=True)
class Equal:
    """Rows with the same inputs."""

    groups: Codes
    """Number of the set of equal rows that each row belongs to, (n,)."""
    num_rows: int
    """Rows whose inputs an earlier row has."""
    num_whole: int
    """Those whose target an earlier equal row has, too."""
    copies: bool
    """Whether more pairs are equal than differ in one coarse column alone, and than chance makes."""

    @property
    def repeated(self) -> Codes:
        """Rows whose inputs are there more than once."""
        return np.flatnonzero(np.bincount(self.groups)[self.groups] > 1)


def equal_rows(table: Table) -> Equal:
    """Find the rows with the same inputs, keys apart, and tell copies from ties."""
    names = _compared(table)
    parts = _hashes(table, names)
    whole = _sum(parts)
    groups = np.unique(whole, return_inverse=True)[1].astype(np.int64)
    with_target = pd.DataFrame({"group": groups, "target": table.dataset.labels}).drop_duplicates()
    num_rows = table.num_rows - int(groups.max()) - 1
    coarse = [part for name, part in zip(names, parts, strict=True) if num_rows and not _is_fine(table, name)]
    drawn = np.random.default_rng(table.seed).permutation(len(coarse))[:MOST_LEFT_OUT]
    equal = _pairs(whole)
    nearly = sum(_pairs(whole - coarse[place]) - equal for place in drawn) * (len(coarse) / max(1, len(drawn)))
    return Equal(
        groups,
        num_rows,
        table.num_rows - len(with_target),
        copies=num_rows > 0 and equal > max(nearly, TIED * _by_chance(table, names)),
    )


def _by_chance(table: Table, names: list[str]) -> float:
    """Return the number of equal pairs that there were if each column had its values for itself; 0 with a fine one."""
    if any(_is_fine(table, name) for name in names):
        return 0.0
    pairs = table.num_rows * (table.num_rows - 1) / 2
    for name in names:
        shares = np.bincount(table.codes[name] + 1) / table.num_rows
        pairs *= float((shares**2).sum())
    return pairs


def _is_fine(table: Table, name: str) -> bool:
    """Say whether nearly all values of a column differ, so that two rows do not share one by chance."""
    codes = table.codes[name]
    return int(codes.max()) + 1 > DIFFERENT * int((codes >= 0).sum())


def _compared(table: Table) -> list[str]:
    """Return the columns in which rows may be equal: all but keys, which are never."""
    unequal = table.once(keys)
    return [name for name in table.columns if name not in unequal] or list(table.columns)


def _hashes(table: Table, names: list[str]) -> list[Hashes]:
    """Return a hash of each cell, (n,) a column, which add up to that of a row."""
    odd = np.random.default_rng(0).integers(0, 2**63, len(names), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    hashed = []
    for name, factor in zip(names, odd, strict=True):
        values = table.columns[name]
        cells = values if values.dtype == object else values + 0.0  # -0 is 0
        mixed = pd.util.hash_array(cells) * factor
        hashed.append(mixed ^ (mixed >> np.uint64(32)))
    return hashed


def _sum(parts: list[Hashes]) -> Hashes:
    total = np.zeros(len(parts[0]), dtype=np.uint64)
    for part in parts:
        total += part
    return total


def _pairs(hashes: Hashes) -> float:
    """Return the number of pairs of rows with the same hash."""
    counts = np.unique(hashes, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())


@dataclass(frozen=True)
class Near:
    """Pairs of rows that are nearer to each other than neighbours are, and not equal."""

    pairs: Codes
    """Rows of each pair, the smaller first, (p, 2)."""
    num_asked: int
    """Rows whose neighbours were looked for."""


def near_rows(table: Table) -> Near:
    """Find rows that are almost equal, by the ratios of distances to neighbours, and equal in all but numbers.

    Where rows lie as densely as around them, the distance to neighbour k + 1 over that to neighbour k is a Pareto
    variable of shape k d, in d dimensions. A pair is near if its ratio is too large for that, over all rows asked.
    Numbers are scaled by their quartiles; a missing one lies at the median.

    Reference:
        E. Facco, M. d'Errico, A. Rodriguez and A. Laio, Estimating the intrinsic dimension of datasets by a minimal
        neighborhood information, 2017 (k = 1); F. Denti, D. Doimo, A. Laio and A. Mira, The generalized ratios
        intrinsic dimension estimator, 2022.
    """
    compared = _compared(table)
    measured = [name for name in compared if _is_measured(table, name)]
    first = np.unique(table.once(equal_rows).groups, return_index=True)[1]
    rows = np.intersect1d(table.draw(MOST_AMONG, salt=1), first)
    if len(measured) < FEWEST_MEASURED or len(rows) < FEWEST:
        return Near(np.empty((0, 2), dtype=np.int64), 0)
    points = _scaled(table, measured, rows)
    asked = np.sort(np.random.default_rng(table.seed).permutation(len(rows))[:MOST_ASKED])
    distances, found = _neighbours(points, asked)
    suspects = np.argwhere(_too_near(distances))
    others = [table.codes[name] for name in compared if name not in measured]
    pairs = set()
    for place, k in suspects:
        one = rows[asked[place]]
        for other in rows[found[place, : k + 1]]:
            if all(codes[one] == codes[other] for codes in others):
                pairs.add((min(one, other), max(one, other)))
    return Near(np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2), len(asked))


def _is_measured(table: Table, name: str) -> bool:
    codes = table.codes[name]
    return table.kinds[name] in ("number", "date") and int(codes.max()) > max(
        FEWEST, MEASURED * int((codes >= 0).sum())
    )


def _scaled(table: Table, names: list[str], rows: Codes) -> npt.NDArray[np.float64]:
    """Return numbers on one scale, logarithmic where they are large, so that the far ones are no neighbours, (r, D)."""
    scaled = []
    for name in names:
        values = table.columns[name][rows]
        center, scale = robust_scaling(values[~np.isnan(values)])
        scaled.append(np.nan_to_num(np.arcsinh((values - center) * scale)))
    return np.column_stack(scaled)


def _neighbours(points: npt.NDArray[np.float64], asked: Codes) -> tuple[npt.NDArray[np.float64], Codes]:
    """Return distances to the nearest points other than itself, (a, k), and which these are."""
    from sklearn.neighbors import NearestNeighbors

    count = min(MOST_COPIES + 2, len(points))
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points)
    found = search.kneighbors(points[asked], return_distance=False)
    exact = np.linalg.norm(points[found] - points[asked][:, None], axis=2)  # not by a difference
    exact[found == asked[:, None]] = -1.0  # itself, which an equal one may come before
    order = np.argsort(exact, axis=1, kind="stable")[:, 1:]
    return np.take_along_axis(exact, order, axis=1), np.take_along_axis(found, order, axis=1)


def _too_near(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Say for each row and k whether its k nearest neighbours are nearer than what lies around them allows."""
    ratios = distances[:, 1:] / np.maximum(distances[:, :-1], np.finfo(np.float64).tiny)
    usual = float(np.median(np.log(ratios[:, 0])))
    if usual <= 0:  # numbers so coarse that most rows have several nearest neighbours
        return np.zeros(ratios.shape, dtype=bool)
    dimension = math.log(2) / usual
    shapes = dimension * np.arange(1, ratios.shape[1] + 1)
    improbable = -np.log(ratios) * shapes < math.log(ALPHA / ratios.size)
    return improbable & (distances[:, :-1] < NEAR * np.median(distances[:, 0]))


@rule("data", "warning")
def duplicate_rows(table: Table) -> Seen | None:
    """Rows that are there twice: folds put one on each side, and the score is of rows that were trained on."""
    equal = table.once(equal_rows)
    if not equal.copies or table.split is not None:
        return None
    return Seen(
        f"{plural(equal.num_rows, 'row')} of {table.num_rows:,} {have(equal.num_rows)} the inputs of an earlier one "
        f"({equal.num_whole:,} the target, too; {_sets(equal.groups, equal.repeated)}), and few pairs differ in one "
        "column alone: they are copies, not ties",
        "Leave the copies out, or name what ties them together as groups, so that they stay on one side",
        value=equal.num_rows / table.num_rows,
    )


@rule("data", "info")
def tied_rows(table: Table) -> Seen | None:
    """Rows with equal inputs in a table so coarse that these are no sign of copies."""
    equal = table.once(equal_rows)
    if equal.copies or not equal.num_rows:
        return None
    return Seen(
        f"{plural(equal.num_rows, 'row')} of {table.num_rows:,} {have(equal.num_rows)} the inputs of an earlier one "
        f"({equal.num_whole:,} the target, too); more pairs differ in a single column, so that they may be ties of "
        "coarse columns",
        "Nothing, unless they are copies: then leave them out",
        value=equal.num_rows / table.num_rows,
    )


@rule("data", "warning")
def near_duplicates(table: Table) -> Seen | None:
    """Pairs of rows that are nearer to each other than neighbours are: folds put one on each side."""
    near = table.once(near_rows)
    if not len(near.pairs) or table.split is not None:
        return None
    return Seen(
        f"{plural(len(near.pairs), 'pair')} of rows {are(len(near.pairs))} far nearer to each other than to their "
        f"other neighbours, of {near.num_asked:,} rows asked: {_shown(near.pairs)}",
        "See whether they are one thing measured twice; if so, name what ties them together as groups",
        value=len(near.pairs) / near.num_asked,
    )


@rule("data", "warning")
def contradictory_labels(table: Table) -> Seen | None:
    """Copies of a row with different targets: no model gets all of them right."""
    equal = table.once(equal_rows)
    if not equal.copies or equal.num_whole == equal.num_rows:
        return None
    frame = pd.DataFrame({"group": equal.groups, "target": table.dataset.labels})
    differ = np.flatnonzero(frame.groupby("group")["target"].transform("nunique").to_numpy() > 1)
    return Seen(
        f"{plural(len(differ), 'row')} {have(len(differ))} a copy with another target: {_sets(equal.groups, differ)}",
        "Look at them: one of the targets is wrong, or a column that tells the rows apart is not there",
        value=len(differ) / table.num_rows,
    )


@rule("data", "error")
def split_duplicates(table: Table) -> Seen | None:
    """Rows that score and are among those that fit, exactly or nearly: the score is of rows that were trained on."""
    if table.split is None:
        return None
    equal, near = table.once(equal_rows), table.once(near_rows)
    fit, score = table.part("fit"), table.part("score")
    exact = score[np.isin(equal.groups[score], equal.groups[fit])] if equal.copies else score[:0]
    across = table.split[near.pairs]
    torn = near.pairs[((across == "fit").any(axis=1)) & ((across == "score").any(axis=1))]
    if not (len(exact) or len(torn)):
        return None
    also = f"; {plural(len(torn), 'pair')} more that are nearly equal: {_shown(torn)}" if len(torn) else ""
    first = f": {_sets(equal.groups, exact, among=np.concatenate([fit, score]))}" if len(exact) else ""
    found = np.union1d(exact, torn[np.isin(torn, score)]) if len(torn) else exact
    return Seen(
        f"{plural(len(exact), 'row')} of {len(score):,} that score {are(len(exact))} there among those that fit"
        f"{first}{also}",
        "Take them out of the rows that fit, or split by what ties them together; scores made with this split are of "
        "rows that were trained on",
        value=len(found) / len(score),
        interval=wilson(len(found) / len(score), len(score)),
    )


def _sets(groups: Codes, rows: Codes, among: Codes | None = None) -> str:
    """Name some sets of equal rows: ``rows 3 and 17, rows 4, 5 and 6, ...``."""
    pool = np.arange(len(groups)) if among is None else np.sort(among)
    chosen = list(dict.fromkeys(groups[rows].tolist()))
    named = [listed(pool[groups[pool] == group]) for group in chosen[:SHOWN]]
    return ", ".join(named) + (" and more" if len(chosen) > SHOWN else "")


def _shown(pairs: Codes) -> str:
    return ", ".join(listed(pair) for pair in pairs[:SHOWN]) + (" and more" if len(pairs) > SHOWN else "")
