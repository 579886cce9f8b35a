"""Charts of single predictions: which classes are taken for which, whether probabilities hold, where errors lie.

N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from meden._checks import InputError
from meden.diagnosis.intervals import wilson
from meden.language import Own
from meden.report.charts import CHOSEN, HELD_OUT, OTHER, TRAIN, axis_title, chart, label, lines, scatter, tinted
from meden.report.document import Chart, Key
from meden.report.numbers import percent

MOST_CLASSES = 12
"""More do not fit on a page: the rarest are merged."""
MOST_POINTS = 2000
"""More are slow to draw, and cover each other."""
Z90 = 1.6449
"""Standard deviations on either side that hold 90 % of a normal variable."""
CONFUSION_KEYS = (
    Key("right", "■", CHOSEN),
    Key("predicted as another; the deeper the colour, the larger the share of its row", "■", TRAIN),
)
CALIBRATION_KEYS = (
    Key("observed frequency, with a 90 % interval; beside it the number of rows", "●", HELD_OUT),
    Key("perfect calibration", "┅", OTHER),
)


def confusion_chart(title: str, counts: Any, classes: Sequence[Any]) -> Chart:
    """Return how many rows of each class were taken for which, each row shaded by its shares.

    The rarest of many classes are put together; on the diagonal they count as right though taken for one another.

    Args:
        title: above the chart.
        counts: whole numbers of shape (C, C), a row for each true class, a column for each predicted one.
        classes: their C names.

    Raises:
        InputError: if the shapes differ.

    Example:
        >>> made = confusion_chart("Taken for", [[8, 2], [1, 9]], ["no", "yes"])
        >>> made.data[0]["text"], made.layout["yaxis"]["ticktext"]
        (['8', '2', '1', '9'], ['no', 'yes'])
    """
    counts = np.asarray(counts)
    if counts.shape != (len(classes), len(classes)):
        raise InputError(f"counts must be of shape {(len(classes),) * 2}, got {counts.shape}")
    counts, names = _pooled(counts, [str(name) for name in classes])
    cells = [(row, column) for row in range(len(names)) for column in range(len(names))]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    text = [f"{counts[cell]:,}" for cell in cells]
    hover = [
        lines(f"{label(names[r])} predicted as {label(names[c])}", f"{counts[r, c]:,} rows, {percent(shares[r, c])}")
        for r, c in cells
    ]
    points = scatter(
        x=[column for _, column in cells],
        y=[row for row, _ in cells],
        mode="text",
        text=text,
        hovertext=hover,
        hoverinfo="text",
    )
    size = len(names)
    ticks = {
        "tickvals": list(range(size)),
        "ticktext": [label(Own(name), limit=20) for name in names],
        "showgrid": False,
    }
    return chart(
        title,
        [points],
        x=axis_title("predicted") | ticks | {"range": [-0.5, size - 0.5], "ticklabeloverflow": "allow"},
        y=axis_title("true") | ticks | {"range": [size - 0.5, -0.5]},
        shapes=[_tile(row, column, float(shares[row, column])) for row, column in cells],
        height=max(260, 90 + 34 * size),
    )


def calibration_chart(title: str, predicted: Any, happened: Any, *, bins: int = 10) -> Chart:
    """Return how often what was predicted with some probability is so.

    Args:
        title: above the chart.
        predicted: N probabilities, such as of the second class, or of each row's predicted class.
        happened: N truth values: whether it is so.
        bins: of equal width; those without rows are left out.

    Raises:
        InputError: if a probability is outside of 0 to 1, or the lengths differ.

    Example:
        >>> made = calibration_chart("Calibration", [0.1, 0.2, 0.9, 0.8], [0, 0, 1, 0], bins=2)
        >>> made.data[0]["x"], made.data[0]["y"], made.data[0]["text"]
        ([0.15, 0.85], [0.0, 0.5], ['2', '2'])
    """
    predicted, happened = _pair("predicted", predicted, "happened", happened)
    outside = predicted[~((predicted >= 0) & (predicted <= 1))]
    if len(outside):
        raise InputError(f"predicted must hold probabilities in [0, 1], got {outside[0]:.6g}")
    places = np.minimum((predicted * bins).astype(int), bins - 1)
    groups = [places == i for i in range(bins) if np.any(places == i)]
    x = [float(predicted[group].mean()) for group in groups]
    y = [float(happened[group].mean()) for group in groups]
    n = [int(group.sum()) for group in groups]
    ends = [wilson(share, count, Z90) for share, count in zip(y, n, strict=True)]
    points = scatter(
        x=x,
        y=y,
        mode="lines+markers+text",
        text=[f"{count:,}" for count in n],
        textposition="bottom right",
        cliponaxis=False,
        hovertext=[
            lines(
                f"predicted {percent(p)}, observed {percent(s)}", f"{percent(low)} to {percent(high)}, {count:,} rows"
            )
            for p, s, (low, high), count in zip(x, y, ends, n, strict=True)
        ],
        hoverinfo="text",
        marker={"color": HELD_OUT, "size": 8},
        line={"color": HELD_OUT, "width": 1},
        error_y={
            "array": [high - s for (_, high), s in zip(ends, y, strict=True)],
            "arrayminus": [s - low for (low, _), s in zip(ends, y, strict=True)],
            "color": HELD_OUT,
            "thickness": 1,
            "width": 0,
        },
    )
    dashed = {"color": OTHER, "width": 1, "dash": "dash"}
    diagonal = {"type": "line", "x0": 0, "y0": 0, "x1": 1, "y1": 1, "layer": "below", "line": dashed}
    both = {"range": [-0.03, 1.03], "tickformat": ".0%"}
    x_axis, y_axis = axis_title("predicted probability") | both, axis_title("observed frequency") | both
    return chart(title, [points], x=x_axis, y=y_axis, shapes=[diagonal], height=360)


def residuals_chart(title: str, predicted: Any, actual: Any, *, unit: str, limit: int = MOST_POINTS) -> Chart:
    """Return by how much rows lie above or below their predictions.

    Args:
        title: above the chart; it says so if not all rows are drawn.
        predicted: N numbers.
        actual: N numbers; a residual is actual minus predicted.
        unit: of the target.
        limit: as many rows are drawn, at random by a fixed seed.

    Raises:
        InputError: if the lengths differ.

    Example:
        >>> residuals_chart("Residuals", [1.0, 2.0], [1.5, 1.0], unit="dollars").data[0]["y"]
        [0.5, -1.0]
    """
    predicted, actual = _pair("predicted", predicted, "actual", actual)
    shown = np.arange(len(predicted))
    if len(shown) > limit:
        title = f"{title} ({limit:,} of {len(shown):,} rows, drawn at random)"
        shown = np.sort(np.random.default_rng(0).choice(len(shown), limit, replace=False))
    points = scatter(
        x=predicted[shown],
        y=(actual - predicted)[shown],
        mode="markers",
        hovertemplate="predicted %{x:.4~g}, residual %{y:.4~g}<extra></extra>",
        marker={"color": HELD_OUT, "size": 5, "opacity": 0.55},
    )
    zero = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0}
    dashed = {"layer": "below", "line": {"color": OTHER, "width": 1, "dash": "dash"}}
    y_axis = axis_title(f"actual minus predicted ({unit})")
    return chart(title, [points], x=axis_title(f"predicted ({unit})"), y=y_axis, shapes=[zero | dashed], height=360)


def _pair(first_name: str, first: Any, second_name: str, second: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return two columns as numbers, of the same length."""
    one, two = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if one.ndim != 1 or one.shape != two.shape:
        raise InputError(f"{second_name} must be as long as {first_name}, got {two.shape} and {one.shape}")
    return one, two


def _pooled(counts: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Return the counts with the rarest classes put together, if there are too many to show."""
    rest = len(names) - (MOST_CLASSES - 1)
    if rest <= 1:
        return counts, names
    kept = np.sort(np.argsort(-counts.sum(1), kind="stable")[: MOST_CLASSES - 1])
    place = np.full(len(names), MOST_CLASSES - 1)
    place[kept] = np.arange(MOST_CLASSES - 1)
    pooled = np.zeros((MOST_CLASSES, MOST_CLASSES), dtype=counts.dtype)
    np.add.at(pooled, (place[:, None], place[None, :]), counts)
    return pooled, [*(names[i] for i in kept), f"{rest} others"]


def _tile(row: int, column: int, share: float) -> dict[str, Any]:
    fill = tinted(CHOSEN if row == column else TRAIN, 0.06 + 0.54 * share if share else 0.0)
    corners = {"x0": column - 0.47, "x1": column + 0.47, "y0": row - 0.47, "y1": row + 0.47}
    return {"type": "rect", **corners, "layer": "below", "fillcolor": fill, "line": {"width": 0}}
