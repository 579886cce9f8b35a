"""Whether rows that score come from where those that fit do, or late ones from where early ones do.

Legend: ``r`` rows that are looked at, ``u`` units: rows, groups or stretches of time, which are one thing each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.forest import forest, inputs_of
from meden.diagnosis.tables.table import ALPHA, Codes, Table
from meden.diagnosis.tables.wording import named

MOST_ROWS = 4_000
STRETCHES = 24
"""Stretches that time is cut into: neighbours in time are alike without any drift, so that a stretch counts as one."""
FEWEST_UNITS = 24
"""Units from which on a test can find what it is asked for: 6 against 6 give a chance of 0.002 at best."""
TOLD = 3
"""Columns that are named."""
DRAWS = 500
"""Bootstrap samples of an interval."""


@dataclass(frozen=True)
class TwoSamples:
    """How well a classifier tells two samples apart, on units it has not seen."""

    auc: float
    """Share of pairs, one of each sample, whose score is in the right order: 0.5 where they are alike."""
    low: float
    high: float
    """Ends of its interval of 95 %, over units."""
    p: float
    """Chance of as much in samples that are alike."""
    columns: tuple[str, ...]
    """That tell them apart most."""
    scores: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    """Of the units of each sample that the classifier has not seen."""


def two_samples(table: Table, rows: Codes, second: npt.NDArray[np.bool_], units: Codes) -> TwoSamples | None:
    """Test whether two samples are alike: a forest learns to tell half of the units apart, and is tested on the others.

    The target is among its inputs. Units of the second half have no part in it, so that under any labels of them its
    scores are as likely: the rank test of Mann and Whitney is exact, whatever the forest is.

    Args:
        table: the rows.
        rows: those that are compared, (r,).
        second: whether each is of the second sample, (r,).
        units: number of the unit that each belongs to, (r,); a unit in both samples counts as two.

    Returns:
        What was found; None where units are too few.

    Reference:
        D. Lopez-Paz and M. Oquab, Revisiting classifier two-sample tests, 2017 (there with the accuracy).
    """
    from scipy.stats import mannwhitneyu

    unit = np.unique(units * 2 + second, return_inverse=True)[1]
    of_second = np.zeros(int(unit.max()) + 1, dtype=bool)
    of_second[unit] = second
    held_out = _half(of_second, table.seed)
    if min(of_second.sum(), (~of_second).sum()) < FEWEST_UNITS // 2:
        return None
    dates = [name for name, kind in table.kinds.items() if kind == "date"] if table.moments is not None else ()
    inputs, origins = inputs_of(table, rows, without=dates)
    target = table.scores(rows)
    inputs = np.column_stack([inputs, target.astype(np.float32)])
    origins = (*origins, *[table.dataset.target] * (inputs.shape[1] - len(origins)))
    tested = held_out[unit]
    fitted = forest(table).fit(inputs[~tested], second[~tested])
    said = fitted.predict_proba(inputs[tested])[:, 1]
    counts = np.bincount(unit[tested], minlength=len(of_second))
    means = (np.bincount(unit[tested], said, minlength=len(of_second)) / np.maximum(counts, 1))[held_out]
    late = of_second[held_out]
    one, other = means[~late], means[late]
    p = float(mannwhitneyu(other, one, alternative="greater").pvalue)
    low, high = _interval(one, other, table.seed)
    shares: dict[str, float] = {}
    for name, share in zip(origins, fitted.feature_importances_, strict=True):
        shares[name] = shares.get(name, 0.0) + float(share)
    return TwoSamples(
        _auc(one, other), low, high, p, tuple(sorted(shares, key=lambda n: -shares[n])[:TOLD]), (one, other)
    )


def _half(of_second: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.bool_]:
    """Return half of the units of each sample, at random."""
    generator = np.random.default_rng([seed, 8])
    held_out = np.zeros(len(of_second), dtype=bool)
    for units in (np.flatnonzero(of_second), np.flatnonzero(~of_second)):
        held_out[generator.permutation(units)[: (len(units) + 1) // 2]] = True
    return held_out


def _auc(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([one, other]))[len(one) :]
    return float((ranks.mean() - (len(other) + 1) / 2) / len(one))


def _interval(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], seed: int) -> tuple[float, float]:
    generator = np.random.default_rng([seed, 9])
    drawn = [_auc(generator.choice(one, len(one)), generator.choice(other, len(other))) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def drift(table: Table) -> TwoSamples | None:
    """Compare rows that fit with those that score, or the early half with the late one; None without split and order.

    Where rows have groups, a group is a unit.
    """
    if table.split is not None:
        rows = np.flatnonzero(np.isin(table.split, ("fit", "score")))
        rows = _balanced(rows, table.split[rows] == "score", table)
        groups = table.dataset.groups
        return two_samples(table, rows, table.split[rows] == "score", rows if groups is None else groups[rows])
    if table.moments is None:
        return None
    rows = table.draw(MOST_ROWS, salt=10)
    order = np.argsort(np.argsort(table.moments[rows], kind="stable"), kind="stable")
    stretch = order * STRETCHES // len(rows)
    if len(rows) < 5 * STRETCHES:
        return None
    return two_samples(table, rows, stretch >= STRETCHES // 2, stretch)


def _balanced(rows: Codes, second: npt.NDArray[np.bool_], table: Table) -> Codes:
    """Return rows of two samples, of neither more than half of what is looked at."""
    generator = np.random.default_rng([table.seed, 11])
    parts = [rows[second], rows[~second]]
    return np.sort(np.concatenate([generator.permutation(part)[: MOST_ROWS // 2] for part in parts]))


@rule("data", "warning")
def split_drift(table: Table) -> Seen | None:
    """Scored rows are distributed differently from fitting rows: a classifier can tell them apart."""
    return None if table.split is None else _seen(table, "the scored rows", "the fitting rows")


@rule("data", "warning")
def time_drift(table: Table) -> Seen | None:
    """Late rows are distributed differently from early rows: a classifier can tell them apart."""
    return None if table.split is not None else _seen(table, "late rows", "early ones")


def _seen(table: Table, these: str, those: str) -> Seen | None:
    found = table.once(drift)
    if found is None or found.p > ALPHA:
        return None
    return Seen(
        f"{these} differ from {those}, most of all in {named(found.columns)}: a classifier ranks "
        f"{100 * found.auc:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f}) of pairs correctly, where "
        f"chance is 50 % (p {found.p:.1g})",
        "Expect different scores on future rows; examine these columns, remove those that only tell the time, and "
        "score on the latest rows",
        command=table.command("--order", "COLUMN") if table.split is not None else "",
        value=found.auc,
        interval=(found.low, found.high),
    )
