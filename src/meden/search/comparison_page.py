"""A comparison as a report: one page from the rows of its table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meden.report import Column, Key, Report, ReportTable, Section, TableRow, write
from meden.report.numbers import number
from meden.report.recipes import versions
from meden.report.scores import Axis, Point, score_chart, score_keys

Rows = Sequence[Mapping[str, Any]]
"""What :meth:`meden.search.Comparison.table` holds, the first alternative first."""


def comparison_report(rows: Rows, metric: str, summary: str, path: Path | str) -> Path:
    """Write the report of a comparison and return where it is.

    Args:
        rows: of its table.
        metric: its name, beside the loss.
        summary: what the numbers are.
        path: of the HTML file.
    """
    points = [_point(row) for row in rows]
    axis = Axis("alternative", "category", tuple(row["name"] for row in rows))
    chart = score_chart(axis, points, unit="mean over the folds", connected=False)
    sections = (
        Section(title="Loss of each alternative", keys=_keys(points), charts=(chart,)),
        Section(title="All alternatives", table=_table(rows, metric)),
        Section(title="Software", facts=versions()),
    )
    title = f"Which regulariser helps: {len(rows)} alternatives"
    text = (f"{summary}.", "Each interval is of one difference by itself: the best of many looks better than it is.")
    return write(Report(title=title, lead=_lead(rows), text=text, sections=sections), path)


def _lead(rows: Rows) -> str:
    first, *others = rows
    sound = [row for row in others if math.isfinite(row["loss_difference"])]
    if not sound:
        return f"No alternative has a result to compare with that of {first['name']}."
    best = min(sound, key=lambda row: row["loss_difference"])
    low, high = best["loss_difference_low"], best["loss_difference_high"]
    interval = f"the 95 % interval of its difference from {first['name']} is {number(low)} to {number(high)}"
    if high < 0:
        return f"{best['name']} helps: {interval}."
    verdict = "nothing helps for certain" if low < 0 else "nothing helps"
    return f"Among these, {verdict}: the lowest loss beside it has {best['name']}, and {interval}."


def _point(row: Mapping[str, Any]) -> Point:
    return Point(row["name"], row["loss"], row["loss_error"], row["train_loss"])


def _keys(points: Sequence[Point]) -> tuple[Key, ...]:
    """Return the legend without the choices of a search, of which there are none."""
    return tuple(key for key in score_keys(points) if "chosen" not in key.name and "best" not in key.name)


def _table(rows: Rows, metric: str) -> ReportTable:
    measured = [
        name for of in ("loss", metric) for name in (of, f"{of}_error", *(f"{of}_difference{e}" for e in _ENDS))
    ]
    names = ["name", "train_loss", *measured, "status", "reason"]
    columns = tuple(Column(n.replace("_", " "), n not in ("name", "status", "reason"), n in measured) for n in names)
    return ReportTable(columns, tuple(TableRow(tuple(row[name] for name in names)) for row in rows))


_ENDS = ("", "_low", "_high")
