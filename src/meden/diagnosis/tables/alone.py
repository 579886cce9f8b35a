"""What each column says of the target by itself: a cross-validated stump with many ends.

Legend: ``n`` rows, ``F`` folds, ``B`` bins of a column, ``C`` classes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from meden.diagnosis.intervals import Z, wilson
from meden.diagnosis.tables.table import FEWEST, Codes, Table

BINS = 32
"""Of a column of numbers, with as many rows each; levels of other columns are bins of their own."""
FOLDS = 5
MOST_ROWS = 50_000
MOST_COUNTS = 20_000_000
"""Counts of bins, classes and folds that are held at a time."""
CANDIDATE = 0.7
"""Skill from which on a column gets a tree in place of bins, whose ends are where the target changes."""
LEAVES = 64
FEWEST_PRESENT = 100
"""Rows with a value from which on a column with gaps is judged by them alone: of fewer, an interval says little."""
SPREAD = 4
"""Bins that hold a rare class, of at most half as many bins of rows, where one or two ranges of a column are its own:
their most frequent class may be another all the same."""


@dataclass(frozen=True)
class Alone:
    """What one column alone is worth, on rows that the prediction had not seen."""

    skill: float
    """1 - errors / errors of the most frequent class; or 1 - squared error / variance, of the ranks of the numbers."""
    low: float
    high: float
    """Ends of its interval of 95 %."""
    with_gaps: bool = False
    """Whether it is of the rows that have a value alone, where others have none."""


def alone(table: Table) -> dict[str, Alone]:
    """Return what each column says of the target by itself, by name, the most telling first.

    The answer for a bin is its most frequent class, or its mean rank, in the other folds; groups are in one fold.
    Numbers whose values recur may be names of what rows belong to: each value is then tried as a bin, too. Where a
    column says more of the rows that have a value, that counts: gaps do not hide what it gives away.
    """
    num_classes = max(1, len(table.dataset.classes))
    rows = table.draw(min(MOST_ROWS, MOST_COUNTS // (FOLDS * num_classes)), salt=2)
    if len(rows) < FEWEST:
        return {}
    folds = _folds(table, rows)
    target = _target(table, rows)
    found = {}
    for name, codes in table.codes.items():
        present = codes[rows] >= 0
        found[name] = _of_column(table, name, rows, folds, target)
        if FEWEST_PRESENT <= present.sum() < len(rows):
            own = _of_column(table, name, rows[present], folds[present], target[present])
            found[name] = max(found[name], dataclasses.replace(own, with_gaps=True), key=lambda one: one.low)
    return dict(sorted(found.items(), key=lambda pair: -pair[1].skill))


def _of_column(table: Table, name: str, rows: Codes, folds: Codes, target: npt.NDArray[np.float64]) -> Alone:
    """Return the best that bins, values or a tree make of a column in some rows."""
    codes = table.codes[name][rows]
    bins = _bins(table, name, codes)
    ways = [bins]
    if table.kinds[name] == "number" and 2 * BINS <= len(np.unique(codes)) <= len(rows) / 2:
        ways.append(_levels(codes))
    tried = [_skill(*_losses(way, folds, target), classes=table.is_classes) for way in ways]
    promising = tried[0].skill >= CANDIDATE or (table.is_classes and _gathers(bins, target))
    if promising and table.kinds[name] != "text":
        tried.append(_tree(table.columns[name][rows], folds, target))
    return max(tried, key=lambda one: one.skill)


def _folds(table: Table, rows: Codes) -> Codes:
    generator = np.random.default_rng([table.seed, 3])
    groups = rows if table.dataset.groups is None else table.dataset.groups[rows]
    of_row = np.unique(groups, return_inverse=True)[1]
    return np.asarray((generator.permutation(int(of_row.max()) + 1) % FOLDS)[of_row], dtype=np.int64)


def _target(table: Table, rows: Codes) -> npt.NDArray[np.float64]:
    """Return indicators of the classes (n, C), or ranks (n, 1) from 0 to 1."""
    labels = table.dataset.labels[rows]
    target = labels[:, None] == np.unique(labels) if table.is_classes else pd.DataFrame(labels).rank(pct=True)
    return np.asarray(target, dtype=np.float64)


def _bins(table: Table, name: str, codes: Codes) -> Codes:
    """Return the bin of each row, 0 for a missing value."""
    if table.kinds[name] != "text" and int(codes.max()) >= 2 * BINS:
        present = codes >= 0
        order = pd.Series(codes[present]).rank(method="average", pct=True).to_numpy()
        bins = np.zeros(len(codes), dtype=np.int64)
        bins[present] = 1 + np.minimum((order * BINS).astype(np.int64), BINS - 1)
        return bins
    return _levels(codes)


def _levels(codes: Codes) -> Codes:
    """Return a bin for each value."""
    once = np.bincount(codes + 1)[codes + 1] == 1  # levels that tell nothing of other rows are one
    return np.unique(np.where(once, -2, codes), return_inverse=True)[1].astype(np.int64)


def _gathers(bins: Codes, target: npt.NDArray[np.float64]) -> bool:
    """Say whether few bins hold most of the rows that are of another class than the most frequent one."""
    rare = target.argmax(axis=1) != target.sum(axis=0).argmax()
    held = np.sort(np.bincount(bins[rare]))[::-1]
    return 0 < rare.mean() <= SPREAD / 2 / BINS and bool(held[:SPREAD].sum() >= CANDIDATE * rare.sum())


def _losses(
    bins: Codes, folds: Codes, target: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the loss of each row, by its bin in the other folds, and without the column, both (n,)."""
    num_bins, num_scores = int(bins.max()) + 1, target.shape[1]
    place = folds * num_bins + bins
    shape = (FOLDS, num_bins)
    counts = np.bincount(place, minlength=FOLDS * num_bins).reshape(shape).astype(np.float64)
    sums = np.stack([np.bincount(place, column, minlength=FOLDS * num_bins).reshape(shape) for column in target.T], 2)
    others, of_others = counts.sum(axis=0) - counts, sums.sum(axis=0) - sums  # (F, B), (F, B, C)
    whole = of_others.sum(axis=1) / others.sum(axis=1)[:, None]  # (F, C)
    means = np.where(others[..., None] > 0, of_others / np.maximum(others, 1)[..., None], whole[:, None])
    if num_scores == 1:
        said, blank = means[folds, bins, 0], whole[folds, 0]
        return (target[:, 0] - said) ** 2, (target[:, 0] - blank) ** 2
    right = target.argmax(axis=1)
    tied = means + 1e-9 * whole[:, None]  # the more frequent of classes that are as frequent in the bin
    return (
        (tied.argmax(axis=2)[folds, bins] != right).astype(np.float64),
        (whole.argmax(axis=1)[folds] != right).astype(np.float64),
    )


