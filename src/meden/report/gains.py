"""A chart of named models: one score each, its interval, and a line at the one that the others are held against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from meden.language import Own
from meden.report.charts import CHOSEN, HELD_OUT, OTHER, axis_title, chart, label, lines, scatter
from meden.report.document import Chart, Key
from meden.report.numbers import number

Role = Literal["chosen", "reference", "other"]
COLOURS: dict[Role, str] = {"chosen": CHOSEN, "reference": OTHER, "other": HELD_OUT}


@dataclass(frozen=True)
class Gain:
    """One model and its score."""

    name: str
    value: float
    """Not a number if there is no result."""
    low: float = math.nan
    """Lower end of its interval; not finite if unknown."""
    high: float = math.nan
    """Upper end."""
    role: Role = "other"
    """``"reference"``: what all others are compared with."""


def gains_chart(title: str, gains: Sequence[Gain], *, x_title: str) -> Chart:
    """Return one line for each model, the first on top: a point, its interval, its number.

    Args:
        title: above the chart.
        gains: the models; a dashed line goes down at the one whose role is ``"reference"``.
        x_title: what the scores are.

    Example:
        >>> made = gains_chart("Loss", [Gain("plain", 0.5, 0.4, 0.6, "reference"), Gain("trees", 0.4)], x_title="nats")
        >>> made.layout["yaxis"]["ticktext"], made.layout["shapes"][0]["x0"]
        (['plain', 'trees'], 0.5)
    """
    roles: tuple[Role, ...] = ("other", "reference", "chosen")
    traces = []
    for role in roles:
        at = [(y, gain) for y, gain in enumerate(gains) if gain.role == role and math.isfinite(gain.value)]
        traces.append(
            scatter(
                x=[gain.value for _, gain in at],
                y=[y for y, _ in at],
                mode="markers+text",
                text=[number(gain.value) for _, gain in at],
                textposition="top center",
                hovertext=[_hover(gain) for _, gain in at],
                hoverinfo="text",
                marker={"color": COLOURS[role], "size": 11, "symbol": "star" if role == "chosen" else "circle"},
                error_x={
                    "array": [_reach(gain.high - gain.value) for _, gain in at],
                    "arrayminus": [_reach(gain.value - gain.low) for _, gain in at],
                    "color": COLOURS[role],
                    "thickness": 2,
                    "width": 5,
                },
            )
        )
    names = [gain.name if math.isfinite(gain.value) else _without(gain.name) for gain in gains]
    at_reference = [gain.value for gain in gains if gain.role == "reference" and math.isfinite(gain.value)]
    dashed = {"color": OTHER, "width": 1, "dash": "dash"}
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "line": dashed}
    ticks = {"tickvals": list(range(len(gains))), "ticktext": [label(name, limit=30) for name in names]}
    return chart(
        title,
        traces,
        x=axis_title(x_title),
        y=ticks | {"range": [len(gains) - 0.5, -0.7], "showgrid": False},
        shapes=[line | {"x0": x, "x1": x} for x in at_reference],
        height=70 + 46 * len(gains),
    )


def gains_keys(gains: Sequence[Gain], interval: str) -> tuple[Key, ...]:
    """Return the legend of :func:`gains_chart`.

    Args:
        gains: those of the chart.
        interval: what the bars are, such as ``"90 % interval"``.
    """
    symbols = {"chosen": "★", "reference": "●", "other": "●"}
    names = {"chosen": "chosen", "reference": "what the others are compared with (dashed)", "other": "another model"}
    shown = [role for role in COLOURS if any(gain.role == role for gain in gains)]
    return (*(Key(names[role], symbols[role], COLOURS[role]) for role in shown), Key(interval, "├─┤", OTHER))


def _without(name: str) -> str:
    text = f"{name} (no result)"
    return Own(text) if isinstance(name, Own) else text


def _reach(length: float) -> float:
    return max(0.0, length) if math.isfinite(length) else 0.0


def _hover(gain: Gain) -> str:
    known = math.isfinite(gain.low) and math.isfinite(gain.high)
    interval = f"{number(gain.low)} to {number(gain.high)}" if known else "interval unknown"
    return lines(label(gain.name), number(gain.value), interval)
