"""Rows that are there twice in a table.

Legend: ``n`` rows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from meden.diagnosis import duplicates
from meden.diagnosis.duplicates import Equal, Mask, num_later
from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.columns import keys
from meden.diagnosis.tables.table import Codes, Table
from meden.diagnosis.tables.wording import are, have, listed, plural

SHOWN = 3
"""Sets of rows that a message names."""


def compared(table: Table) -> pd.DataFrame:
    """Return the columns in which rows may be equal, (n, D): all but keys, which are never."""
    unequal = table.once(keys)
    names = [name for name in table.columns if name not in unequal] or list(table.columns)
    return pd.DataFrame({name: table.columns[name] for name in names})


def comparable(table: Table) -> pd.DataFrame:
    """Return what is compared of a table."""
    return duplicates.comparable(table.once(compared))


def equal_rows(table: Table) -> Equal:
    """Find the rows with the same inputs, keys apart, and tell copies from ties."""
    return duplicates.equal_rows(table.once(comparable))


def near_rows(table: Table) -> Codes:
    """Find pairs of rows, (p, 2), that are nearer to each other than neighbours are, and not equal; they rise."""
    first = np.unique(table.once(equal_rows).groups, return_index=True)[1]
    found = duplicates.near_rows(table.once(comparable), np.sort(first), np.sort(first))
    return np.unique(np.sort(found, axis=1), axis=0)


@rule("data", "warning")
def duplicate_rows(table: Table) -> Seen | None:
    """Rows occur twice: folds put one copy on each side, so that scored rows were trained on."""
    equal = table.once(equal_rows)
    if not equal.copies or table.split is not None:
        return None
    rows = equal.repeated[_is_apart(table, equal.groups)[equal.repeated]]
    if not len(rows):
        return None
    num = num_later(equal.groups[rows])
    return Seen(
        f"{plural(num, 'row')} of {table.num_rows:,} {have(num)} the same inputs as an earlier row "
        f"({_num_whole(table, equal, rows):,} also the same target; {_sets(table, equal.groups, rows)}), while few "
        "pairs differ in just one column: they are copies, not coincidences",
        "Remove the copies, or give rows that belong together a group, so that they stay on one side",
        value=num / table.num_rows,
    )


@rule("data", "info")
def tied_rows(table: Table) -> Seen | None:
    """Rows have equal inputs, but the table is so coarse that they need not be copies."""
    equal = table.once(equal_rows)
    if equal.copies or not equal.num_rows:
        return None
    return Seen(
        f"{plural(equal.num_rows, 'row')} of {table.num_rows:,} {have(equal.num_rows)} the same inputs as an "
        f"earlier row ({_num_whole(table, equal, equal.repeated):,} also the same target); the values are "
        "frequent, or more pairs differ in just one column, so this may be coincidence in a coarse table",
        "If they are copies, remove them; otherwise no action is needed",
        value=equal.num_rows / table.num_rows,
    )


@rule("data", "warning")
def near_duplicates(table: Table) -> Seen | None:
    """Pairs of rows are much closer than neighbours usually are: folds may put one on each side."""
    groups, pairs = table.dataset.groups, table.once(near_rows)
    if table.split is not None:
        return None
    if groups is not None:
        pairs = pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]
    if not len(pairs):
        return None
    asked = min(duplicates.MOST_ASKED, int(table.once(equal_rows).groups.max()) + 1)
    return Seen(
        f"{plural(len(pairs), 'pair')} of rows {are(len(pairs))} much closer to each other than to their other "
        f"neighbours, of {asked:,} rows examined: {_shown(table.named(pairs))}",
        "Check whether each pair is one thing measured twice; if so, give rows that belong together a group",
        value=len(pairs) / asked,
    )


@rule("data", "warning")
def contradictory_labels(table: Table) -> Seen | None:
    """Copies of a row have different targets: no model can predict all of them."""
    equal = table.once(equal_rows)
    if not equal.copies:
        return None
    frame = pd.DataFrame({"group": equal.groups, "target": table.dataset.labels})
    several = frame.groupby("group")["target"].transform("nunique").to_numpy() > 1
    differ = np.flatnonzero(several & equal.is_copy)
    if not len(differ):
        return None
    return Seen(
        f"{plural(len(differ), 'row')} {have(len(differ))} a copy with a different target: "
        f"{_sets(table, equal.groups, differ)}",
        "Examine them: one of the targets is wrong, or a column that tells the rows apart is missing",
        value=len(differ) / table.num_rows,
    )


def _is_apart(table: Table, equal: Codes) -> Mask:
    """Say of each row whether its equal ones are in several groups, (n,): always where nothing ties rows together."""
    if table.dataset.groups is None:
        return np.ones(table.num_rows, dtype=bool)
    frame = pd.DataFrame({"equal": equal, "group": table.dataset.groups})
    apart: Mask = frame.groupby("equal")["group"].transform("nunique").to_numpy() > 1
    return apart


def _num_whole(table: Table, equal: Equal, rows: Codes) -> int:
    """Return how many of some rows come after an equal one with the same target."""
    both = pd.DataFrame({"set": equal.groups[rows], "target": table.dataset.labels[rows]})
    return int(both.duplicated().sum())


def _sets(table: Table, groups: Codes, rows: Codes) -> str:
    """Name some sets of equal rows: ``rows 3 and 17, rows 4, 5 and 6, ...``."""
    chosen = list(dict.fromkeys(groups[rows].tolist()))
    named = [listed(table.named(np.flatnonzero(groups == group))) for group in chosen[:SHOWN]]
    return ", ".join(named) + (" and more" if len(chosen) > SHOWN else "")


def _shown(pairs: Codes) -> str:
    return ", ".join(listed(pair) for pair in pairs[:SHOWN]) + (" and more" if len(pairs) > SHOWN else "")
