"""How a raw column is read: its kind, how its cells are written, what was mended and what could not be read.

The format of a column is told by the whole column, like its name; every number an encoder uses comes from the fitting
rows alone (``fitted.py``). New rows are read by the format that was saved with the model.

Legend: ``n`` rows; a row is a position from 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as pdtypes

from meden._checks import BadCells, InputError, check_choice
from meden._fields import checked_fields
from meden.data.columns import Kind, Values, canonical, check_finite, is_iso, kind_of, missing, readable
from meden.data.dates import Order, read_date, tell_dates
from meden.data.layout import check_separator
from meden.data.numerals import DECIMALS, Decimal, Hint, Numerals, decisive, is_mark, is_plain, tell_numerals
from meden.data.texts import Texts, texts_of

READABLE = 0.9
"""Share of the cells that must be numbers (or dates) for the others to be missing ones, not levels."""
CODES = 20
"""Strings of whole numbers with at most this many distinct values stay strings: somebody made them so."""
EXACT = 2**53
"""From here on a float64 does not hold every whole number."""
SENTINELS = (-9.0, -99.0, -999.0, -9999.0, -99999.0, 99.0, 999.0, 9999.0, 99999.0)
"""Numbers that often stand for a missing value; said where they lie far from all others."""
FAR = 3.0
"""Ranges of all others that a number must be away from them to be far."""
ONE_SCALE = 1e30
"""How many times the median size the largest number of a column may be: beyond, float32 overflows once scaled."""


class ReadingWarning(UserWarning):
    """Says how the columns of a table were read, where that is not plain."""


KINDS: dict[str, Kind] = {"number": "number", "category": "text", "date": "date"}
"""Kinds that may be asked for, by the user's words."""
SHOWN = 3
PLAIN = Numerals()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What a user says of how a table is to be read; all else is told from the table."""

    read: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """``"number"``, ``"category"``, ``"date"`` or ``"drop"``, by column."""
    sep: str | None = None
    """What stands between the fields of a text file, one character."""
    decimal: str | None = None
    """``"."`` or ``","``."""
    na: Sequence[str] = ()
    """Texts, or numbers such as ``"-999"``, that stand for a missing value, beside the usual ones."""

    def __post_init__(self) -> None:
        if not isinstance(self.read, Mapping):
            raise InputError(f"read must be a mapping of columns to kinds, got {self.read!r}")
        for name, kind in self.read.items():
            check_choice(f"read of {name!r}", kind, (*KINDS, "drop"))
        check_separator(self.sep)
        if self.decimal is not None:
            check_choice("decimal", self.decimal, DECIMALS)
        if isinstance(self.na, str) or not all(isinstance(mark, str) for mark in self.na):
            raise InputError(f"na must be a list of texts, got {self.na!r}")

    @property
    def mark(self) -> Decimal | None:
        """The decimal mark, where it is given."""
        return next((mark for mark in DECIMALS if mark == self.decimal), None)

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the usual, as plain values."""
        given: dict[str, Any] = {
            "read": dict(self.read),
            "sep": self.sep,
            "decimal": self.decimal,
            "na": list(self.na),
        }
        return {name: value for name, value in given.items() if value}


