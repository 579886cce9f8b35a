"""Whether the order of the rows in the table says something of the target.

Legend: ``n`` rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from meden.data.columns import Values
from meden.diagnosis.finding import Seen
from meden.diagnosis.intervals import Z
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.table import ALPHA, FEWEST, Table

DRAWS = 999
"""Orders at random that the order of the rows is compared with."""
MOST_ROWS = 10_000
"""Rows from the beginning of the table that are looked at."""
ROUNDING = 1e-12
"""Two sums that differ by less are the same, added up in another order."""
LIKE = 0.05
"""Correlation of neighbours below which they hardly tell each other's target, however sure it is."""


@dataclass(frozen=True)
class Neighbours:
    """How alike the targets of neighbouring rows are."""

    correlation: float
    p: float
    """Chance of as much in rows in any order."""


def neighbours(table: Table) -> Neighbours:
    """Compare the targets of neighbouring rows with those of rows in orders at random.

    Classes are alike where they are equal: the correlation is the share of equal neighbours beyond that of any two
    rows. Numbers are by their ranks.
    """
    labels = table.dataset.labels[:MOST_ROWS]
    alike = _same if table.is_classes else _product
    values = labels if table.is_classes else _standard(labels)
    generator = np.random.default_rng([table.seed, 4])
    seen = alike(values)
    drawn = [alike(generator.permutation(values)) for _ in range(DRAWS)]
    p = (1 + sum(one >= seen - ROUNDING for one in drawn)) / (1 + DRAWS)
    if table.is_classes:
        share = float(((np.bincount(labels) / len(labels)) ** 2).sum())
        seen = (seen - share) / (1 - share) if share < 1 else 0.0
    return Neighbours(seen, p)


def _same(labels: Values) -> float:
    return float((labels[:-1] == labels[1:]).mean())


def _product(values: Values) -> float:
    return float(np.dot(values[:-1], values[1:])) / (len(values) - 1)


def _standard(numbers: Values) -> Values:
    """Return the ranks of numbers, of mean 0 and variance 1."""
    ranks = pd.Series(numbers).rank().to_numpy(dtype=np.float64)
    return np.asarray((ranks - ranks.mean()) / max(ranks.std(), np.finfo(np.float64).tiny))


def is_sorted(table: Table) -> bool:
    """Say whether the table is sorted by its target."""
    labels = table.dataset.labels
    if table.num_rows < FEWEST:
        return False
    if table.is_classes:
        return int((labels[1:] != labels[:-1]).sum()) == len(np.unique(labels)) - 1
    steps = np.diff(labels)
    return bool((steps >= 0).all() or (steps <= 0).all())


@rule("data", "info")
def sorted_by_target(table: Table) -> Seen | None:
    """The table is sorted by its target: consecutive parts have different targets."""
    if not table.once(is_sorted):
        return None
    return Seen(
        f"the rows are sorted by {table.dataset.target!r}",
        "No action is needed here, since folds are drawn at random; elsewhere, shuffle the rows before splitting them",
    )


@rule("data", "warning")
def like_neighbours(table: Table) -> Seen | None:
    """Neighbouring rows have similar targets: they are ordered in time, by group or as repeats that folds split."""
    known = table.moments is not None or table.dataset.groups is not None or table.split is not None
    if known or table.num_rows < FEWEST or table.once(is_sorted):
        return None
    found = table.once(neighbours)
    if found.p > ALPHA or found.correlation < LIKE:
        return None
    half = Z / math.sqrt(min(table.num_rows, MOST_ROWS))
    return Seen(
        f"the target of a row is similar to that of the previous row (correlation {found.correlation:.2f}, p "
        f"{found.p:.1g}): the rows are ordered in time, by group, or sorted by something",
        "If the order has a meaning, name the column of time or of groups, so that folds do not put neighbours on "
        "both sides; if the rows were only sorted, nothing is needed",
        command=table.command("--groups", "COLUMN"),
        value=found.correlation,
        interval=(max(-1.0, found.correlation - half), min(1.0, found.correlation + half)),
    )