def _tree(values: npt.NDArray[np.float64], folds: Codes, target: npt.NDArray[np.float64]) -> Alone:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    classes = target.shape[1] > 1
    right = target.argmax(axis=1) if classes else target[:, 0]
    errors, blank = np.empty(len(values)), np.empty(len(values))
    for fold in range(FOLDS):
        fit, score = folds != fold, folds == fold
        if not (fit.any() and score.any()):
            return Alone(-np.inf, -np.inf, -np.inf)
        tree = (DecisionTreeClassifier if classes else DecisionTreeRegressor)(max_leaf_nodes=LEAVES, random_state=0)
        said = tree.fit(values[fit, None], right[fit]).predict(values[score, None])
        usual = np.bincount(right[fit]).argmax() if classes else right[fit].mean()
        if classes:
            errors[score], blank[score] = said != right[score], usual != right[score]
        else:
            errors[score], blank[score] = (said - right[score]) ** 2, (usual - right[score]) ** 2
    return _skill(errors, blank, classes=classes)


def _skill(errors: npt.NDArray[np.float64], blank: npt.NDArray[np.float64], *, classes: bool) -> Alone:
    """Return 1 - the ratio of two mean losses, with its interval over the rows."""
    usual = float(blank.mean())
    if usual == 0:
        return Alone(0.0, -np.inf, 1.0)
    ratio = float(errors.mean()) / usual
    if classes:
        low, high = wilson(float(errors.mean()), len(errors))
        return Alone(1 - ratio, 1 - high / usual, 1 - low / usual)
    half = Z * float(np.std(errors - ratio * blank, ddof=1)) / (np.sqrt(len(errors)) * usual)
    return Alone(1 - ratio, 1 - ratio - half, 1 - ratio + half)
