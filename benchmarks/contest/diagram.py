"""A critical-difference diagram: mean ranks on an axis, and a bar over those that do not differ.

Reference: J. Demšar, Statistical comparisons of classifiers over multiple data sets, 2006, figure 1.
"""

from __future__ import annotations

import html

from contest.ranks import Estimate

from meden.report.charts import HELD_OUT, OTHER

WIDTH, LEFT, ROW, TOP = 760, 190, 20, 70
"""Pixels: of all, beside the axis, for a name, above the first bar."""


def diagram(title: str, ranks: dict[str, Estimate], groups: list[list[str]], difference: float) -> str:
    """Return the diagram as SVG.

    Args:
        title: above it.
        ranks: mean rank of each method, the best first.
        groups: methods that do not differ, neighbours by rank.
        difference: Nemenyi's, drawn as a scale.
    """
    names, last = list(ranks), len(ranks)
    half = (last + 1) // 2
    bars = TOP + 8 * len(groups) + 6
    height = bars + ROW * (half + 1)

    def x(rank: float) -> float:
        return LEFT + (rank - 1) / max(1, last - 1) * (WIDTH - 2 * LEFT)

    drawn = [_text(10, 18, title, weight="bold"), _line(x(1), TOP - 12, x(last), TOP - 12)]
    for rank in range(1, last + 1):
        drawn += [_line(x(rank), TOP - 17, x(rank), TOP - 12), _text(x(rank), TOP - 21, str(rank), "middle")]
    wide = x(1 + difference) - x(1)
    if wide <= WIDTH - 2 * LEFT:
        drawn += [_line(x(1), 30, x(1) + wide, 30), _text(x(1) + wide + 6, 34, f"Nemenyi {difference:.2f}")]
    for number, group in enumerate(groups):
        height_of = TOP + 8 * number
        first, end = ranks[group[0]].mean, ranks[group[-1]].mean
        drawn.append(_line(x(first) - 4, height_of, x(end) + 4, height_of, width=4, colour=HELD_OUT))
    for place, name in enumerate(names):
        left = place < half
        row = bars + ROW * (place if left else last - 1 - place)
        at, side = x(ranks[name].mean), LEFT - 8 if left else WIDTH - LEFT + 8
        drawn += [_line(at, TOP - 12, at, row, colour=OTHER), _line(at, row, side, row, colour=OTHER)]
        label = f"{name} {ranks[name].mean:.2f}"
        drawn.append(_text(side - 4 if left else side + 4, row + 4, label, "end" if left else "start"))
    body = "\n".join(drawn)
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    style = 'font-family="system-ui, sans-serif" font-size="12"'
    background = f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{background}\n{body}\n</svg>\n'


def _line(x1: float, y1: float, x2: float, y2: float, *, width: float = 1, colour: str = "black") -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
    return f"<text {place}>{html.escape(text)}</text>"
