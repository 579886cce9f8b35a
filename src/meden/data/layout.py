"""The layout of a text table: what stands between fields, where the header is, and which lines are no rows."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd

from meden._checks import InputError
from meden.data.numerals import is_mark, tell_numerals

SEPARATORS = (",", ";", "\t", "|")
LOOKED_AT = 200
"""Rows from which the layout is told."""
LONGEST_CELL = 2**24
"""Characters of the longest cell that is read: Python's own limit is less than some texts have."""
_FOOTER = re.compile(
    r"(grand |sub)?(totals?|sums?|summe|gesamt|averages?|means?|mittelwert|count|source|quelle|notes?|end of .*)\b.*",
    re.IGNORECASE,
)
NAMES = {"\t": "tab", " ": "space"}


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a text file is divided.

    Attributes:
        separator: between the fields of a line.
        skipped: lines before the header.
        header: names of the columns, as they stand there.
        comments: whether lines that start with ``#`` are no rows.
        notes: what is unusual, in words.
    """

    separator: str
    skipped: int
    header: tuple[str, ...]
    comments: bool
    notes: tuple[str, ...]
    header_line: bool = True
    """Whether the header is a line of its own after those skipped; else it was a comment among them."""


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let the standard library read cells of ``LONGEST_CELL`` characters while the body runs."""
    usual = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(usual)


@_long_cells()
def tell_layout(lines: Sequence[str], usual: str, separator: str | None = None) -> Layout:
    r"""Return the layout of a file.

    Args:
        lines: the first ones of the file, with their ends.
        usual: the separator that the file's suffix stands for.
        separator: what the user says it is.

    Example:
        >>> found = tell_layout(["sep=;\n", "# of 2024\n", "a;b\n", "0,5;1\n"], ",")
        >>> found.separator, found.skipped, found.header
        (';', 2, ('a', 'b'))
    """
    notes: list[str] = []
    first = 0
    check_separator(separator)
    if lines and (told := re.fullmatch(r"\s*\"?sep=(.)\"?[,;]*\s*", lines[0].rstrip("\r\n"), re.IGNORECASE)):
        separator, first = separator or told[1], 1
        notes.append(f"the line 'sep={told[1]}' was used")
    body = lines[first:]
    leading = next((n for n, line in enumerate(body) if not line.startswith("#") and line.strip()), len(body))
    rows_of = {s: _rows(body[leading:], s) for s in ([separator] if separator else SEPARATORS)}
    chosen = max(rows_of, key=lambda s: (_regularity(rows_of[s]), s == usual)) if rows_of else usual
    if separator is None and _regularity(rows_of[chosen]) <= _regularity(rows_of[usual]):
        chosen = usual
    if body[leading:] and not rows_of[chosen]:
        raise InputError(f"cells must hold at most {LONGEST_CELL:,} characters, got a longer one (a quote left open?)")
    if chosen != usual:
        notes.append(f"fields are separated by {NAMES.get(chosen, repr(chosen))}")
    rows = rows_of[chosen]
    named = _commented_header(body[:leading], rows, chosen)
    if named is not None:
        notes.append("the comment line before the rows is taken as the header")
        return Layout(chosen, first + leading, named, True, (*notes, *_say_comments(leading - 1)), header_line=False)
    notes += _say_comments(sum(line.startswith("#") for line in body[:leading]))
    start = _header(rows)
    if start:
        notes.append(f"{_lines(start)} before the header skipped: {chosen.join(rows[0])!r:.60}")
    skipped = first + leading + _line_of(body[leading:], chosen, start)
    header = tuple(rows[start]) if rows else ()
    width = len(header)
    comments = bool(leading) or any(r and r[0].startswith("#") and len(r) < width for r in rows[start + 1 :])
    return Layout(chosen, skipped, header, comments, tuple(notes))


