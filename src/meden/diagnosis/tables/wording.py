"""Counts and names as findings write them."""

from __future__ import annotations

from collections.abc import Iterable, Sized

SHOWN = 5
"""Names or rows that a sentence lists."""


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Example:
        >>> plural(1, "row"), plural(1200, "row")
        ('1 row', '1,200 rows')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def have(count: int) -> str:
    """Return the verb after a count."""
    return "has" if count == 1 else "have"


def are(count: int) -> str:
    """Return the verb after a count."""
    return "is" if count == 1 else "are"


def named(names: Iterable[str]) -> str:
    """Return the first few names of columns or classes.

    Example:
        >>> named(["a", "b"]), named("abcdefg")
        ("'a', 'b'", "'a', 'b', 'c', 'd', 'e' and 2 more")
    """
    every = [repr(name) for name in names]
    return ", ".join(every[:SHOWN]) + (f" and {len(every) - SHOWN} more" if len(every) > SHOWN else "")


def columns(names: Sized) -> str:
    """Return the noun before names of columns."""
    return "column" if len(names) == 1 else "columns"


def listed(rows: Iterable[int]) -> str:
    """Return the first few rows, by their positions from 0.

    Example:
        >>> listed([3]), listed([3, 17]), listed(range(9))
        ('row 3', 'rows 3 and 17', 'rows 0, 1, 2, 3, 4 and 4 more')
    """
    every = [str(row) for row in rows]
    if len(every) > SHOWN:
        return f"rows {', '.join(every[:SHOWN])} and {len(every) - SHOWN} more"
    return f"row {every[0]}" if len(every) == 1 else f"rows {', '.join(every[:-1])} and {every[-1]}"
