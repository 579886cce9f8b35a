"""A learning curve in rows as a report: what more rows would give, the curves with what is beyond them, the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from meden.recipe import Recipe
from meden.report import Chart, Code, Column, Format, Key, Report, ReportTable, Section, TableRow, Tile, write
from meden.report.charts import CHOSEN, OTHER, axis_title, chart, label, lines, scatter, tinted
from meden.report.numbers import number
from meden.report.recipes import recipe_text, versions
from meden.study.data_summary import DataSummary
from meden.study.metrics import spoken
from meden.study.model_reference import ModelReference
from meden.study.page_reproduce import arguments_text, data_facts
from meden.study.selection import Score
from meden.study.size_curve import FARTHEST, Array, SizeCurve
from meden.study.verdict import Sentence

DRAWN = 60
"""Points of a law that is drawn."""
COLOURS = (CHOSEN, OTHER)


def learning_curve_report(
    curves: Sequence[SizeCurve],
    sentences: Sequence[Sentence],
    table: pd.DataFrame,
    path: Path | str,
    *,
    metric: str,
    gain: Score | None,
    gain_rows: float | None = None,
    data: DataSummary,
    recipe: Recipe,
    model: ModelReference,
    model_args: Mapping[str, Any],
    command: str = "",
    format: Format = "html",
) -> Path:
    """Write the report of a learning curve and return where it is.

    Args:
        curves: of the recipe, and of the plain network if it was trained.
        sentences: what they say.
        table: their numbers.
        path: of the file.
        metric: what they are of.
        gain: of regularisation; None if it is not known.
        gain_rows: those that train where ``gain`` is known; None is the largest size.
        data: of the folds.
        recipe: that was trained.
        model: who makes the networks.
        model_args: arguments that they are made with.
        command: the command line; empty where there was none.
        format: ``"html"`` or ``"md"``, as in :func:`meden.report.write`.
    """
    lead, *others = (sentence.text for sentence in sentences)
    facts = data_facts(data) | {"Model": model.text}
    facts |= {"Arguments of the model": arguments_text(model_args)} if model_args else {}
    codes = (*([Code("Command", command)] if command else []), Code("recipe.yaml", recipe_text(recipe)))
    sections = (
        _curves(curves, spoken(metric)),
        Section(title="All sizes", table=_table(table)),
        Section(title="What was trained", codes=codes, facts=facts | versions()),
    )
    tiles = tuple(_tiles(curves[0], gain, gain_rows, spoken(metric)))
    title = "Would more rows help?"
    return write(Report(title=title, lead=lead, tiles=tiles, text=tuple(others), sections=sections), path, format)


def _tiles(curve: SizeCurve, gain: Score | None, gain_rows: float | None, name: str) -> Iterator[Tile]:
    yield Tile(f"{name} now", number(float(curve.mean[-1])), f"{number(round(curve.rows))} training rows")
    if not curve.reason:
        found = curve.predict(FARTHEST * curve.rows)
        yield Tile("with twice the rows", number(found.mean), f"{number(found.low)} to {number(found.high)}")
        more = curve.gain(FARTHEST * curve.rows)
        yield Tile("twice the rows gain", number(more.mean), f"{number(more.low)} to {number(more.high)}")
    if gain is not None:
        with_rows = f", with {number(round(gain_rows))} rows" if gain_rows and abs(gain_rows - curve.rows) >= 1 else ""
        told = f"{number(gain.low)} to {number(gain.high)}{with_rows}"
        yield Tile("regularisation gains", number(gain.estimate), told)


def _curves(curves: Sequence[SizeCurve], name: str) -> Section:
    traces: list[dict[str, Any]] = []
    for curve, colour in reversed(list(zip(curves, COLOURS, strict=False))):  # the recipe last, on top
        traces += [*_law(curve, colour), _measured(curve, colour, name)]
    made: Chart = chart(
        f"Held-out {name} against the number of training rows",
        traces,
        x=axis_title("training rows") | {"type": "log", "tickformat": ",d"} | _ticks(curves[0]),
        y=axis_title(f"held-out {name}"),
        shapes=[] if all(curve.reason for curve in curves) else [_now(curves[0].rows)],
        height=400,
    )
    text = (
        "Points are means over the folds; bars are one standard error, most of which is due to differences between "
        "the folds, which are the same at every size. Lines show the power law from where it starts, dashed beyond "
        "the available rows, up to twice as many; shaded are its 95 % intervals.",
        *(f"{curve.name}: no power law is drawn, since {curve.reason}." for curve in curves if curve.reason),
    )
    keys = tuple(
        key
        for curve, colour in zip(curves, COLOURS, strict=False)
        for key in (
            Key(f"{curve.name}, measured", "●", colour),
            *([] if curve.reason else [Key(f"{curve.name}, by its power law", "┅", colour)]),
        )
    )
    return Section(title="The curve", text=text, keys=keys, charts=(made,))


def _ticks(curve: SizeCurve) -> dict[str, Any]:
    """Return ticks at the sizes, and at twice the largest: rows are round numbers to nobody else."""
    ends = [] if curve.reason else [FARTHEST * curve.rows]
    at = [*curve.sizes[::-1][::2][::-1].tolist(), *ends]
    first, last = math.log10(curve.sizes[0]), math.log10(at[-1])
    margin = 0.04 * (last - first)
    ticks = {"tickvals": at, "ticktext": [number(round(size)) for size in at]}
    return ticks | {"range": [first - margin, last + margin]}


def _now(rows: float) -> dict[str, object]:
    line = {"color": OTHER, "width": 1, "dash": "dot"}
    return {"type": "line", "x0": rows, "x1": rows, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _measured(curve: SizeCurve, colour: str, name: str) -> dict[str, Any]:
    at = np.flatnonzero(curve.sound)
    mean, error = curve.mean, curve.error
    return scatter(
        x=curve.sizes[at],
        y=mean[at],
        error_y={"type": "data", "array": error[at], "color": colour, "thickness": 1},
        mode="lines+markers" if curve.reason else "markers",
        marker={"color": colour, "size": 8},
        line={"color": colour, "width": 1},
        hovertext=[
            lines(
                label(f"{curve.name}, {number(round(float(curve.sizes[i])))} rows"),
                label(f"{name} {number(float(mean[i]))} ± {number(float(error[i]))}"),
            )
            for i in at
        ],
        hoverinfo="text",
    )


def _law(curve: SizeCurve, colour: str) -> Iterator[dict[str, Any]]:
    """Yield the law within what was measured, beyond it, and its interval."""
    if curve.reason or curve.fit is None:
        return
    first = curve.fit.begins
    inside, beyond = np.geomspace(first, curve.rows, DRAWN), np.geomspace(curve.rows, FARTHEST * curve.rows, DRAWN // 4)
    every = np.concatenate([inside, beyond[1:]])
    every[[0, -1]] = first, FARTHEST * curve.rows  # not a rounding beyond
    found = np.array([curve.predict(n) for n in every])
    band = scatter(
        x=np.concatenate([every, every[::-1]]),
        y=np.concatenate([found[:, 1], found[::-1, 2]]),
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=tinted(colour, 0.16),
        hoverinfo="skip",
    )
    yield band
    for part, dash in ((slice(0, DRAWN), "solid"), (slice(DRAWN - 1, None), "dash")):
        yield _line(every[part], found[part], curve.name, colour, dash)


def _line(x: Array, found: Array, name: str, colour: str, dash: str) -> dict[str, Any]:
    hover = [
        lines(label(f"{name}, {number(round(float(n)))} rows"), f"{number(mean)} ({number(low)} to {number(high)})")
        for n, (mean, low, high) in zip(x, found.tolist(), strict=True)
    ]
    line = {"color": colour, "width": 2, "dash": dash}
    return scatter(x=x, y=found[:, 0], mode="lines", line=line, hovertext=hover, hoverinfo="text")


def _table(table: pd.DataFrame) -> ReportTable:
    columns = tuple(Column(str(name).replace("_", " "), measured=name != "rows") for name in table)
    rows = table.assign(rows=table.rows.round().astype(int)).itertuples(index=False)
    return ReportTable(columns, tuple(TableRow(tuple(row)) for row in rows))
