"""A path as a report: what stays at the chosen strength, what each strength is worth, and when which group leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any, Protocol

import numpy as np

from meden.report import Chart, Column, Format, Key, Report, ReportTable, Section, TableRow, Tile, write
from meden.report.charts import BEST, CHOSEN, HELD_OUT, OTHER, axis_title, chart, label, lines, scatter
from meden.report.document import Mark
from meden.report.numbers import number, percent
from meden.search.path_point import PathPoint
from meden.study.metrics import SHARES, spoken

DRAWN = 60
"""Groups whose norms are drawn; the table has all."""


class Walked(Protocol):
    """What is told of a path, see :class:`meden.search.Path`."""

    @property
    def kind(self) -> str:
        """What the groups are."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all groups."""

    @property
    def points(self) -> tuple[PathPoint, ...]:
        """The largest strength first."""

    @property
    def dense(self) -> PathPoint:
        """The model without the penalty."""

    @property
    def best(self) -> PathPoint:
        """The strength of the lowest held-out loss."""

    @property
    def one_se(self) -> PathPoint:
        """The fewest groups within one standard error of it."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was out of the ordinary."""

    @property
    def metric(self) -> str:
        """What scores are."""

    @property
    def penalty(self) -> str:
        """Its name."""

    def support(self) -> tuple[str, ...]:
        """Return what stays at the one-SE strength."""

    def ranking(self) -> tuple[str, ...]:
        """Return all names, what stays longest first."""


def path_report(path: Walked, file: FilePath | str, *, format: Format = "html") -> FilePath:
    """Write the report of a path and return where it is.

    Args:
        path: the path.
        file: where to write.
        format: ``"html"`` or ``"md"``, as in :func:`meden.report.write`.
    """
    chosen, best = path.one_se, path.best
    lead = (
        f"At strength {number(chosen.strength)}, the simplest within one standard error of the best, "
        f"{len(path.support())} of {len(path.names)} {path.kind} stay."
    )
    tiles = (
        Tile(f"{path.kind} that stay", f"{len(path.support())} of {len(path.names)}", "in half of the runs or more"),
        Tile("held-out loss", number(chosen.loss), f"best {number(best.loss)}, all {number(path.dense.loss)}"),
        Tile(spoken(path.metric), _score(path, chosen), f"best {_score(path, best)}, all {_score(path, path.dense)}"),
    )
    sections = (worth_section(path), _norms(path), _groups(path), points_section(path))
    title = f"Which {path.kind} matter: {len(path.points)} strengths of {path.penalty}"
    return write(Report(title=title, lead=lead, tiles=tiles, text=path.notes, sections=sections), file, format)


def worth_section(path: Walked, title: str = "What each strength scores") -> Section:
    """Return the held-out loss of all points against the number of groups that they keep."""
    made = chart(
        f"Number of {path.kind} against held-out loss",
        [  # the choice last, on top of its neighbours
            _worth(path, [*path.points, path.dense], HELD_OUT, mode="lines+markers"),
            _worth(path, [path.best], BEST),
            _worth(path, [path.one_se], CHOSEN),
        ],
        x=axis_title(f"{path.kind} kept, mean of the runs"),
        y=axis_title("held-out loss"),
    )
    keys = (Key("one-SE strength", "●", CHOSEN), Key("best", "●", BEST), Key("another strength", "●", HELD_OUT))
    text = (
        "Each point is a strength; the last one is the model without the penalty; bars are standard errors over "
        f"the runs. The one-SE strength keeps the fewest {path.kind} with a loss within one standard error of the "
        "best, paired by fold. Losses are those of the penalised models; a refit removes the shrinkage.",
    )
    return Section(title=title, text=text, keys=keys, charts=(made,))


def _worth(path: Walked, points: Sequence[PathPoint], colour: str, mode: str = "markers") -> dict[str, Any]:
    return scatter(
        x=[point.num_kept for point in points],
        y=[point.loss for point in points],
        error_y={"type": "data", "array": [_error(point) for point in points], "color": colour, "thickness": 1},
        mode=mode,
        marker={"color": colour, "size": 8},
        line={"color": colour, "width": 1},
        hovertext=[_told(path, point) for point in points],
        hoverinfo="text",
    )


