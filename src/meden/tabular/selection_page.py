"""A selection of columns as a page that opens offline: what survives, how often, how large, and what it is worth."""

from __future__ import annotations

from pathlib import Path

from meden.language import Own
from meden.report import Code, Column, Format, Key, Report, ReportTable, Section, TableRow, Tile, write
from meden.report.charts import CHOSEN, HELD_OUT, axis_title, chart, label, lines
from meden.report.gains import Gain, gains_chart
from meden.report.numbers import number, percent
from meden.search.path_page import points_section, worth_section
from meden.study.metrics import SHARES, spoken
from meden.study.verdict import value_text
from meden.tabular.selection import ASSUMED, InputSelection, SelectedColumn

SHOWN = 40
"""Columns of a chart; the table has all."""


def selection_report(found: InputSelection, path: Path | str, *, format: Format = "html", command: str = "") -> Path:
    """Write the report of a selection and return where it is.

    Args:
        found: the selection.
        path: of the file.
        format: ``"html"`` or ``"md"``, as in :func:`meden.report.write`.
        command: the command line that made it; empty where there was none.
    """
    lead, *others = found.sentences
    sections = [_often(found), _large(found), _worth(found), _table(found)]
    sections += [worth_section(found.path, "What each strength scores"), points_section(found.path)]
    codes = (Code("Command", command),) if command else ()
    if codes:
        sections.append(Section(title="Reproduce it", codes=codes))
    title = f"Which columns survive: {len(found.kept)} of {len(found.names)}"
    return write(
        Report(title=title, lead=lead, tiles=_tiles(found), text=tuple(others), sections=tuple(sections)), path, format
    )


def _tiles(found: InputSelection) -> tuple[Tile, ...]:
    each = [(name, found.score(name)) for name in found.results]
    scores = [Tile(f"{spoken(found.metric)}, {name}", value_text(s.metric, s.estimate)) for name, s in each]
    told = f"{len(found.told_from_noise)}" if found.copies else "not asked"
    return (
        Tile("columns kept", f"{len(found.kept)} of {len(found.names)}"),
        Tile("stand out from noise", told),
        *scores,
    )


def _often(found: InputSelection) -> Section:
    stands = set(found.told_from_noise)
    bars = [
        Gain(
            Own(column.name),
            column.frequency.share,
            column.frequency.low,
            column.frequency.high,
            "chosen" if column.name in stands else "other",
        )
        for column in found.columns[:SHOWN]
    ]
    text = (
        "Share of the runs, over all folds and seeds, in which a column survives at the one-SE strength. The "
        "intervals are Wilson's, for the effective number of independent runs: folds share most of their rows (the "
        "corrected variance of Nadeau and Bengio), and seeds of a fold count as one.",
    )
    keys = (
        *(Key("stands out from noise columns", "★", CHOSEN),) * bool(found.copies),
        Key("does not" if found.copies else "a column", "●", HELD_OUT),
    )
    charts = (gains_chart("How often each column is kept", bars, x_title="share of the runs"),)
    return Section(title="How often" + _first(found), text=text, keys=keys, charts=charts)


def _large(found: InputSelection) -> Section:
    shown, stands = found.columns[:SHOWN], set(found.told_from_noise)
    colours = [CHOSEN if column.name in stands else HELD_OUT for column in shown]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [column.norm for column in shown],
        "y": list(range(len(shown))),
        "marker": {"color": colours},
        "hovertext": [lines(label(column.name), number(column.norm)) for column in shown],
        "hoverinfo": "text",
    }
    ticks = {"tickvals": list(range(len(shown))), "ticktext": [label(Own(column.name), limit=30) for column in shown]}
    made = chart(
        "Norm of the weights of each column",
        [bars],
        x=axis_title("norm, mean of the runs"),
        y=ticks | {"range": [len(shown) - 0.5, -0.7], "showgrid": False},
        height=70 + 26 * len(shown),
    )
    text = (
        "All weights that read the inputs made from a column (its levels, its missing-value flag) form one group; "
        "the norm is that at the one-SE strength.",
    )
    return Section(title="How large" + _first(found), text=text, charts=(made,))


def _worth(found: InputSelection) -> Section:
    scale = 100.0 if found.metric in SHARES else 1.0
    names = {"all": "all columns", "kept": "those kept", "none": "none: a constant model"}
    bars = []
    for name, score in ((name, found.score(name)) for name in found.results):
        low, value, high = (scale * end for end in (score.low, score.estimate, score.high))
        bars.append(Gain(names[name], value, low, high, {"all": "reference", "kept": "chosen"}.get(name, "other")))  # type: ignore[arg-type]
    unit = ", %" if found.metric in SHARES else ""
    text = (
        "Held-out results of the default network for tables, mean over the folds with its 95 % interval, corrected "
        "for the rows that folds share. Each fold uses the columns that survive in it, at the strength chosen on "
        "the scored rows of the other folds; the models of those folds have seen this fold's rows.",
    )
    made = gains_chart(f"Held-out {spoken(found.metric)}", bars, x_title=f"{spoken(found.metric)}{unit}")
    return Section(title="What they score", text=text, charts=(made,))


def _table(found: InputSelection) -> Section:
    heads = [("column", False), ("kept", False), ("frequency", True), ("low", True), ("high", True), ("norm", True)]
    columns = [Column(name, numeric, numeric, worded=name == "kept") for name, numeric in heads]
    if found.copies:
        columns.append(Column("false discovery rate", True, True))
    rows = tuple(
        TableRow(_cells(column, bool(found.copies)), "one_se" if column.kept else "") for column in found.columns
    )
    noise = (
        "The false discovery rate is the estimated share of irrelevant columns among all those that stand out from "
        f"their noise columns at least as much: {percent(found.rate)} is allowed, and it is 1 for those that do "
        "not stand out. Noise columns hold the table's own cells in another order, and depend on the other columns "
        "as these do (knockoffs; Barber and Candès, 2015). " + ASSUMED,
    )
    return Section(title="All columns", text=noise * bool(found.copies), table=ReportTable(tuple(columns), rows))


def _cells(column: SelectedColumn, noise: bool) -> tuple[str | float | None, ...]:
    how_often = column.frequency
    own = (column.name, "yes" if column.kept else "", how_often.share, how_often.low, how_often.high, column.norm)
    return (*own, column.false_discovery_rate) if noise else own


def _first(found: InputSelection) -> str:
    """Say that not all are shown."""
    return f": the first {SHOWN} of {len(found.names)}" if len(found.names) > SHOWN else ""
