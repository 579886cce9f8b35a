"""A first look at a table, in a bounded time."""

from __future__ import annotations

import time

from meden.diagnosis.catalogue import RULES
from meden.diagnosis.finding import Finding
from meden.diagnosis.tables.table import Table

SECONDS = 5.0
"""After so many no further rule begins; the longest takes about a second on as many cells as are looked at."""
MOST_CELLS = 2_000_000
"""Of larger tables, rows at random that hold so many are looked at."""
LONG = {"near_duplicates", "label_suspects", "split_drift", "time_drift"}
"""Rules that train, or compare all rows with all others."""


def first_look(table: Table, seconds: float = SECONDS) -> tuple[Finding, ...]:
    """Return what quick rules find in a table, errors and warnings alone.

    Args:
        table: of any size.
        seconds: after which no further rule begins.
    """
    began = time.monotonic()
    if table.num_rows * len(table.columns) > MOST_CELLS:
        table = table.take(table.draw(max(1, MOST_CELLS // len(table.columns)), salt=12))
    found = []
    for rule in RULES:
        if rule.of is Table and rule.code not in LONG and rule.severity != "info":
            if time.monotonic() - began > seconds:
                break
            found.append(rule(table))
    return tuple(finding for finding in found if finding is not None)
