"""What a report is made of: plain values and strings, which the page escapes; nothing here is HTML.

The strings are English, and names of the user's in them are :class:`meden.language.Own`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Value = str | int | float | None
Mark = Literal["", "one_se", "best", "both", "diverged", "baseline"]
"""How a configuration stands out: chosen, best, chosen and best, of no use, or none of those that were searched."""


@dataclass(frozen=True)
class Tile:
    """One number that matters, in large print."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    numeric: bool = True
    """Numbers are set to the right."""
    measured: bool = False
    """Measurements keep their trailing zeros."""
    worded: bool = False
    """Its cells hold words of meden's own, which are shown in the reader's language."""


@dataclass(frozen=True)
class TableRow:
    """One row: a value per column, and how it stands out."""

    values: tuple[Value, ...]
    mark: Mark = ""


@dataclass(frozen=True)
class ReportTable:
    """A table that can be sorted by its headers."""

    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class Chart:
    """A plotly figure as plain values, made by :func:`meden.report.charts.chart`."""

    title: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    name: str
    symbol: str
    colour: str


@dataclass(frozen=True)
class Code:
    """Text to copy."""

    title: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A title and what stands below it, in this order."""

    title: str
    text: tuple[str, ...] = ()
    """Paragraphs."""
    keys: tuple[Key, ...] = ()
    charts: tuple[Chart, ...] = ()
    table: ReportTable | None = None
    codes: tuple[Code, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    """Names and what they are."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report."""

    title: str
    lead: str
    """The answer, in one sentence."""
    tiles: tuple[Tile, ...] = ()
    text: tuple[str, ...] = ()
    """Paragraphs below the tiles."""
    sections: tuple[Section, ...] = ()
