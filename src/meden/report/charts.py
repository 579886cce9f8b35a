"""What all charts share: palette, labels, axes.

Text and grid colours are the page's (CSS), so that charts follow the reader's scheme, light or dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from meden.language import Own
from meden.report.document import Chart

HELD_OUT, TRAIN, CHOSEN, BEST, OTHER = "#2a86c7", "#d9772b", "#0a9a73", "#bf5b98", "#8a8f98"
"""Told apart by people with any kind of colour vision, and legible on light and on dark."""


def label(text: object, limit: int = 200) -> str:
    """Return any text as a plotly label that shows it literally, cut at ``limit`` characters.

    Plotly would read tags, and mathematics between dollar signs.

    Example:
        >>> label("<b>x</b> & y"), label("a very long name", limit=8)
        ('&lt;b&gt;x&lt;/b&gt; &amp; y', 'a very …')
    """
    shown = str(text)
    shown = shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
    shown = html.escape(shown, quote=False).replace("$", "&#36;")
    return Own(shown) if isinstance(text, Own) else shown


def lines(*parts: str) -> str:
    """Return several labels as the lines of one."""
    return "<br>".join(parts)


def scatter(**fields: Any) -> dict[str, Any]:
    """Return a trace of points or lines, as plotly's script takes it."""
    return {"type": "scatter", **fields}


def chart(
    title: str,
    traces: Sequence[Mapping[str, Any]],
    *,
    x: Mapping[str, Any],
    y: Mapping[str, Any],
    shapes: Sequence[Mapping[str, Any]] = (),
    height: int = 320,
) -> Chart:
    """Put traces on a pair of axes.

    Args:
        title: shown above, by the page.
        traces: from :func:`scatter`; those without points are left out.
        x: settings of the horizontal axis, over the usual ones.
        y: settings of the vertical axis.
        shapes: bands and lines.
        height: in pixels.
    """
    layout = {
        "autosize": True,
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 10, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "showlegend": False,
        "dragmode": False,
        "shapes": list(shapes),
        "xaxis": {**_AXIS, **x},
        "yaxis": {**_AXIS, **y},
    }
    return Chart(title, _plain([trace for trace in traces if len(trace["y"])]), _plain(layout))


def tinted(colour: str, opacity: float) -> str:
    """Return a colour that lets through what lies below it.

    Example:
        >>> tinted("#0a9a73", 0.15)
        'rgba(10,154,115,0.15)'
    """
    red, green, blue = bytes.fromhex(colour[1:])
    return f"rgba({red},{green},{blue},{opacity:.3g})"


def _plain(value: Any) -> Any:
    """Return what JSON can hold: numbers with nine digits, more than any screen shows, and None for no number."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(f"{float(value):.9g}") if math.isfinite(value) else None
    return [_plain(part) for part in value]


_AXIS = {"automargin": True, "zeroline": False, "showline": False, "exponentformat": "e", "fixedrange": True}


def axis_title(text: str) -> dict[str, Any]:
    """Return the setting of an axis title, shown literally."""
    return {"title": {"text": label(text, limit=40), "standoff": 8}}


def epoch_axis(num_epochs: int) -> dict[str, Any]:
    """Return a horizontal axis of epochs, from 1, with whole numbers only."""
    margin = 0.5 if num_epochs < 20 else 0.02 * num_epochs
    ticks = {"dtick": 1} if num_epochs <= 10 else {"tickformat": "d"}
    return axis_title("epoch") | {"range": [1 - margin, num_epochs + margin]} | ticks
