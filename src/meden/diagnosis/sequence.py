"""Whether the order of the rows in the table says something of the target.

Legend: ``n`` rows, ``C`` scores of the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from meden.diagnosis.finding import Seen
from meden.diagnosis.intervals import Z
from meden.diagnosis.rule import rule
from meden.diagnosis.table import ALPHA, FEWEST, Table

DRAWS = 999
"""Orders at random that the order of the rows is compared with."""
MOST_ROWS = 10_000
"""Rows from the beginning of the table that are looked at."""
LIKE = 0.05
"""Correlation of neighbours below which they hardly tell each other's target, however sure it is."""


@dataclass(frozen=True)
class Neighbours:
    """How alike the targets of neighbouring rows are."""

    correlation: float
    p: float
    """Chance of as much in rows in any order."""


def neighbours(table: Table) -> Neighbours:
    """Compare the targets of neighbouring rows with those of rows in orders at random."""
    scores = table.scores[:MOST_ROWS]
    generator = np.random.default_rng([table.seed, 4])
    seen = _alike(scores)
    drawn = [_alike(scores[generator.permutation(len(scores))]) for _ in range(DRAWS)]
    return Neighbours(seen, (1 + sum(one >= seen for one in drawn)) / (1 + DRAWS))


def _alike(scores: np.ndarray) -> float:
    """Return the mean product of neighbours' scores, which is 1 where all are the same."""
    return float(np.einsum("ic,ic->", scores[:-1], scores[1:])) / (len(scores) - 1)


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
    """A table sorted by its target: parts taken as they come have other targets."""
    if not table.once(is_sorted):
        return None
    return Seen(
        f"the rows are sorted by {table.dataset.target!r}",
        "Nothing here, where folds are drawn at random; elsewhere shuffle the rows before they are divided",
    )


@rule("data", "warning")
def like_neighbours(table: Table) -> Seen | None:
    """Neighbouring rows whose targets are alike: they come in time, in groups or as repeats that folds tear apart."""
    known = table.moments is not None or table.dataset.groups is not None or table.split is not None
    if known or table.num_rows < FEWEST or table.once(is_sorted):
        return None
    found = table.once(neighbours)
    if found.p > ALPHA or found.correlation < LIKE:
        return None
    half = Z / math.sqrt(min(table.num_rows, MOST_ROWS))
    return Seen(
        f"the target of a row is like that of the row before (correlation {found.correlation:.2f}, p {found.p:.1g}): "
        "rows come in time, in groups, or sorted by something",
        "Say what the order means: name the column of time or of groups, so that folds do not put neighbours on both "
        "sides; rows that were only sorted need nothing",
        command=table.command("--groups", "COLUMN"),
        value=found.correlation,
        interval=(max(-1.0, found.correlation - half), min(1.0, found.correlation + half)),
    )
