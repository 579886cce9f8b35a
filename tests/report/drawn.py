"""One chart of each kind that the room of reports draws."""

from __future__ import annotations

import math

import numpy as np

from meden.report.classified import calibration_chart, confusion_chart, residuals_chart
from meden.report.curves import EpochCurve, against_chart, curves_chart, highest, line_chart
from meden.report.document import Chart
from meden.report.gains import Gain, gains_chart
from meden.report.scores import Axis, Point, gap_chart, score_chart

GAINS = [
    Gain("constant", 0.7, 0.6, 0.8),
    Gain("plain", 0.5, 0.45, 0.56, "reference"),
    Gain("trees", math.nan),
    Gain("chosen", 0.4, 0.3, 0.45, "chosen"),
]
CURVES = [
    EpochCurve("fold 0", [3.0, 2.0, 1.0], [3.5, 3.0, 3.25], 2),
    EpochCurve("fold 1", [2.0, 1.0], [2.5, 2.0], 2),
]
BETTER = [EpochCurve("fold 0", [3.0, 2.0, 1.5], [3.1, 2.1, 1.75], 3)]
POINTS = [
    Point("a", 0.5, 0.01, 0.3, ""),
    Point("b", 0.4, 0.01, 0.35, "best"),
    Point("c", 0.45, 0.01, 0.44, "one_se"),
    Point("d", 900.0, 1.0, 0.1, ""),
    Point("e", math.nan, math.nan, math.nan, "diverged"),
]
STRENGTHS = Axis("lr", "log", (0.001, 0.002, 0.005, 0.01, 0.02))
SWITCHED = Axis("l2", "log", (None, 1e-4, 1e-3, 1e-2, 1.0))
NAMED = Axis("penalty", "category", ("a", "b", "a", "c", "d"))

_random = np.random.default_rng(0)
_chance = _random.random(200)


def charts() -> dict[str, Chart]:
    """Return the charts by kind."""
    return {
        "gains": gains_chart("Loss of each model", GAINS, x_title="nats"),
        "curves": curves_chart("Curves", CURVES, y_title="loss", top=highest(CURVES)),
        "against": against_chart("Plain and chosen", CURVES, BETTER, y_title="loss", top=highest(CURVES)),
        "line": line_chart("Penalties", {"L1": [1.0, 2.0], "L2": [2.0, 1.0]}, ("#000000", "#ffffff"), y_title="value"),
        "scores": score_chart(STRENGTHS, POINTS, unit="nats", connected=True),
        "scores switched off": score_chart(SWITCHED, POINTS, unit="nats", connected=False),
        "scores by name": score_chart(NAMED, POINTS, unit="nats", connected=False),
        "gap": gap_chart(STRENGTHS, POINTS, unit="nats", connected=True),
        "confusion": confusion_chart("Taken for", [[5, 1], [2, 0]], ["no", "yes"]),
        "calibration": calibration_chart("Calibration", _chance, _random.random(200) < _chance),
        "residuals": residuals_chart("Residuals", _chance, _random.random(200), unit="mm"),
    }
