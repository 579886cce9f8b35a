"""How objects show themselves: in one line, in lines, or as a notebook's table, always of the same names and values.

Names and values may come from anybody's file: whatever they hold, a line stays a line and a table holds no markup.
"""

from __future__ import annotations

import abc
import dataclasses
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from html import escape
from itertools import islice
from typing import Any

Pair = tuple[str, Any]
LINE = 199
"""Characters of the longest line."""
MOST = 30
"""Rows of the longest table."""
_FEW, _SOME = 5, 20
"""Items of a list, and of a mapping, that are named."""
_NAME, _SHORT, _LONG = 24, 70, 200
"""Characters of a name, of a value in a line, and of one that has a line to itself."""
_JOINERS = "\u200c\u200d"
"""Signs without a width that words of Persian and of India need, and pictures of several."""
_CELL = 600
"""Characters of a value in a table."""


class Shown(abc.ABC):
    """What says of itself a few names and values.

    Example:
        >>> class Fit(Shown):
        ...     def _pairs(self):
        ...         return [("loss", 0.123456), ("layers", ("first", "second"))]
        >>> Fit()
        Fit(loss: 0.1235; layers: first, second)
    """

    __slots__ = ()

    @abc.abstractmethod
    def _pairs(self) -> Iterable[Pair]:
        """Return names and values, the most telling first: what has no room in a line is left out."""

    def __repr__(self) -> str:
        return as_line(type(self).__name__, self._pairs())

    def _repr_html_(self) -> str:
        return as_table(type(self).__name__, self._pairs())


class ShownFields(Shown):
    """What says the fields of its dataclass: of an array its type and shape, of many items how many they are."""

    __slots__ = ()

    def _pairs(self) -> Iterable[Pair]:
        return fields_of(self)


def fields_of(thing: Any) -> list[Pair]:
    """Return the fields of a dataclass that have something to say."""
    fields = ((field.name, getattr(thing, field.name)) for field in dataclasses.fields(thing) if field.repr)
    return [
        (name.replace("_", " "), value)
        for name, value in fields
        if not (value is None or (isinstance(value, str) and not value))
    ]


def as_line(title: str, pairs: Iterable[Pair]) -> str:
    """Return ``title(name: value; name: value)``, at most 199 characters and no end of a line among them."""
    parts, room = [], LINE - len(title) - len("(...)")
    for name, value in pairs:
        part = f"{cut(name, _NAME)}: {cut(text(value), _SHORT)}"
        room -= len(part) + 2
        if room < 0:
            parts.append("...")
            break
        parts.append(part)
    return f"{title}({'; '.join(parts)})"


def as_lines(title: str, pairs: Iterable[Pair]) -> str:
    """Return the title, and a line for each name with its value."""
    told = [(cut(name, _NAME), cut(text(value), _LONG)) for name, value in pairs]
    width = max((len(name) for name, _ in told), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {value}" for name, value in told)])


def as_table(title: str, pairs: Iterable[Pair]) -> str:
    """Return an HTML table of two columns, of 30 rows at most; formulas in it are not typeset."""
    told = [(cut(name, _SHORT), cut(text(value), _CELL)) for name, value in pairs]
    rows = "".join(
        f"<tr><th {_LEFT}>{escape(name)}</th><td {_WRAPPED}>{escape(value)}</td></tr>" for name, value in told[:MOST]
    )
    more = f'<tr><td colspan="2">and {len(told) - MOST} more</td></tr>' if len(told) > MOST else ""
    return (
        f'<table class="tex2jax_ignore"><caption {_LEFT}>{escape(title)}</caption><tbody>{rows}{more}</tbody></table>'
    )


_LEFT, _WRAPPED = 'style="text-align:left"', 'style="text-align:left;overflow-wrap:anywhere"'


def text(value: Any) -> str:
    """Return a value in short: four digits of a number, type and shape of an array, the first items of a list.

    Example:
        >>> text({"l2": 0.0123456, "dropout": None}), text(range(7)), text(())
        ('l2=0.01235, dropout=None', '0, 1, 2, 3, 4, ... (7 in all)', 'none')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Shown):
        return repr(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        kind = str(value.dtype).removeprefix("torch.")
        return f"{kind} {tuple(value.shape)}" if value.shape else text(value.item())
    if isinstance(value, Mapping):
        return _items([f"{name}={text(inner)}" for name, inner in islice(value.items(), _SOME)], len(value))
    if isinstance(value, Collection) and not isinstance(value, bytes):
        return _items([text(inner) for inner in islice(value, _FEW)], len(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}({', '.join(f'{name}={text(inner)}' for name, inner in fields_of(value))})"
    return repr(value)


def _items(first: list[str], num: int) -> str:
    more = [f"... ({num} in all)"] if num > len(first) else []
    return ", ".join([*first, *more]) or "none"


def printable(value: str, keep: str = "") -> str:
    r"""Return a text of which all prints: what moves a cursor or the direction of writing is written as ``\x1b``.

    Args:
        value: any text.
        keep: characters to leave as they are.

    Example:
        >>> printable("\x1b[31mred\n"), printable("two\nlines", keep="\n")
        ('\\x1b[31mred\\n', 'two\nlines')
    """
    if value.isprintable():
        return value
    return "".join(c if _prints(c) or c in keep else ascii(c)[1:-1] for c in value)


def _prints(character: str) -> bool:
    """Say whether a character leaves cursor and direction as they are; a space of any width does."""
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


def cut(value: str, length: int) -> str:
    r"""Return a text of at most so many characters, all of which print: controls are written as ``\n`` or ``\x1b``.

    Example:
        >>> cut("two\nlines", 20), cut("very long", 6)
        ('two\\nlines', 'ver...')
    """
    printed = printable(value[: length + 1])
    return printed if len(printed) <= length else printed[: length - 3] + "..."
