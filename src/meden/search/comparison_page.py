"""A comparison as a report: which alternatives help, then the evidence, then how to have it again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from meden.language import Own
from meden.report import Chart, Column, Format, Report, ReportTable, Section, TableRow, write
from meden.report import curves as learning
from meden.report.gains import Gain as Bar
from meden.report.gains import gains_chart, gains_keys
from meden.search.alternative import Alternative
from meden.search.comparison_origin import Origin, recipes_section, reproduce_section
from meden.study.metrics import HIGHER_IS_BETTER, SHARES, spoken
from meden.study.page_curves import learning_curves
from meden.study.verdict import Gain, Verdict

Rows = Sequence[Mapping[str, Any]]
"""What :meth:`meden.search.Comparison.table` holds, the first alternative first."""


def comparison_report(
    alternatives: Sequence[Alternative],
    rows: Rows,
    gains: Mapping[str, Gain],
    verdict: Verdict,
    path: Path | str,
    *,
    metric: str,
    summary: str,
    origin: Origin | None = None,
    command: str = "",
    format: Format = "html",
) -> Path:
    """Write the report of a comparison and return where it is.

    Args:
        alternatives: the first is what the others are held against.
        rows: of the table.
        gains: over the first, by name.
        verdict: on it.
        path: of the file.
        metric: its name, beside the loss.
        summary: what the numbers are.
        origin: what makes it again; None where that is not known.
        command: the command line that made it; empty where there was none.
        format: ``"html"`` or ``"md"``, as in :func:`meden.report.write`.
    """
    lead, *others = (sentence.text for sentence in verdict.sentences)
    table = Section(title="All alternatives", text=(f"{summary}.",), table=_table(rows, metric))
    sections = [
        *_gains(alternatives, gains, metric),
        *_curves(alternatives, rows),
        table,
        recipes_section(alternatives),
        *([] if origin is None else [reproduce_section(origin, alternatives, command)]),
    ]
    title = f"Which regulariser helps: {len(rows)} alternatives"
    return write(Report(title=title, lead=lead, text=tuple(others), sections=tuple(sections)), path, format)


def _gains(alternatives: Sequence[Alternative], gains: Mapping[str, Gain], metric: str) -> Iterator[Section]:
    """Yield how much better each alternative is than the first, if any has a result."""
    if not gains:
        return
    first = Own(alternatives[0].name)
    charts = [_chart(first, alternatives, gains, of) for of in (metric, "loss")]
    text = (
        f"How much better each is than {first} on held-out rows, fold by fold: to the right of the dashed line is "
        "better, in every chart. The lines are the intervals that hold for all alternatives together.",
    )
    keys = gains_keys([Bar(first, 0.0, role="reference"), Bar("", 0.0)], "interval of the difference")
    yield Section(title=f"Gains over {first}", text=text, keys=keys, charts=tuple(charts))


def _chart(first: str, alternatives: Sequence[Alternative], gains: Mapping[str, Gain], metric: str) -> Chart:
    scale = 100.0 if metric in SHARES else 1.0
    bars = [Bar(first, 0.0, 0.0, 0.0, "reference")]
    for alternative in alternatives[1:]:
        gain = gains.get(alternative.name)
        if gain is None:
            bars.append(Bar(Own(alternative.name), math.nan))
            continue
        score = gain.loss if metric == "loss" else gain.told
        bars.append(Bar(Own(alternative.name), scale * score.estimate, scale * score.low, scale * score.high))
    unit = "points of " * (metric in SHARES)
    side = "more" if metric in HIGHER_IS_BETTER else "less"
    return gains_chart(f"Held-out {spoken(metric)}", bars, x_title=f"{unit}{spoken(metric)} {side} than {first}")


def _curves(alternatives: Sequence[Alternative], rows: Rows) -> Iterator[Section]:
    """Yield the curves of the first alternative and of the one of the lowest held-out loss beside it."""
    sound = [place for place, row in enumerate(rows) if math.isfinite(row["loss"]) and alternatives[place].rows]
    others = [place for place in sound if place > 0]
    if 0 not in sound or not others:
        return
    first, best = alternatives[0], alternatives[min(others, key=lambda place: rows[place]["loss"])]
    curves = learning_curves(first.rows), learning_curves(best.rows)
    names, both = (first.name, best.name), [*curves[0], *curves[1]]
    stopped = any(curve.held_out for curve in both)
    chart = learning.against_chart(
        f"{first.name} against {best.name}, the alternative with the lowest held-out loss",
        *curves,
        y_title="loss",
        top=learning.highest(both),
        names=names,
    )
    text = "Means over the folds, as long as at least half of them are still training."
    text += " The held-out rows are those of the stop splits, which only decide when to stop." * stopped
    keys = learning.against_keys(names) if stopped else learning.against_keys(names)[1::2]
    yield Section(title="Learning curves", text=(text,), keys=keys, charts=(chart,))


def _table(rows: Rows, metric: str) -> ReportTable:
    measured = [
        name for of in ("loss", metric) for name in (of, f"{of}_error", *(f"{of}_difference{e}" for e in _ENDS))
    ]
    names = ["name", "train_loss", *measured, "status", "reason"]
    texts = ("name", "status", "reason")
    columns = tuple(Column(n.replace("_", " "), n not in texts, n in measured, n in texts[1:]) for n in names)
    return ReportTable(columns, tuple(TableRow(tuple(row[name] for name in names)) for row in rows))


_ENDS = ("", "_low", "_high")