def drop_lines(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Leave out lines that are no rows: headers that recur, units under the header, empty lines, totals at the end.

    Returns:
        The rows, by position, and what was left out, in words.
    """
    notes = []
    if not len(frame):
        return frame, ()
    again = _recurring_header(frame)
    if again.any():
        rows = again.to_numpy().nonzero()[0]
        notes.append(f"{_lines(len(rows))} that repeat the header skipped (the first is row {int(rows[0])})")
        frame = frame[~again].reset_index(drop=True)
    filled = frame.notna().any(axis=1).to_numpy().nonzero()[0]
    num_empty = len(frame) - (int(filled[-1]) + 1 if filled.size else 0)
    if num_empty and filled.size:
        notes.append(f"{_lines(num_empty)} at the end skipped, empty")
        frame = frame.iloc[:-num_empty]
    while len(frame) > 2 and _is_footer(frame):
        notes.append(f"the last line skipped, not a row: {', '.join(map(str, frame.iloc[-1].dropna())):.60}")
        frame = frame.iloc[:-1]
    if len(frame) > 2 and _is_units(frame):
        notes.append(f"the line under the header skipped, units: {', '.join(map(str, frame.iloc[0].fillna(''))):.60}")
        frame = frame.iloc[1:].reset_index(drop=True)
    return frame, tuple(notes)


def check_separator(separator: str | None) -> None:
    """Check what a user says is between the fields of a text file; None is told from the file.

    Raises:
        InputError: if it is not one character, or one that cells are written with.
    """
    one = isinstance(separator, str) and len(separator) == 1 and separator not in '"\r\n'
    if separator is not None and not one:
        raise InputError(f"sep must be one character, such as ';', got {separator!r}")


def _rows(lines: Sequence[str], separator: str) -> list[list[str]]:
    try:
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        return [row for row in rows if row][:LOOKED_AT]
    except csv.Error:
        return []


def _regularity(rows: Sequence[Sequence[str]]) -> tuple[float, bool, int]:
    """Return how much rows look like a table: the share of the usual width, what the header is and what is before."""
    width = _width(rows)
    start = _header(rows)
    if width < 2 or not 1 < len(rows[start]) <= width + 1:
        return (0.0, False, 0)
    share = sum(len(row) == width for row in rows[start:]) / len(rows[start:])
    return (round(share, 1), _looks_like_header(rows[start]), -start)


def _width(rows: Sequence[Sequence[str]]) -> int:
    """Return the usual number of fields, 0 without rows."""
    return Counter(map(len, rows)).most_common(1)[0][0] if rows else 0


def _header(rows: Sequence[Sequence[str]]) -> int:
    """Return which row is the header: the first, or the first of full width where those before it are titles."""
    width = _width(rows)
    if width < 2:
        return 0
    for number, row in enumerate(rows[:50]):
        if sum(bool(cell.strip()) for cell in row) > 1 and len(row) == width:
            titles = rows[:number]
            alone = all(sum(bool(cell.strip()) for cell in title) <= 1 for title in titles)
            return number if titles and (alone or _looks_like_header(row)) else 0
    return 0


def _looks_like_header(row: Sequence[str]) -> bool:
    cells = [cell.strip() for cell in row]
    words = [cell for cell in cells if cell]
    return len(set(words)) == len(words) == len(cells) and tell_numerals(dict.fromkeys(words, 1)).share == 0


def _commented_header(comments: Sequence[str], rows: Sequence[Sequence[str]], separator: str) -> tuple[str, ...] | None:
    """Return the names in the last comment line, if the first row is data and has as many fields."""
    marked = [line for line in comments if line.startswith("#")]
    if not marked or not rows or _looks_like_header(rows[0]):
        return None
    cells = (
        tuple(cell.strip() for cell in _rows([marked[-1].lstrip("#")], separator)[0])
        if marked[-1].strip("# \r\n")
        else ()
    )
    fits = len(cells) == len(rows[0]) > 1 and _looks_like_header(cells)
    return cells if fits and tell_numerals(dict.fromkeys(rows[0], 1)).share > 0 else None


def _line_of(lines: Sequence[str], separator: str, row: int) -> int:
    """Return on which line a row starts: rows may have line ends in quotes, and lines may be empty."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    before, seen = 0, 0
    for cells in reader:
        if cells:
            if seen == row:
                return before
            seen += 1
        before = reader.line_num
    return 0


def _say_comments(count: int) -> list[str]:
    return [f"{_lines(count)} of comments skipped"] if count > 0 else []


def _lines(count: int) -> str:
    """Return a number of lines, in words."""
    return "1 line" if count == 1 else f"{count} lines"


def _recurring_header(frame: pd.DataFrame) -> pd.Series[bool]:
    same = pd.Series(True, index=frame.index)
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        same &= column.map(lambda v, name=name: isinstance(v, str) and v.strip() == name.strip())
        if not same.any():
            break
    return same.astype(bool)


def _is_footer(frame: pd.DataFrame) -> bool:
    """Say whether the last row is a total or a note: a word for it, with fields missing that no row above misses."""
    last, above = frame.iloc[-1], frame.iloc[:-1]
    gone = last.isna() & above.notna().all()
    first = last.iloc[0]
    if not isinstance(first, str) or not gone.any() or first in set(above.iloc[:, 0]):
        return False
    return bool(_FOOTER.fullmatch(first.strip())) or (len(last) > 2 and int(last.notna().sum()) == 1)


def _is_units(frame: pd.DataFrame) -> bool:
    """Say whether the first row holds units: words over numbers, and elsewhere nothing that recurs."""
    over_numbers = 0
    for name in frame.columns:
        first, rest = frame[name].iloc[0], frame[name].iloc[1:].dropna()
        if pd.isna(first) or (isinstance(first, str) and first.strip() in ("-", "")):
            continue
        if not isinstance(first, str) or (rest == first).any():
            return False
        texts = Counter(str(v).strip() for v in rest if not is_mark(str(v)))
        if texts and tell_numerals(texts).share > 0.9:
            if tell_numerals({first: 1}).share > 0 or is_mark(first) or not re.search(r"[^\W\d_]|[%°]", first):
                return False
            over_numbers += 1
    return over_numbers > 0
