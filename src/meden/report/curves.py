"""Charts of something over the epochs: one thin line per run, their mean in bold, the epochs that were kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meden.report.charts import CHOSEN, HELD_OUT, OTHER, TRAIN, axis_title, chart, epoch_axis, label, scatter, tinted
from meden.report.document import Chart, Key
from meden.report.numbers import number

MOST_EPOCHS = 500
"""Of longer curves every second epoch is drawn, or every third, and so on: a page stays small."""
KEYS = (
    Key("training rows", "▬", TRAIN),
    Key("stop split (not trained on, decides when to stop)", "▬", HELD_OUT),
    Key("epoch kept", "●", HELD_OUT),
)

PLAIN_AND_CHOSEN = ("plain", "chosen")


@dataclass(frozen=True)
class EpochCurve:
    """One run: its training and held-out loss per epoch, either of which may be empty."""

    name: str
    train: Sequence[float]
    held_out: Sequence[float]
    kept_epoch: int
    """Epoch whose state was kept, from 1."""


def curves_chart(title: str, curves: Sequence[EpochCurve], *, y_title: str, top: float) -> Chart:
    """Return the learning curves of the runs of one configuration.

    Args:
        title: above the chart.
        curves: one for each fold and seed.
        y_title: what the vertical axis shows.
        top: end of the vertical axis, the same for charts that are compared (:func:`highest`).
    """
    thin = 1 if len(curves) > 1 else 2
    traces = [
        _line(values, f"{curve.name}, {where}", colour, thin, 0.45 if len(curves) > 1 else 1.0)
        for curve in curves
        for values, where, colour in ((curve.train, "training", TRAIN), (curve.held_out, "held out", HELD_OUT))
    ]
    if len(curves) > 1:
        traces.append(_line(mean_curve([c.train for c in curves]), "mean, training", TRAIN, 3, 1.0))
        traces.append(_line(mean_curve([c.held_out for c in curves]), "mean, held out", HELD_OUT, 3, 1.0))
    low = min([v for c in curves for v in (*c.train, *c.held_out) if math.isfinite(v)], default=0.0)
    margin = 0.05 * (top - min(low, 0.0) or 1.0)
    return chart(
        title,
        [*traces, _kept(curves)],
        x=epoch_axis(max((len(c.train) for c in curves), default=1)),
        y=axis_title(y_title) | {"range": [min(low, 0.0) - margin, top + margin]},
    )


def against_keys(names: tuple[str, str] = PLAIN_AND_CHOSEN) -> tuple[Key, ...]:
    """Return the legend of :func:`against_chart`."""
    pairs = zip(reversed(names), (CHOSEN, OTHER), strict=True)
    parts = (("held out", "▬"), ("training; shaded: the gap between them", "┅"))
    return tuple(Key(f"{name}, {part}", symbol, colour) for name, colour in pairs for part, symbol in parts)


def against_chart(
    title: str,
    plain: Sequence[EpochCurve],
    chosen: Sequence[EpochCurve],
    *,
    y_title: str,
    top: float,
    names: tuple[str, str] = PLAIN_AND_CHOSEN,
) -> Chart:
    """Return the mean curves of two configurations on the same axes, the gap of each shaded.

    Args:
        title: above the chart.
        plain: the runs without regularisation, one for each fold and seed.
        chosen: those of the choice.
        y_title: what the vertical axis shows.
        top: end of the vertical axis (:func:`highest` of both).
        names: of the two.
    """
    traces, means = [], []
    for curves, name, colour in zip((plain, chosen), names, (OTHER, CHOSEN), strict=True):
        train, held_out = mean_curve([c.train for c in curves]), mean_curve([c.held_out for c in curves])
        shade = {"fill": "tonexty", "fillcolor": tinted(colour, 0.16)} if train else {}
        traces.append(_line(train, f"{name}, training", colour, 2, 1.0, dash="dot"))
        traces.append(_line(held_out, f"{name}, held out", colour, 3, 1.0) | shade)
        means += [train, held_out]
    low = min([0.0, *(v for mean in means for v in mean if math.isfinite(v))])
    margin = 0.05 * (top - low or 1.0)
    return chart(
        title,
        traces,
        x=epoch_axis(max(map(len, means))),
        y=axis_title(y_title) | {"range": [low - margin, top + margin]},
        height=380,
    )


def line_chart(
    title: str, lines: Mapping[str, Sequence[float]], colours: Sequence[str], *, y_title: str, from_zero: bool = True
) -> Chart:
    """Return plain lines over the epochs, by name.

    Args:
        title: above the chart.
        lines: values per epoch, by name.
        colours: as many as there are lines, or more.
        y_title: what the vertical axis shows.
        from_zero: the vertical axis begins at zero.
    """
    traces = [
        _line(values, name, colour, 2, 1.0) | {"name": label(name), "showlegend": len(lines) > 1}
        for (name, values), colour in zip(lines.items(), colours, strict=False)
    ]
    x = epoch_axis(max((len(values) for values in lines.values()), default=1))
    y = axis_title(y_title) | {"rangemode": "tozero" if from_zero else "normal"}
    made = chart(title, traces, x=x, y=y)
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "bgcolor": "rgba(0,0,0,0)"}
    return Chart(made.title, made.data, made.layout | {"showlegend": len(lines) > 1, "legend": legend})


def highest(curves: Sequence[EpochCurve]) -> float:
    """Return the end of an axis that shows all curves, except where one explodes beyond three times its start."""
    values = [v for c in curves for v in (*c.train, *c.held_out) if math.isfinite(v)]
    starts = [v for c in curves for v in (*c.train[:1], *c.held_out[:1]) if math.isfinite(v)]
    return min(max(values), 3 * max(starts)) if starts else 1.0


def mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over runs of each epoch, for as long as at least half of the runs go on.

    Example:
        >>> mean_curve([[1.0, 2.0, 9.0], [3.0, 4.0], [5.0, 6.0]])
        [3.0, 4.0]
    """
    curves = [curve for curve in curves if len(curve)]
    length = max((len(curve) for curve in curves), default=0)
    columns = [[curve[i] for curve in curves if i < len(curve)] for i in range(length)]
    return [math.fsum(values) / len(values) for values in columns if 2 * len(values) >= len(curves)]