@dataclasses.dataclass(frozen=True)
class Format:
    """How the cells of a column are read, in training and for new rows alike."""

    kind: Kind
    numerals: Numerals = PLAIN
    order: Order = "ymd"
    marks: tuple[str, ...] = ()
    """Texts that are missing values, beside the usual ones."""

    @property
    def is_plain(self) -> bool:
        """Whether cells are read as every tool would read them."""
        return self.numerals == PLAIN

    def reading_as(self, decimal: Decimal | None = None, na: Sequence[str] = ()) -> Format:
        """Return one of another decimal mark, or with more words for a missing cell."""
        numerals = dataclasses.replace(self.numerals, decimal=decimal or self.numerals.decimal)
        return dataclasses.replace(self, numerals=numerals, marks=(*self.marks, *na))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {**dataclasses.asdict(self), "marks": list(self.marks)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Format:
        """Return the format that :meth:`to_dict` described."""
        return cls(**checked_fields(cls, fields))


@dataclasses.dataclass(frozen=True)
class Reading:
    """How one column was read.

    Attributes:
        name: of the column.
        format: how its cells are read; None for a column left out.
        num_missing: rows without a value, those with ``unread`` cells included.
        mended: what was understood that is no plain number, date or label.
        doubts: what may be meant otherwise, and how to say so.
        unread: row and text of each cell that is no value of the column's kind and was taken as missing.
    """

    name: str
    format: Format | None
    num_missing: int = 0
    mended: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    unread: tuple[tuple[int, str], ...] = ()

    @property
    def kind(self) -> str:
        """``"number"``, ``"category"``, ``"boolean"``, ``"date"`` or ``"dropped"``."""
        kind = "dropped" if self.format is None else self.format.kind
        return "category" if kind == "text" else kind

    @property
    def remarks(self) -> tuple[str, ...]:
        """All that is to be said of the column."""
        return (
            *self.mended,
            *([f"unreadable, so taken as missing: {cells_named(self.unread)}"] if self.unread else []),
            *self.doubts,
        )


def read_column(column: pd.Series[Any], options: ReadOptions, hint: Hint | None = None) -> tuple[Values, Reading]:
    """Read a raw feature column.

    Args:
        column: with at least one value.
        options: of the user.
        hint: what the rest of the table suggests of the decimal mark.

    Returns:
        Canonical values (``columns.py``), and how they were read.

    Raises:
        InputError: if the column holds what no encoder reads, infinities, or nothing of the kind that was asked for.

    Example:
        >>> values, reading = read_column(pd.Series(["1,5", "2,0", "?"]), ReadOptions())
        >>> values.tolist(), reading.kind, reading.mended
        ([1.5, 2.0, nan], 'number', ("decimal comma ('1,5')", "1 missing: '?'"))
    """
    name, asked = str(column.name), KINDS.get(options.read.get(str(column.name), ""))
    cells = without(column, options.na)
    if asked == "text":
        return _finished(name, Format("text"), canonical(cells, "text"))
    texts = None if is_iso(cells) else texts_of(cells)
    if texts is None:
        return _read_typed(name, cells, asked, options)
    told, sure = _tell(name, texts, asked, options, hint)
    if told.kind == "text":
        padded = (f"spaces around {texts.num_padded} labels removed",) * bool(texts.num_padded)
        return _finished(name, told, canonical(cells, "text"), mended=padded, doubts=_half_numbers(texts))
    values, unread = _read_texts(texts, told)
    return _read_as(name, told, texts, values, unread, sure=sure)


def reading_of_labels(column: pd.Series[Any]) -> Reading:
    """Return how the labels of a target were read: words for a missing value are said to be labels."""
    texts = texts_of(column)
    words = [] if texts is None else sorted(text for text in texts.distinct if is_mark(text))
    padded = 0 if texts is None else texts.num_padded
    return Reading(
        str(column.name),
        Format("text"),
        mended=(f"spaces around {padded} labels removed",) * bool(padded),
        doubts=(f"{', '.join(map(repr, words))} taken as a label, not as a missing value",) * bool(words),
    )


def read_again(column: pd.Series[Any], told: Format) -> tuple[Values, Reading]:
    """Return the canonical values of new rows of a column, read as it was, and what could not be read of them."""
    cells = without(column, told.marks)
    texts = None if told.kind in ("text", "boolean") else texts_of(cells)
    if texts is None:
        values, unread = readable(cells, told.kind)
    else:
        values, unread = _read_texts(texts, told)
        unread += [(int(row), f"{values[row]:g}") for row in np.flatnonzero(np.isinf(values))]
        values = np.where(np.isinf(values), np.nan, values)
    return values, Reading(str(column.name), told, int(missing(values).sum()), unread=tuple(unread))


def without(column: pd.Series[Any], marks: Sequence[str]) -> pd.Series[Any]:
    """Return a column, by position, with cells that are a user's marks for nothing made missing."""
    column = column.reset_index(drop=True)
    if not marks:
        return column
    found = column.astype(object).map(lambda v: isinstance(v, str) and v.strip() in marks)
    numbers = [float(mark) for mark in marks if is_plain(mark)]
    if numbers and pdtypes.is_numeric_dtype(column.dtype):
        found = column.isin(numbers).fillna(False)
    elif numbers:
        found |= column.astype(object).map(lambda v: _is_number(v) and float(v) in numbers)
    return column.mask(found.astype(bool)) if bool(found.any()) else column


def hint_of(columns: Iterable[pd.Series[Any]], separator: str | None = None) -> Hint | None:
    """Return the decimal mark that columns of a table show beyond doubt, if all agree.

    Where none shows one, semicolons between the fields suggest a comma: they are used where the comma is taken.
    """
    found: set[Decimal] = set()
    for column in columns:
        if pdtypes.is_float_dtype(column.dtype):
            values = column.dropna()
            found |= {"."} if bool((values % 1 != 0).any()) else set()
        elif (texts := texts_of(column.head(10_000).reset_index(drop=True))) is not None:
            if tell_numerals(_values_of(texts.counts)).share >= READABLE:
                found |= decisive(texts.distinct)
    if len(found) == 1:
        return Hint(found.pop(), True)
    return Hint(",", False) if separator == ";" and not found else None


def cells_named(cells: Sequence[tuple[int, str]]) -> str:
    """Return some cells as text: ``'abc' (row 3), 'x' (row 7) and 2 more``."""
    shown = ", ".join(f"{text!r:.40} (row {row})" for row, text in cells[:SHOWN])
    return shown + (f" and {len(cells) - SHOWN} more" if len(cells) > SHOWN else "")


def _tell(name: str, texts: Texts, asked: Kind | None, options: ReadOptions, hint: Hint | None) -> tuple[Format, bool]:
    """Return how a column of texts is read, and whether that is sure."""
    every = texts.counts
    cells = _values_of(every)
    decimal = options.mark
    least = READABLE if asked is None else 0.0
    if asked != "date" and cells and not (asked is None and _are_codes(every)):
        numbers = tell_numerals(cells, decimal, hint)
        if numbers.share > 0 and numbers.share >= least:
            return Format("number", numbers.numerals, marks=tuple(options.na)), numbers.sure
    if asked != "number" and cells:
        dates = tell_dates(cells)
        if dates.share > 0 and dates.share >= least:
            return Format("date", order=dates.order, marks=tuple(options.na)), dates.sure
    if asked is not None:
        example = next(iter(every), "")
        raise InputError(
            f"read of {name!r} must be a kind that its cells can be read as, got {asked!r} for {example!r}"
        )
    return Format("text", marks=tuple(options.na)), True


def _read_typed(name: str, cells: pd.Series[Any], asked: Kind | None, options: ReadOptions) -> tuple[Values, Reading]:
    kind = kind_of(cells) if asked is None else asked
    marks = tuple(options.na)
    if kind == "number" and asked is None and merges(cells):
        mended = (f"integers beyond {EXACT:.0e}, which a float64 cannot tell apart, are labels",)
        return _finished(name, Format("text", marks=marks), canonical(cells, "text"), mended=mended)
    values = canonical(cells, kind)
    doubts: tuple[str, ...] = ()
    if kind == "number":
        _check_one_scale(name, values)
        doubts = _sentinels(values)
    return _finished(name, Format(kind, marks=marks), values, doubts=doubts)


def _read_as(
    name: str, told: Format, texts: Texts, values: Values, unread: list[tuple[int, str]], *, sure: bool
) -> tuple[Values, Reading]:
    check_finite(name, values)
    mended, doubts = list(_mended(told, texts)), []
    if not sure:
        doubts.append(_ambiguous(name, told, texts))
    if told.kind == "number":
        _check_one_scale(name, values)
        doubts += _sentinels(values)
    kept = dataclasses.replace(told, marks=tuple(dict.fromkeys([*told.marks, *(text for _, text in unread)]))[:100])
    missed = int(missing(values).sum())
    return values, Reading(name, kept, missed, tuple(mended), tuple(doubts), tuple(unread))


def _finished(
    name: str,
    told: Format,
    values: Values,
    *,
    mended: tuple[str, ...] = (),
    doubts: tuple[str, ...] = (),
) -> tuple[Values, Reading]:
    return values, Reading(name, told, int(missing(values).sum()), mended, doubts)


def _read_texts(texts: Texts, told: Format) -> tuple[Values, list[tuple[int, str]]]:
    """Return canonical values, and the cells that are neither missing nor of the kind."""
    read = (_numbers if told.kind == "number" else _days)(texts.distinct, told)
    unread = {
        t for t, value in zip(texts.distinct, read, strict=True) if np.isnan(value) and not is_mark(t, told.marks)
    }
    return texts.each(read), texts.rows(unread)


def _numbers(strings: Sequence[str], told: Format) -> Values:
    texts = np.array(strings, dtype=object)
    plain = np.array([told.is_plain and is_plain(text) for text in strings], dtype=bool)
    values = np.full(len(texts), np.nan)
    values[~plain] = [np.nan if (n := told.numerals.read(text)) is None else n for text in texts[~plain]]
    if plain.any():  # as pandas reads a file that needs no mending
        values[plain] = pd.to_numeric(pd.Series(texts[plain])).to_numpy(dtype=np.float64)
    return values


def _days(strings: Sequence[str], told: Format) -> Values:
    moments = [read_date(text, told.order) for text in strings]
    since = np.array(moments, dtype="datetime64[us]") - np.datetime64(0, "us")
    return np.asarray(since / np.timedelta64(1, "D"), dtype=np.float64)


def _mended(told: Format, texts: Texts) -> list[str]:
    """Say what of a column was understood that is not plain."""
    present = texts.distinct
    said = []
    if told.kind == "number":
        odd = [text for text in present if not is_plain(text) and told.numerals.read(text) is not None]
        if told.numerals.decimal == ",":
            said.append(f"decimal comma ({next((t for t in odd if ',' in t), odd[0] if odd else '')!r})")
        if told.numerals.unit:
            said.append(f"{told.numerals.unit!r} removed ({next(iter(odd), '')!r})")
        if not said and odd:
            said.append(f"written differently ({', '.join(repr(t) for t in odd[:2])})")
    elif not all(text[:4].isdecimal() for text in present if read_date(text, told.order)):
        words = {"dmy": "day first", "mdy": "month first", "ymd": "as written"}
        said.append(f"{words[told.order]} ({next(t for t in present if read_date(t, told.order))!r})")
    marks = {text: count for text, count in texts.counts.items() if is_mark(text, told.marks)}
    if marks:
        said.append(f"{sum(marks.values())} missing: {', '.join(repr(mark) for mark in list(marks)[:4])}")
    return said


def _ambiguous(name: str, told: Format, texts: Texts) -> str:
    """Say which of two ways was taken, and how to ask for the other."""
    if told.kind == "date":
        example = next(text for text in texts.distinct if read_date(text, told.order) != read_date(text, "dmy"))
        return f"{example!r} was read month first, but no cell decides it; write 2024-12-31 if days come first"
    other: Decimal = "," if told.numerals.decimal == "." else "."
    way = dataclasses.replace(told.numerals, decimal=other)
    for text in texts.distinct:
        here, there = told.numerals.read(text), way.read(text)
        if here is not None and there is not None and here != there:
            return (
                f"{text!r} was read as {here:.10g}, but no cell decides it; with decimal {other!r} it is {there:.10g}"
            )
    return f"the decimal mark of {name!r} is ambiguous"


def _half_numbers(texts: Texts) -> tuple[str, ...]:
    cells = _values_of(texts.counts)
    many = len(cells) > CODES  # fewer are levels
    share = max(tell_numerals(cells).share, tell_dates(cells).share) if many else 0.0
    return (f"{share:.0%} of the cells look like numbers or dates; read as number, the others would be missing",) * (
        0.5 <= share < 1.0
    )


def _values_of(cells: Mapping[str, int]) -> dict[str, int]:
    return {text: count for text, count in cells.items() if not is_mark(text)}


def _are_codes(cells: Mapping[str, int]) -> bool:
    """Say whether strings of digits were meant as strings: leading zeros, or a few whole numbers and nothing else."""
    digits = [text for text in cells if text.isdecimal()]
    if any(len(text) > 1 and text[0] == "0" for text in digits):
        return True
    if any(len(text) > 15 for text in digits) and len({float(text) for text in digits}) < len(digits):
        return True
    return len(digits) == len(cells) <= CODES


def merges(cells: pd.Series[Any]) -> bool:
    """Say whether different whole numbers would become one as float64."""
    if pdtypes.is_float_dtype(cells.dtype) or pdtypes.is_bool_dtype(cells.dtype):
        return False
    present = cells.dropna()
    if not pdtypes.is_numeric_dtype(cells.dtype):
        present = present[present.map(lambda v: isinstance(v, int))]
    if not len(present) or max(int(present.max()), -int(present.min())) < EXACT:
        return False
    distinct = present.unique()
    return len({float(value) for value in distinct}) < len(distinct)


def _sentinels(values: Values) -> tuple[str, ...]:
    present = np.unique(values[~np.isnan(values)])
    said = []
    for mark in SENTINELS:
        others = present[present != mark]
        if mark in present and len(others) > 1:
            gap = max(others[0] - mark, mark - others[-1])
            if gap > FAR * (others[-1] - others[0]):
                count = int((values == mark).sum())
                said.append(
                    f"{mark:g} ({count} rows) lies far from all other values: if it marks missing values, name it as na"
                )
    return tuple(said)


def _check_one_scale(name: str, values: Values) -> None:
    """Refuse numbers beside which all others vanish."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not sizes.size:
        return
    usual, largest = float(np.median(sizes)), float(sizes.max())
    if largest > ONE_SCALE * usual:
        row = int(np.nanargmax(np.abs(values)))
        raise BadCells(
            f"column {name!r} must hold numbers of similar scale, got {values[row]:g} (row {row}), while half of "
            f"them are below {usual:g}; correct the cell, or leave it empty",
            np.flatnonzero(np.abs(values) > ONE_SCALE * usual),
        )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and is_plain(value.strip()))
