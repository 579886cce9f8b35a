"""Missing values that say something of the target.

Legend: ``n`` rows, ``D`` columns with missing values, ``C`` scores of the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.table import ALPHA, FEWEST, Table
from meden.diagnosis.tables.wording import columns

DRAWS = 999
"""Targets at random that the columns are compared with, all together."""
MOST_ROWS = 10_000


@dataclass(frozen=True)
class Missingness:
    """How the target of rows without a value differs from that of the others."""

    names: tuple[str, ...]
    """Columns whose missing values tell it, the most telling first."""
    p: tuple[float, ...]
    """Chance of as much in any column, were the target of no account."""


def missingness(table: Table) -> Missingness:
    """Test which columns' missing values tell the target.

    The largest of all columns' correlations is compared with the largest under targets in orders at random, so that
    ``ALPHA`` is the chance of an alarm in any of them.

    Reference:
        P. H. Westfall and S. S. Young, Resampling-based multiple testing, 1993.
    """
    rows = table.draw(MOST_ROWS, salt=5)
    absent = {name: codes[rows] < 0 for name, codes in table.codes.items()}
    names = [name for name, gone in absent.items() if 0 < gone.sum() < len(rows)]
    if len(rows) < FEWEST or not names:
        return Missingness((), ())
    flags = np.column_stack([absent[name] for name in names]).astype(np.float64)
    flags, kinds = np.unique(flags, axis=1, return_inverse=True)  # columns that are missing together are one test
    scores = table.scores(rows)
    flags = flags - flags.mean(axis=0)
    flags /= np.linalg.norm(flags, axis=0)
    scores = scores / np.maximum(np.linalg.norm(scores, axis=0), 1e-300)
    seen = np.abs(flags.T @ scores).max(axis=1)
    generator = np.random.default_rng([table.seed, 6])
    largest = np.array([np.abs(flags.T @ scores[generator.permutation(len(scores))]).max() for _ in range(DRAWS)])
    p = ((1 + (largest[:, None] >= seen - 1e-12).sum(axis=0)) / (1 + DRAWS))[kinds]
    strength = seen[kinds]
    order = [place for place in np.argsort(-strength, kind="stable") if p[place] <= ALPHA]
    return Missingness(tuple(names[place] for place in order), tuple(float(p[place]) for place in order))


@rule("data", "info")
def telling_missingness(table: Table) -> Seen | None:
    """Missing values depend on the target: a cell may be empty because of something later."""
    found = table.once(missingness)
    if not found.names:
        return None
    told = "; ".join(f"{name!r} ({_targets(table, name)})" for name in found.names[:3])
    more = f" and {len(found.names) - 3} more" if len(found.names) > 3 else ""
    return Seen(
        f"whether {columns(found.names)} {told}{more} {'is' if len(found.names) == 1 else 'are'} missing depends "
        f"on the target (p {max(found.p):.1g}, corrected for all columns)",
        "Find out why it is missing: if because of the target, or of something later, remove the column; otherwise "
        "keep it, since each column has an input that marks missing values",
        value=max(found.p),
    )


def _targets(table: Table, name: str) -> str:
    """Say what the target is without a value, and with one."""
    gone, labels = table.codes[name] < 0, table.dataset.labels
    if not table.is_classes:
        return f"median target {np.median(labels[gone]):.3g} without a value, {np.median(labels[~gone]):.3g} with one"
    shares = np.stack([np.bincount(labels[w], minlength=len(table.dataset.classes)) / w.sum() for w in (gone, ~gone)])
    place = int(np.abs(shares[0] - shares[1]).argmax())
    without, with_one = 100 * shares[:, place]
    return f"{without:.0f} % are {table.dataset.classes[place]!r} without a value, {with_one:.0f} % with one"
