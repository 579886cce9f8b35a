"""The report of a check: what is wrong with a table before anything is trained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from meden.diagnosis import Finding, Rule
from meden.diagnosis.tables.alone import alone
from meden.diagnosis.tables.copies import equal_rows, near_rows
from meden.diagnosis.tables.drift import drift
from meden.diagnosis.tables.suspects import suspects
from meden.diagnosis.tables.table import Table
from meden.language import Own
from meden.report.charts import HELD_OUT, TRAIN, axis_title, chart
from meden.report.document import Chart, Code, Column, Key, Report, ReportTable, Section, TableRow, Tile, Value
from meden.report.gains import Gain, gains_chart
from meden.report.numbers import percent, plural

MOST_COLUMNS, MOST_ROWS = 20, 50
"""Columns of a chart, and rows of a table."""
BINS = 20


def check_report(table: Table, findings: Sequence[Finding], rules: Sequence[Rule]) -> Report:
    """Return the report of a check.

    Args:
        table: what was looked at.
        findings: what was found.
        rules: what was looked for.
    """
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ("error", "warning", "info")}
    named = [plural(n, "note" if severity == "info" else severity) for severity, n in counts.items() if n]
    data = table.dataset
    place = (data.origin or {}).get("data")
    return Report(
        title="Check of a table" if place is None else f"Check of {Path(place).name}",
        lead=f"{' and '.join(named)[0].upper()}{' and '.join(named)[1:]}." if named else "Nothing stands out.",
        tiles=(
            Tile("rows", f"{table.num_rows:,}"),
            Tile("columns", f"{len(table.columns):,}"),
            Tile("target", Own(data.target), data.task + (f", {len(data.classes)} classes" if data.classes else "")),
        ),
        sections=(_findings(findings), *_pictures(table), *_readings(table), _rules(findings, rules)),
    )


def _findings(findings: Sequence[Finding]) -> Section:
    return Section(
        title="What stands out",
        text=tuple(f"{f.severity.capitalize()} {f.code}: {f.sentences}" for f in findings) or ("Nothing.",),
        codes=tuple(Code(f.code, f.command) for f in findings if f.command),
    )


def _pictures(table: Table) -> Iterator[Section]:
    """Return what the rules looked at, where it is a picture or a list of rows."""
    if found := table.known(alone):
        most = dict(list(found.items())[:MOST_COLUMNS])
        gains = [Gain(Own(name), one.skill, one.low, one.high) for name, one in most.items()]
        what = "mistakes of the most frequent class" if table.is_classes else "variance of the target's ranks"
        yield Section(
            title="What each column predicts alone",
            text=(
                f"Share of the {what} that each column removes alone, on rows that were not used to fit it, with "
                "its 95 % interval: 0 is nothing, 1 is the target itself.",
            ),
            charts=(gains_chart("Skill of one column", gains, x_title="skill on other rows"),),
        )
    yield from _copies(table)
    yield from _suspects(table)
    yield from _drift(table)


def _copies(table: Table) -> Iterator[Section]:
    equal, near = table.known(equal_rows), table.known(near_rows)
    labels = table.dataset.classes
    rows: list[TableRow] = []

    def target(row: int) -> Value:
        own = table.dataset.labels[row]
        return str(labels[own]) if labels else float(own)

    def pair(one: int, other: int, how: str) -> TableRow:
        return TableRow((*table.named(np.array([one, other])).tolist(), target(one), target(other), how))

    if equal is not None and equal.copies:
        order = equal.repeated[np.argsort(equal.groups[equal.repeated], kind="stable")]
        for one, other in itertools.pairwise(order):
            if equal.groups[one] == equal.groups[other]:
                rows.append(pair(one, other, "equal"))
    if near is not None:
        rows += [pair(one, other, "nearly equal") for one, other in near]
    if not rows:
        return
    columns = (
        Column("row"),
        Column("copy"),
        Column("target", False),
        Column("of the copy", False),
        Column("", False, worded=True),
    )
    shown = rows if len(rows) <= MOST_ROWS else rows[:MOST_ROWS]
    yield Section(
        title="Duplicate rows",
        text=(f"{plural(len(rows), 'pair')}{_first(len(rows))}; row 0 is the first row below the header.",),
        table=ReportTable(columns, tuple(shown)),
    )


def _suspects(table: Table) -> Iterator[Section]:
    found = table.known(suspects)
    if found is None or not len(found.rows):
        return
    if not found.apart:
        said = (
            "A forest cannot separate the classes: it confidently predicts another class for "
            f"{plural(len(found.rows), 'row')} of {found.num_rows:,}, and is wrong on {percent(found.mistakes)} of "
            "the others (mean over the classes). A surprising label need not be wrong there, so none is listed."
        )
        yield Section(title="Probable label errors", text=(said,))
        return
    rows = [
        TableRow((one["row"], str(one["label"]), str(one["likely"]), one["probability"]))
        for one in found.to_dicts(table.dataset.classes)[:MOST_ROWS]
    ]
    yield Section(
        title="Probable label errors",
        text=(
            f"{plural(len(found.rows), 'row')} of {found.num_rows:,}{_first(len(found.rows))}, the most surprising "
            f"first; about {found.expected:.0f} label errors are expected (confident learning). Row 0 is the first "
            "row below the header.",
        ),
        table=ReportTable(
            (Column("row"), Column("label", False), Column("probably", False), Column("probability of its label")),
            tuple(rows),
        ),
    )


def _drift(table: Table) -> Iterator[Section]:
    found = table.known(drift)
    if found is None:
        return
    names = ("fitting rows", "scored rows") if table.split is not None else ("early rows", "late rows")
    yield Section(
        title="Whether the parts have the same distribution",
        text=(
            f"A classifier trained on half of the rows ranks {100 * found.auc:.0f} % ({100 * found.low:.0f} to "
            f"{100 * found.high:.0f}) of the other pairs correctly; chance is 50 % (p {found.p:.2g}).",
        ),
        keys=(Key(names[0], "■", TRAIN), Key(names[1], "■", HELD_OUT)),
        charts=(_scores_chart(found.scores, names),),
    )


def _scores_chart(scores: tuple[np.ndarray, np.ndarray], names: tuple[str, str]) -> Chart:
    ends = np.linspace(0, 1, BINS + 1)
    traces = []
    for part, name, colour in zip(scores, names, (TRAIN, HELD_OUT), strict=True):
        share = np.histogram(part, ends)[0] / len(part)
        traces.append(
            {
                "type": "bar",
                "x": (ends[:-1] + ends[1:]) / 2,
                "y": 100 * share,
                "name": name,
                "hoverinfo": "y",
                "marker": {"color": colour, "opacity": 0.6},
            }
        )
    return chart(
        "Scores of the classifier",
        traces,
        x=axis_title(f"probability of {names[1]}") | {"range": [0, 1]},
        y=axis_title("% of its sample"),
    )


def _readings(table: Table) -> Iterator[Section]:
    if not table.readings:
        return
    columns = (
        Column("column", False),
        Column("read as", False, worded=True),
        Column("missing"),
        Column("remarks", False, worded=True),
    )
    rows = [TableRow((r.name, r.kind, r.num_missing, "; ".join(r.remarks))) for r in table.readings]
    yield Section(title="How each column was read", table=ReportTable(columns, tuple(rows)))


def _rules(findings: Sequence[Finding], rules: Sequence[Rule]) -> Section:
    found = {finding.code for finding in findings}
    rows = [TableRow((r.code, r.severity, "found" if r.code in found else "", r.summary)) for r in rules]
    worded = [Column(name, False, worded=True) for name in ("severity", "", "looks for")]
    columns = (Column("rule", False), *worded)
    return Section(title="What was checked", table=ReportTable(columns, tuple(rows)))


def _first(count: int) -> str:
    return f", the first {MOST_ROWS} here" if count > MOST_ROWS else ""