def _norms(path: Walked) -> Section:
    stay, places = set(path.support()), {name: place for place, name in enumerate(path.names)}
    shown = path.ranking()[:DRAWN]
    x = [point.strength for point in path.points]
    means = np.array([np.nan_to_num(point.norms).mean(axis=0) for point in path.points])
    traces = [
        scatter(
            x=x,
            y=means[:, places[name]],
            mode="lines",
            line={"color": CHOSEN if name in stay else OTHER, "width": 1.5},
            hovertext=[lines(label(name), f"strength {number(at)}") for at in x],
            hoverinfo="text",
        )
        for name in reversed(shown)
    ]
    made: Chart = chart(
        f"Norm of each of the {path.kind} against the strength",
        traces,
        x=axis_title("strength") | {"type": "log"},
        y=axis_title("norm, mean of the runs") | {"rangemode": "tozero"},
        shapes=[_line(path.one_se.strength, CHOSEN), _line(path.best.strength, BEST)],
    )
    keys = (Key("kept at the one-SE strength", "—", CHOSEN), Key("leaves", "—", OTHER))
    first = f": the first {DRAWN} of {len(path.names)}" if len(path.names) > DRAWN else ""
    return Section(title=f"Norms against the strength{first}", keys=keys, charts=(made,))


def _line(strength: float, colour: str) -> dict[str, object]:
    line = {"color": colour, "width": 1, "dash": "dash"}
    return {"type": "line", "x0": strength, "x1": strength, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _groups(path: Walked) -> Section:
    columns = [Column("name", numeric=False), Column("share of runs", measured=True), Column("norm", measured=True)]
    columns.append(Column("leaves above", measured=True))
    chosen, stay = path.one_se, set(path.support())
    norms = dict(zip(path.names, np.nan_to_num(chosen.norms).mean(axis=0).tolist(), strict=True))
    rows = []
    for name in path.ranking():
        kept = [point.strength for point in path.points if point.frequency(name) >= 0.5]
        mark: Mark = "one_se" if name in stay else ""
        values = (name, chosen.frequency(name), norms[name], max(kept) if kept else None)
        rows.append(TableRow(values, mark))
    text = (
        "Shares and norms are those at the one-SE strength; the last column is the largest strength at which at "
        "least half of the runs keep it.",
    )
    return Section(title=f"All {path.kind}", text=text, table=ReportTable(tuple(columns), tuple(rows)))


def points_section(path: Walked) -> Section:
    """Return a table of all points."""
    names = ("strength", f"{path.kind} kept", "fewest", "most", "loss", "error", spoken(path.metric), "gap")
    columns = tuple(Column(name, measured=name not in ("fewest", "most")) for name in names)
    marks: dict[int, Mark] = {id(path.best): "best", id(path.one_se): "one_se"}
    if path.best is path.one_se:
        marks = {id(path.best): "both"}
    rows = tuple(TableRow(_row(path, point), marks.get(id(point), "")) for point in (*path.points, path.dense))
    return Section(title="All strengths", table=ReportTable(columns, rows))


def _row(path: Walked, point: PathPoint) -> tuple[float | str, ...]:
    counts = [len(kept) for kept in point.kept]
    own = (point.strength, point.num_kept, min(counts), max(counts), point.loss, point.loss_error)
    return (*own, _score(path, point), point.gap)


def _score(path: Walked, point: PathPoint) -> str:
    return percent(point.score) if path.metric in SHARES else number(point.score)


def _error(point: PathPoint) -> float | None:
    return point.loss_error if np.isfinite(point.loss_error) else None


def _told(path: Walked, point: PathPoint) -> str:
    return lines(
        f"strength {number(point.strength)}",
        f"{number(point.num_kept)} {path.kind}",
        f"loss {number(point.loss)} ± {number(point.loss_error)}",
        f"{label(spoken(path.metric))} {_score(path, point)}",
    )
