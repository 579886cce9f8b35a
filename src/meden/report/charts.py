"""What all charts share: palette, labels, axes.

Text and grid colours are the page's (CSS), so that charts follow the reader's scheme, light or dark.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any

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
    return html.escape(shown, quote=False).replace("$", "&#36;")


def lines(*parts: str) -> str:
    """Return several labels as the lines of one."""
    return "<br>".join(parts)


def scatter(**fields: Any) -> Any:
    """Return a plotly trace of points or lines."""
    import plotly.graph_objects as go

    return go.Scatter(**fields)


def chart(
    title: str, traces: Sequence[Any], *, x: dict[str, Any], y: dict[str, Any], shapes: Sequence[Any] = ()
) -> Chart:
    """Put traces on a pair of axes.

    Args:
        title: shown above, by the page.
        traces: plotly traces.
        x: settings of the horizontal axis, over the usual ones.
        y: settings of the vertical axis.
        shapes: bands and lines.
    """
    import plotly.graph_objects as go

    layout = go.Layout(
        template=go.layout.Template(),
        autosize=True,
        height=320,
        margin={"l": 8, "r": 12, "t": 10, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12},
        hovermode="closest",
        hoverlabel={"align": "left"},
        showlegend=False,
        dragmode=False,
        shapes=list(shapes),
        xaxis=_AXIS | x,
        yaxis=_AXIS | y,
    )
    figure = json.loads(go.Figure(list(traces), layout).to_json())
    return Chart(title, figure["data"], figure["layout"])


_AXIS = {"automargin": True, "zeroline": False, "showline": False, "exponentformat": "e"}


def axis_title(text: str) -> dict[str, Any]:
    """Return the setting of an axis title, shown literally."""
    return {"title": {"text": label(text, limit=40), "standoff": 8}}


def epoch_axis(num_epochs: int) -> dict[str, Any]:
    """Return a horizontal axis of epochs, from 1, with whole numbers only."""
    margin = 0.5 if num_epochs < 20 else 0.02 * num_epochs
    ticks = {"dtick": 1} if num_epochs <= 10 else {"tickformat": "d"}
    return axis_title("epoch") | {"range": [1 - margin, num_epochs + margin]} | ticks
