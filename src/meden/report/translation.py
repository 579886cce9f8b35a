"""A report in the reader's language: its words; not names of the user's, cells that hold values, or code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from meden.language import Own, language, translated
from meden.report.document import Chart, Code, Column, Key, Report, ReportTable, Section, TableRow, Tile

_LABELS = ("name", "text", "hovertext", "hovertemplate", "ticktext", "title")
"""Fields of a plotly figure, at any depth, that hold what people read."""


def in_language(report: Report) -> Report:
    """Return a report as it is shown.

    Example:
        >>> report = Report(title="One run", lead="")
        >>> in_language(report) is report  # in English
        True
    """
    if language() == "en":
        return report
    return replace(
        report,
        title=translated(report.title),
        lead=translated(report.lead),
        tiles=tuple(_tile(tile) for tile in report.tiles),
        text=tuple(map(translated, report.text)),
        sections=tuple(_section(section) for section in report.sections),
    )


def _tile(tile: Tile) -> Tile:
    return Tile(translated(tile.label), translated(tile.value), translated(tile.note))


def _section(section: Section) -> Section:
    return replace(
        section,
        title=translated(section.title),
        text=tuple(map(translated, section.text)),
        keys=tuple(Key(translated(key.name), key.symbol, key.colour) for key in section.keys),
        charts=tuple(_chart(chart) for chart in section.charts),
        table=section.table and _table(section.table),
        codes=tuple(Code(translated(code.title), code.text) for code in section.codes),
        facts={translated(name): translated(value) for name, value in section.facts.items()},
    )


def _table(table: ReportTable) -> ReportTable:
    columns = tuple(replace(column, name=translated(column.name)) for column in table.columns)
    return ReportTable(columns, tuple(_row(row, columns) for row in table.rows))


def _row(row: TableRow, columns: tuple[Column, ...]) -> TableRow:
    cells = zip(row.values, columns, strict=True)
    return TableRow(
        tuple(translated(value) if column.worded and isinstance(value, str) else value for value, column in cells),
        row.mark,
    )


def _chart(chart: Chart) -> Chart:
    return Chart(translated(chart.title), [_figure(trace) for trace in chart.data], _figure(chart.layout))


def _figure(part: Any, is_label: bool = False) -> Any:
    """Return a part of a figure; the first of several lines of a label is often a name."""
    if isinstance(part, Mapping):
        return {name: _figure(inner, name in _LABELS) for name, inner in part.items()}
    if isinstance(part, list):
        return [_figure(inner, is_label) for inner in part]
    if is_label and isinstance(part, str) and not isinstance(part, Own):
        first, *others = part.split("<br>")
        is_name = bool(others) and " " not in first
        return "<br>".join([first if is_name else translated(first), *map(translated, others)])
    return part
