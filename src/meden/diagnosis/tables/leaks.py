"""Columns that give the target away.

Two things are told apart. A column that holds the target, written again, is a leak whatever it is called. One that
predicts it almost without error may be a leak or a law of nature: data cannot say which; only whoever knows when the
column was written can.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.alone import Alone, alone
from meden.diagnosis.tables.table import ALPHA, FEWEST, Table
from meden.diagnosis.tables.wording import columns, named

DETERMINES = 0.98
"""Skill, at the lower end of its interval, from which on a column alone leaves nothing to learn."""
STRONG = 0.8
"""The same of a column that does most of the work."""
ROUNDING = 1e-9
"""Of the range of a target: two numbers that differ by less are the same, written otherwise."""


def copies_of_target(table: Table) -> list[str]:
    """Return columns that hold the target: its classes under any names, or its numbers in any unit."""
    equal = _same_classes if table.is_classes else _same_numbers
    return [name for name in table.columns if equal(table, name)]


@rule("data", "error")
def target_copy(table: Table) -> Seen | None:
    """A column is a copy of the target: every score is meaningless."""
    copies = table.once(copies_of_target)
    if not copies:
        return None
    how = "under other names or the same" if table.is_classes else "up to unit and zero point"
    return Seen(
        f"{columns(copies)} {named(copies)} {'is' if len(copies) == 1 else 'are'} the target {table.dataset.target!r}, "
        f"{how}, in every row{_of_present(table, copies)}",
        "Remove it" if len(copies) == 1 else "Remove them",
        command=table.without(copies),
    )


@rule("data", "warning")
def target_determined(table: Table) -> Seen | None:
    """A column alone predicts the target almost without error: a leak, or an exact relation."""
    found = _between(table, DETERMINES, math.inf)
    if not found:
        return None
    return Seen(
        f"{_told(table, found)}: almost nothing is left to learn",
        "Check whether it is known before the target is; if it is recorded afterwards, remove it",
        command=table.without([name for name, _ in found]),
        value=found[0][1].skill,
        interval=(found[0][1].low, found[0][1].high),
    )


@rule("data", "info")
def strong_column(table: Table) -> Seen | None:
    """A column alone explains most of the target: a good measurement, or a noisy leak."""
    found = _between(table, STRONG, DETERMINES)
    if not found:
        return None
    return Seen(
        _told(table, found),
        "Make sure that it is known at prediction time; if so, no action is needed",
        value=found[0][1].skill,
        interval=(found[0][1].low, found[0][1].high),
    )


def _between(table: Table, low: float, high: float) -> list[tuple[str, Alone]]:
    """Return columns whose skill has its lower end in [low, high), but for copies."""
    found = {name: one for name, one in table.once(alone).items() if low <= one.low < high}
    return [pair for pair in found.items() if pair[0] not in table.once(copies_of_target)]


def _told(table: Table, found: list[tuple[str, Alone]]) -> str:
    name, best = found[0]
    what = "of the mistakes of the most frequent class" if table.is_classes else "of the variance of the target's ranks"
    also = f"; so do {named(other for other, _ in found[1:])}" if len(found) > 1 else ""
    return (
        f"column {name!r} alone removes {100 * best.skill:.1f} % ({100 * best.low:.1f} to {100 * best.high:.1f}) "
        f"{what}, on rows that {'have a value and ' if best.with_gaps else ''}were not used to fit it{also}"
    )


def _of_present(table: Table, names: list[str]) -> str:
    gaps = max(float((table.codes[name] < 0).mean()) for name in names)
    return f" that has a value (up to {100 * gaps:.1f} % have none)" if gaps else ""


def _same_classes(table: Table, name: str) -> bool:
    """Say whether values and classes belong together one to one, and not by chance; a gap is a value, or none."""
    present = table.codes[name] >= 0
    return _one_to_one(table, name, np.ones_like(present)) or (
        FEWEST <= present.sum() < len(present) and _one_to_one(table, name, present)
    )


def _one_to_one(table: Table, name: str, rows: npt.NDArray[np.bool_]) -> bool:
    codes = table.codes[name][rows]
    codes, labels = (np.unique(each, return_inverse=True)[1] for each in (codes, table.dataset.labels[rows]))
    sizes = np.bincount(labels)
    pairs = np.unique(np.stack([codes, labels]), axis=1).shape[1]
    if not 1 < len(sizes) == int(codes.max()) + 1 == pairs:
        return False
    ways = math.lgamma(len(labels) + 1) - sum(math.lgamma(size + 1) for size in sizes)
    return math.lgamma(len(sizes) + 1) - ways < math.log(ALPHA / len(table.columns))


def _same_numbers(table: Table, name: str) -> bool:
    """Say whether the target is the column times a number, plus another, in every row that has a value."""
    present = table.codes[name] >= 0
    if table.kinds[name] not in ("number", "boolean") or present.sum() < FEWEST:
        return False
    values, labels = table.columns[name][present], table.dataset.labels[present]
    low, high = int(values.argmin()), int(values.argmax())
    spread = values[high] - values[low]
    num = len(np.unique(values))
    if spread == 0 or math.log(2) - math.lgamma(num + 1) > math.log(ALPHA / len(table.columns)):
        return False  # so few values lie on a line by chance
    line = labels[low] + (values - values[low]) / spread * (labels[high] - labels[low])
    return bool(np.abs(line - labels).max() <= ROUNDING * np.ptp(labels))
