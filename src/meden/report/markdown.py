"""A report as Markdown: all but the charts, for terminals, issues and other documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from meden.language import translated
from meden.report.document import Chart, Code, Report, ReportTable, Section, Tile
from meden.report.numbers import cell, plural
from meden.report.translation import in_language

_ACTIVE = re.compile(r"[\\`*_\[\]<>|~&$]")
_OPENING = re.compile(r"[#=+-](?![\d.])|\d+(?=[.)](\s|$))")
"""What begins a heading, a list or a rule, at the beginning of a paragraph."""


def markdown(report: Report) -> str:
    """Return a report as Markdown; every string in it is shown literally, whatever it holds."""
    report = in_language(report)
    parts = [f"# {literal(report.title)}", f"**{literal(report.lead)}**", *_tiles(report.tiles)]
    parts += [literal(paragraph) for paragraph in report.text]
    parts += [part for section in report.sections for part in _section(section)]
    return "\n\n".join(parts) + "\n"


def literal(text: object) -> str:
    r"""Return any text as one line of Markdown that shows it literally.

    Example:
        >>> print(literal("# 5 < *6*,\n| a_b"))
        \# 5 \< \*6\*, \| a\_b
        >>> print(literal("3. -> 4."), literal("0.5"), literal("-1"))
        3\. -\> 4. 0.5 -1
    """
    line = _ACTIVE.sub(r"\\\g<0>", " ".join(str(text).split()))
    opening = _OPENING.match(line)
    if opening is None:
        return line
    at = opening.end() if opening[0].isdigit() else 0
    return f"{line[:at]}\\{line[at:]}"


def _section(section: Section) -> Iterator[str]:
    yield f"## {literal(section.title)}"
    yield from (literal(paragraph) for paragraph in section.text)
    yield from _charts(section.charts)
    yield from () if section.table is None else (_table(section.table),)
    for code in section.codes:
        yield from _code(code)
    yield from _list((name, value) for name, value in section.facts.items())


def _tiles(tiles: Iterable[Tile]) -> Iterator[str]:
    return _list((tile.label, f"{tile.value} ({tile.note})" if tile.note else tile.value) for tile in tiles)


def _list(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    lines = [f"- **{literal(name)}**: {literal(value)}" for name, value in pairs]
    yield from ("\n".join(lines),) if lines else ()


def _charts(charts: tuple[Chart, ...]) -> Iterator[str]:
    if charts:
        titles = "; ".join(literal(chart.title) for chart in charts)
        yield translated(f"*{plural(len(charts), 'chart')} omitted, which the HTML report shows: {titles}.*")


def _table(table: ReportTable) -> str:
    """Return a pipe table, numbers set to the right."""
    header = [literal(column.name) for column in table.columns]
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    rows = [
        [literal(cell(value, column.measured)) for value, column in zip(row.values, table.columns, strict=True)]
        for row in table.rows
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *rows])


def _code(code: Code) -> Iterator[str]:
    """Return a fence longer than any in the text."""
    longest = max((len(ticks) for ticks in re.findall("`+", code.text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield f"{literal(code.title)}:"
    text = code.text.removesuffix("\n")
    yield f"{fence}\n{text}\n{fence}"