def _line(
    values: Sequence[float], name: str, colour: str, width: float, opacity: float, dash: str = "solid"
) -> dict[str, Any]:
    step = math.ceil(len(values) / MOST_EPOCHS) or 1
    short: dict[str, Any] = {"mode": "lines+markers", "marker": {"size": 5}} if len(values) == 1 else {"mode": "lines"}
    return scatter(
        x0=1,
        dx=step,
        y=[float(f"{value:.6g}") for value in values[::step]],
        text=label(name),
        hovertemplate="%{text}, epoch %{x}: %{y:.4~g}<extra></extra>",
        line={"color": colour, "width": width, "dash": dash},
        opacity=opacity,
        **short,
    )


def _kept(curves: Sequence[EpochCurve]) -> dict[str, Any]:
    """Return the kept epochs as points, on the held-out curve where there is one."""
    shown = [(curve, curve.held_out or curve.train) for curve in curves]
    at = [(c, values[c.kept_epoch - 1]) for c, values in shown if 1 <= c.kept_epoch <= len(values)]
    hover = [f"{label(c.name)}: kept epoch {c.kept_epoch}, loss {number(loss)}" for c, loss in at]
    marker = {"color": HELD_OUT, "size": 8, "line": {"width": 1, "color": "white"}}
    xs, ys = [c.kept_epoch for c, _ in at], [loss for _, loss in at]
    return scatter(x=xs, y=ys, mode="markers", marker=marker, hovertext=hover, hoverinfo="text")
