"""Charts of score against strength: one per searched dimension, one point per configuration."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from meden.language import Own
from meden.report.charts import BEST, CHOSEN, HELD_OUT, OTHER, TRAIN, axis_title, chart, label, lines, scatter
from meden.report.document import Chart, Key, Mark
from meden.report.numbers import number

Scale = Literal["log", "linear", "category"]


@dataclass(frozen=True)
class Point:
    """One configuration."""

    name: str
    """Shown when the pointer is on it."""
    loss: float
    """Mean held-out loss; NaN if it diverged."""
    error: float
    """Standard error of the loss; not finite if unknown."""
    train_loss: float
    mark: Mark = ""


@dataclass(frozen=True)
class Axis:
    """The axis of one searched dimension, and where each configuration lies on it."""

    name: str
    scale: Scale
    values: tuple[Any, ...]


def score_chart(axis: Axis, points: Sequence[Point], *, unit: str, connected: bool) -> Chart:
    """Return the chart of one dimension.

    Args:
        axis: its values are in the order of ``points``.
        points: all configurations.
        unit: of the loss.
        connected: draw lines from point to point, which is right only if nothing else varies.
    """
    x, points, setting = _sorted(axis, points)
    top = _top(points)
    mode = "lines+markers" if connected else "markers"
    losses = [p.loss for p in points]
    traces = [
        _training(x, points, mode),
        _held_out(x, points, top, mode),
        *(_edge(x, points, losses, top, beyond) for beyond in (True, False)),
        *_choices(x, points, losses),
    ]
    y = axis_title(f"loss ({unit})") | {"range": _range(points, top)}
    return chart(Own(axis.name), traces, x=setting, y=y, shapes=_band(points))


def gap_chart(axis: Axis, points: Sequence[Point], *, unit: str, connected: bool) -> Chart:
    """Return by how much the held-out loss is above the training loss, along one dimension.

    Args:
        axis: its values are in the order of ``points``.
        points: all configurations.
        unit: of the loss.
        connected: draw lines from point to point, which is right only if nothing else varies.
    """
    x, points, setting = _sorted(axis, points)
    gaps, top = _gaps(points)
    mode = "lines+markers" if connected else "markers"
    shown = [gap if gap <= top else math.nan for gap in gaps]
    traces = [
        _trace(x, points, shown, mode, symbol="circle", size=7, color=HELD_OUT),
        *(_edge(x, points, gaps, top, beyond) for beyond in (True, False)),
        *_choices(x, points, gaps),
    ]
    low = min([0.0, top, *(gap for gap in gaps if math.isfinite(gap))])
    margin = 0.06 * (top - low or 1.0)
    y = axis_title(f"gap ({unit})") | {"range": [low - margin, top + margin], "zeroline": True}
    return chart(Own(axis.name), traces, x=setting, y=y)


def score_keys(points: Sequence[Point]) -> tuple[Key, ...]:
    """Return the legend of the charts of these points."""
    top = _top(points)
    keys = (
        Key("held-out loss, ± one standard error", "●", HELD_OUT),
        Key("training loss", "○", TRAIN),
        Key("chosen", "★", CHOSEN),
        Key("best", "◇", BEST),
        Key("one standard error around the best", "▬", BEST),
    )
    return keys + _edge_keys("held-out loss", [p.loss for p in points], top)


def gap_keys(points: Sequence[Point]) -> tuple[Key, ...]:
    """Return the legend of :func:`gap_chart`."""
    keys = (
        Key("held-out loss minus training loss", "●", HELD_OUT),
        Key("chosen", "★", CHOSEN),
        Key("best", "◇", BEST),
    )
    return keys + _edge_keys("gap", *_gaps(points))


def _edge_keys(what: str, values: Sequence[float], top: float) -> tuple[Key, ...]:
    """Return what the marks at the upper edge mean, as far as there are any."""
    beyond = (Key(f"{what} beyond the axis", "▲", HELD_OUT),) if any(value > top for value in values) else ()
    diverged = (Key("diverged", "✕", OTHER),) if not all(math.isfinite(value) for value in values) else ()
    return beyond + diverged


def _gaps(points: Sequence[Point]) -> tuple[list[float], float]:
    """Return by how much each held-out loss is above its training loss, and the highest that is drawn to scale."""
    gaps = [p.loss - p.train_loss for p in points]
    return gaps, _top([dataclasses.replace(p, loss=gap, error=0.0) for p, gap in zip(points, gaps, strict=True)])


def _sorted(axis: Axis, points: Sequence[Point]) -> tuple[list[float], list[Point], dict[str, Any]]:
    """Return where the configurations lie on the axis, from left to right, and the settings of the axis."""
    places, scale = _placed(axis)
    order = sorted(range(len(points)), key=lambda i: places[i])
    title = axis_title(f"{axis.name} (far left: off)" if _may_be_off(axis) else Own(axis.name))
    return [places[i] for i in order], [points[i] for i in order], title | scale


def _placed(axis: Axis) -> tuple[list[float], dict[str, Any]]:
    """Return where each configuration lies on the axis, and the settings of the axis."""
    if axis.scale == "category":
        options = list(dict.fromkeys(axis.values))
        options = sorted(options) if all(isinstance(option, (int, float)) for option in options) else options
        places = [float(options.index(value)) for value in axis.values]
        ticks = {
            "tickvals": list(range(len(options))),
            "ticktext": [label(Own(option), limit=14) for option in options],
        }
        return places, ticks | {"range": [-0.5, len(options) - 0.5]}
    off = _place_of_off(axis)
    places = [off if value is None else float(value) for value in axis.values]
    ticks = _ticks(min(places), max(places)) if axis.scale == "log" else {}
    return places, {"type": axis.scale} | ticks


def _ticks(low: float, high: float) -> dict[str, Any]:
    """Return the ticks of a logarithmic axis: powers of ten, or round numbers where there are few of those."""
    if high >= 100 * low:
        return {"dtick": 1}
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    inside = [value for value in values if low / 1.1 <= value <= high * 1.1]
    return {"tickvals": inside, "ticktext": [number(value) for value in inside]} if len(inside) > 1 else {}


def _may_be_off(axis: Axis) -> bool:
    return axis.scale != "category" and None in axis.values


def _place_of_off(axis: Axis) -> float:
    """Return where what is switched off is drawn: to the left of all others, apart from them."""
    known = [float(value) for value in axis.values if value is not None] or [1.0]
    low, high = min(known), max(known)
    return low**1.15 / high**0.15 / 1.2 if axis.scale == "log" else low - 0.15 * (high - low or 1.0)


def _trace(
    x: Sequence[Any], points: Sequence[Point], y: Sequence[float], mode: str, *, color: str, **marker: Any
) -> dict[str, Any]:
    return scatter(
        x=list(x),
        y=list(y),
        mode=mode,
        hovertext=[_hover(point) for point in points],
        hoverinfo="text",
        marker={"color": color, **marker},
        line={"width": 1, "color": color},
    )


def _training(x: Sequence[Any], points: Sequence[Point], mode: str) -> dict[str, Any]:
    """Return the training losses; what each belongs to is told above it, by the held-out loss."""
    marker = {"symbol": "circle-open", "size": 6, "color": TRAIN}
    line = {"width": 1, "color": TRAIN}
    told = "training loss %{y:.4~g}<extra></extra>"
    return scatter(x=list(x), y=[p.train_loss for p in points], mode=mode, hovertemplate=told, marker=marker, line=line)


def _held_out(x: Sequence[Any], points: Sequence[Point], top: float, mode: str) -> dict[str, Any]:
    shown = [p.loss if p.loss <= top else math.nan for p in points]
    trace = _trace(x, points, shown, mode, symbol="circle", size=7, color=HELD_OUT)
    errors = [p.error if math.isfinite(p.error) else 0.0 for p in points]
    return trace | {"error_y": {"array": errors, "color": HELD_OUT, "thickness": 1, "width": 0}}


def _edge(
    x: Sequence[Any], points: Sequence[Point], values: Sequence[float], top: float, beyond: bool
) -> dict[str, Any]:
    """Return the configurations whose value is beyond the axis, or not a number, at its upper edge."""
    at = [i for i, value in enumerate(values) if (value > top if beyond else not math.isfinite(value))]
    symbol, color = ("triangle-up", HELD_OUT) if beyond else ("x-thin", OTHER)
    marker = {"symbol": symbol, "size": 8, "line": {"width": 2, "color": color}}
    return _trace([x[i] for i in at], [points[i] for i in at], [top] * len(at), "markers", color=color, **marker)


def _choices(x: Sequence[Any], points: Sequence[Point], values: Sequence[float]) -> list[dict[str, Any]]:
    marks = (("best", "diamond-open", BEST, 19, 2), ("one_se", "star", CHOSEN, 15, 0))
    traces = []
    for mark, symbol, color, size, width in marks:
        at = [i for i, p in enumerate(points) if p.mark in (mark, "both")]
        marker = {"symbol": symbol, "size": size, "line": {"width": width, "color": color}}
        y = [values[i] for i in at]
        traces.append(_trace([x[i] for i in at], [points[i] for i in at], y, "markers", color=color, **marker))
    return traces


def _band(points: Sequence[Point]) -> list[dict[str, Any]]:
    best = [p for p in points if p.mark in ("best", "both") and math.isfinite(p.error)]
    area = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "layer": "below", "fillcolor": BEST, "opacity": 0.14}
    return [area | {"y0": p.loss - p.error, "y1": p.loss + p.error, "line": {"width": 0}} for p in best]


def _top(points: Sequence[Point]) -> float:
    """Return the highest loss that is drawn to scale: a few hopeless configurations must not flatten the rest."""
    losses = [p.loss for p in points if math.isfinite(p.loss)]
    if not losses:
        return 1.0
    low, middle = min(losses), statistics.median(losses)
    reach = low + max(5 * (middle - low), abs(low))
    highest = max(p.loss + (p.error if math.isfinite(p.error) else 0.0) for p in points if math.isfinite(p.loss))
    return min(highest, max(reach, *(p.loss + 2 * p.error for p in points if _marked(p)), low))


def _marked(point: Point) -> bool:
    return point.mark in ("best", "one_se", "both") and math.isfinite(point.error)


def _range(points: Sequence[Point], top: float) -> list[float]:
    lows = [p.loss - (p.error if math.isfinite(p.error) else 0.0) for p in points if math.isfinite(p.loss)]
    trains = [p.train_loss for p in points if math.isfinite(p.train_loss)]
    low = min([top, *lows, *trains])
    margin = 0.06 * (top - low or 1.0)
    return [low - margin, top + margin]


def _hover(point: Point) -> str:
    error = f" ± {number(point.error)}" if math.isfinite(point.error) else ""
    loss = f"held-out loss {number(point.loss)}{error}" if math.isfinite(point.loss) else "diverged"
    return lines(label(point.name), loss, f"training loss {number(point.train_loss)}")
