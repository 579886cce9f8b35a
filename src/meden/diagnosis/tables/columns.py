"""Columns that name rows, their order or their group, hold one value, or were not read as the numbers that they are.

Legend: ``n`` rows, ``k`` values of a column.
"""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import numpy.typing as npt
import pandas as pd

from meden.data.dates import tell_dates
from meden.data.numerals import is_mark, tell_numerals
from meden.data.reading import CODES, cells_named
from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule
from meden.diagnosis.tables.sequence import is_sorted
from meden.diagnosis.tables.table import ALPHA, FEWEST, Codes, Table
from meden.diagnosis.tables.wording import columns, named

DIFFERENT = 0.9
"""Share of different texts from which on a column of texts names its rows, or is free text."""
LONGEST_NAME = 4
"""Words (or signs of scripts without spaces), in the median, of keys and names: longer texts say something."""
LONG = 1e7
"""Range of whole numbers of eight digits: any drawn from so many hardly ever collide, so that another value in each row
says nothing. That they are spread evenly does: amounts and counts of so many digits have a few large ones."""
FEWEST_LONG = 100
"""Rows from which on an even spread is told from a bell: the test finds one in 99 of 100 tables."""
UNEVEN = 0.1
"""Chance of as uneven a spread from which on numbers are not taken as even: keys are missed once in ten times."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
LOOKED_AT = 1_000
"""Texts whose words are counted."""
FOLLOWS = 0.95
"""Rank correlation with the place in the file from which on a column follows it; at 20 rows chance gives it once in
10^10 columns."""
FEWEST_GROUPS = 10
HALF = 0.5
"""Share of texts that are numbers from which on the others are the exception."""


def identifiers(table: Table) -> list[str]:
    """Return columns whose values name the rows."""
    if table.num_rows < FEWEST:
        return []
    return [name for name in table.columns if _names_rows(table, name)]


def keys(table: Table) -> list[str]:
    """Return identifiers but for texts of many words, which two rows share only if one is a copy of the other."""
    found = []
    for name in table.once(identifiers):
        texts = [cell for cell in table.columns[name] if isinstance(cell, str)][:LOOKED_AT]
        if not texts or np.median([len(_WORD.findall(text)) for text in texts]) <= LONGEST_NAME:
            found.append(name)
    return found


def _names_rows(table: Table, name: str) -> bool:
    values = table.columns[name]
    present = values[table.codes[name] >= 0]
    num = int(table.codes[name].max()) + 1
    if table.kinds[name] == "text":
        return num > max(FEWEST, DIFFERENT * len(present))
    if table.kinds[name] != "number" or num < FEWEST or (present % 1 != 0).any():
        return False
    if num < len(present) and not _recurs_with_its_row(table, name):
        return False
    if len(present) >= FEWEST_LONG and np.ptp(present) >= LONG and _is_uniform(present):
        return True
    # numbers drawn from a range have a value twice, most surely of all if each is as likely as every other
    no_collision = -num * (num - 1) / (2 * (np.ptp(present) + 1))
    return bool(no_collision < math.log(ALPHA / len(table.columns)))


def _is_uniform(numbers: npt.NDArray[np.float64]) -> bool:
    """Say whether numbers may be spread evenly between their ends (Kolmogorov and Smirnov)."""
    from scipy import stats

    low, high = float(numbers.min()), float(numbers.max())
    inner = np.sort(numbers)[1:-1]
    return bool(stats.kstest(inner, "uniform", args=(low, high - low)).pvalue > UNEVEN)


def _recurs_with_its_row(table: Table, name: str) -> bool:
    """Say whether a column has a value twice in copies of a row alone, where the other columns tell rows apart."""
    codes = table.codes[name]
    num = int(codes.max()) + 1
    if num <= DIFFERENT * (codes >= 0).sum() or len(table.codes) < 2:
        return False
    others = pd.DataFrame(
        {place: each for place, (key, each) in enumerate(table.codes.items()) if key != name},
        index=range(table.num_rows),
    )
    again = np.flatnonzero((codes >= 0) & (np.bincount(codes + 1)[codes + 1] > 1))
    rows = others.iloc[again].assign(own=codes[again]).drop_duplicates()
    return len(rows) == rows["own"].nunique() and len(others.drop_duplicates()) > DIFFERENT * num


@rule("data", "warning")
def identifier_column(table: Table) -> Seen | None:
    """A column identifies the rows: a network can only memorise it."""
    found = table.once(identifiers)
    if not found:
        return None
    return Seen(
        f"{columns(found)} {named(found)} {'has' if len(found) == 1 else 'have'} a different value in nearly "
        "every row, like an identifier, a name or free text",
        "Remove it" if len(found) == 1 else "Remove them",
        command=table.without(found),
    )


@rule("data", "info")
def constant_column(table: Table) -> Seen | None:
    """A column has only one value and carries no information."""
    found = [n for n, codes in table.codes.items() if codes.min() == codes.max() and table.num_rows > 1]
    if not found:
        return None
    return Seen(
        f"{columns(found)} {named(found)} {'has' if len(found) == 1 else 'have'} only one value", "No action is needed"
    )


@rule("data", "warning")
def order_column(table: Table) -> Seen | None:
    """A column follows the order of the rows in the file: a row number, or the time."""
    if table.num_rows < FEWEST or table.once(is_sorted):
        return None
    found = [name for name in table.columns if abs(_follows(table, name)) >= FOLLOWS]
    if not found:
        return None
    dates = [name for name in found if table.kinds[name] == "date"]
    advice = (
        "Remove it if it only numbers the rows; if the rows are ordered in time, name the column that orders them, so "
    )
    return Seen(
        f"{columns(found)} {named(found)} {'follows' if len(found) == 1 else 'follow'} the order of the rows in the "
        f"table (rank correlation {_follows(table, found[0]):.3f})",
        f"{advice}that each fold trains on the past",
        command=table.command("--order", (dates or found)[0]),
        value=_follows(table, found[0]),
    )


def _follows(table: Table, name: str) -> float:
    """Return the rank correlation of a column with the place in the file; 0 where most of its values recur."""
    codes = table.codes[name]
    present = codes >= 0
    num = len(np.unique(codes[present]))
    if table.kinds[name] == "text" or num < FEWEST or 2 * num < present.sum():
        return 0.0
    ranks = pd.Series(codes[present]).rank()
    return float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1])


@rule("data", "warning")
def group_column(table: Table) -> Seen | None:
    """A column identifies the group of a row: it says nothing about new groups."""
    groups = table.dataset.groups
    if groups is None or int(groups.max()) + 1 < FEWEST_GROUPS:
        return None
    found = [n for n in table.columns if table.kinds[n] != "boolean" and _names_groups(table, groups, n)]
    if not found:
        return None
    return Seen(
        f"{columns(found)} {named(found)} {'has' if len(found) == 1 else 'have'} one value per group, and a "
        "different one in nearly every group",
        "Remove it if it identifies the group; keep it if it measures something that is known for new groups",
        command=table.without(found),
    )


def _names_groups(table: Table, groups: Codes, name: str) -> bool:
    """Say whether whole numbers or texts are one in each group, and nearly one for each."""
    values, codes = table.columns[name], table.codes[name]
    if table.kinds[name] == "number" and (values[codes >= 0] % 1 != 0).any():
        return False
    pairs = len(pd.DataFrame({"group": groups, "value": codes}).drop_duplicates())
    num_groups = len(np.unique(groups))
    return pairs == num_groups and len(np.unique(codes)) > DIFFERENT * num_groups


@rule("data", "warning")
def numbers_as_text(table: Table) -> Seen | None:
    """Numbers are stored as text, and some cells are not numbers."""
    told = [f"column {r.name!r}: {cells_named(r.unread)} taken as missing" for r in table.readings if r.unread]
    for name, values in table.columns.items():
        if table.kinds[name] == "text":
            odd = _no_numbers(list(values))
            if odd:
                told.append(f"column {name!r} is read as text, since {cells_named(odd)} {_are_no(odd)}")
    if not told:
        return None
    more = f"; and {len(told) - 3} more columns" if len(told) > 3 else ""
    return Seen(
        "; ".join(told[:3]) + more,
        "Correct the cells, or give the marks of missing values (--na), or read the column as numbers (--read)",
    )


def _no_numbers(cells: list[str | None]) -> list[tuple[int, str]]:
    """Return the cells of a column of texts that are no numbers, if most others are."""
    counts = Counter(cell for cell in cells if cell is not None and not is_mark(cell))
    if len(counts) <= CODES:
        return []
    numbers = tell_numerals(counts)
    if not HALF <= numbers.share < 1 or tell_dates(counts).share >= numbers.share:
        return []
    odd = {cell for cell in counts if numbers.numerals.read(cell) is None}
    return [(row, cell) for row, cell in enumerate(cells) if cell is not None and cell in odd]


def _are_no(cells: list[tuple[int, str]]) -> str:
    return "is not a number" if len(cells) == 1 else "are not numbers"
