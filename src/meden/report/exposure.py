"""Charts of what models know by heart: how surely members are told from rows that were never seen.

Legend: ``k`` points of a curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meden.report.charts import BEST, CHOSEN, HELD_OUT, OTHER, TRAIN, axis_title, chart, label, lines, scatter
from meden.report.document import Chart, Key
from meden.report.numbers import number

COLOURS = (HELD_OUT, TRAIN, CHOSEN, BEST, OTHER)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down")
SHAPES = "●■◆▲▼○□◇△▽"
"""More curves than colours have open symbols and dotted lines."""
CHANCE = Key("nothing memorised", "┅", OTHER)


@dataclass(frozen=True)
class Traded:
    """What a configuration is worth, and what it gives away."""

    name: str
    """Shown when the pointer is on it."""
    loss: float
    loss_error: float
    auc: float
    low: float
    high: float
    """Ends of the interval of ``auc``."""


def roc_chart(title: str, curves: Mapping[str, NDArray[np.float64]]) -> Chart:
    """Return how many members are found at how many false positives, both on logarithmic axes.

    Args:
        title: above the chart.
        curves: shares of outsiders and of members above thresholds, (2, k), by name.
    """
    traces = [
        _line(curve[0], curve[1], COLOURS[place], [label(name)] * curve.shape[1])
        for place, (name, curve) in enumerate(curves.items())
    ]
    least = min(float(curve[curve > 0].min()) for curve in curves.values())
    ends = [np.log10(least), 0.0]
    axis = {"type": "log", "range": [ends[0] - 0.1, 0.05], "dtick": 1}
    chance = {"type": "line", "x0": least, "y0": least, "x1": 1, "y1": 1, "line": _dashed()}
    return chart(
        title,
        traces,
        x=axis_title("share of unseen rows taken for training rows") | axis,
        y=axis_title("share of training rows found") | axis,
        shapes=[chance],
    )


def traded_chart(title: str, series: Mapping[str, Sequence[Traded]], *, unit: str, connected: bool) -> Chart:
    """Return held-out loss against the AUC of membership, one curve a series.

    Args:
        title: above the chart.
        series: configurations by name of their curve, in the order in which they are joined.
        unit: of the loss.
        connected: whether they are joined.
    """
    traces = []
    for place, points in enumerate(series.values()):
        colour = COLOURS[place % len(COLOURS)]
        made = _line(
            [point.auc for point in points],
            [point.loss for point in points],
            colour,
            [lines(label(p.name), f"loss {number(p.loss)}", f"AUC {number(p.auc)}") for p in points],
        )
        again = place // len(COLOURS) % 2
        marker = {"symbol": SYMBOLS[place % len(SYMBOLS)] + "-open" * again, "size": 8, "color": colour}
        line = {"color": colour, "width": 1.5, "dash": "dot" if again else "solid"}
        bars = {"color": colour, "thickness": 1, "width": 0, "type": "data"}
        across = {"array": [p.high - p.auc for p in points], "arrayminus": [p.auc - p.low for p in points]}
        error_y = bars | {"array": [p.loss_error for p in points]}
        error_x = bars | across | {"symmetric": False}
        mode = "lines+markers" if connected else "markers"
        traces.append(made | {"mode": mode, "marker": marker, "line": line, "error_x": error_x, "error_y": error_y})
    chance = {"type": "line", "x0": 0.5, "x1": 0.5, "y0": 0, "y1": 1, "yref": "paper", "line": _dashed()}
    x = axis_title("membership AUC (0.5: none)")
    return chart(title, traces, x=x, y=axis_title(f"held-out loss ({unit})"), shapes=[chance], height=380)


def series_keys(names: Sequence[str]) -> tuple[Key, ...]:
    """Return the legend of :func:`traded_chart`."""
    own = (Key(name, SHAPES[i % len(SHAPES)], COLOURS[i % len(COLOURS)]) for i, name in enumerate(names))
    return (*own, CHANCE)


def _line(x: Sequence[float] | Any, y: Sequence[float] | Any, colour: str, hover: Sequence[str]) -> dict[str, Any]:
    marker = {"color": colour, "size": 6}
    line = {"color": colour, "width": 1.5}
    x, y = np.asarray(x).tolist(), np.asarray(y).tolist()
    return scatter(x=x, y=y, mode="lines", marker=marker, line=line, hovertext=list(hover), hoverinfo="text")


def _dashed() -> dict[str, Any]:
    return {"color": OTHER, "width": 1, "dash": "dash"}
