"""Scores and gaps of all configurations against each strength."""

from __future__ import annotations

import math

from meden.report import Section
from meden.report import scores as panels
from meden.space.dimensions import Choice, Dimension, LogUniform, Maybe
from meden.study.page_text import finished, mark_of, params_text, unit_of
from meden.study.results import Results, Trial


def scores_section(results: Results) -> Section:
    """Return held-out and training loss of all configurations along each searched name."""
    points = _points(results)
    charts = [
        panels.score_chart(axis, points, unit=unit_of(results), connected=_alone(results)) for axis in _axes(results)
    ]
    text = (
        "A held-out loss far above the training loss is overfitting: more regularisation may help. If both are "
        "high, the model underfits: less may help. If the choice lies at the end of an axis, widen the range.",
    )
    return Section(title="Score against strength", text=text, keys=panels.score_keys(points), charts=tuple(charts))


def gap_section(results: Results) -> Section | None:
    """Return by how much held-out losses are above training losses; None where no training loss is known."""
    points = _points(results)
    if not any(math.isfinite(point.train_loss) for point in points):
        return None
    charts = [
        panels.gap_chart(axis, points, unit=unit_of(results), connected=_alone(results)) for axis in _axes(results)
    ]
    text = (
        "The gap is the difference between held-out and training loss. A small gap is not a goal in itself: a "
        "model that learns nothing has none.",
    )
    return Section(title="Gap against strength", text=text, keys=panels.gap_keys(points), charts=tuple(charts))


def _alone(results: Results) -> bool:
    return len(results.space) == 1


def _points(results: Results) -> list[panels.Point]:
    return [_point(results, trial) for trial in finished(results)]


def _point(results: Results, trial: Trial) -> panels.Point:
    name = f"configuration {trial.number}: {params_text(trial.params)}"
    return panels.Point(name, trial.loss, trial.loss_error, trial.train_loss, mark_of(results, trial))


def _axes(results: Results) -> list[panels.Axis]:
    return [
        panels.Axis(name, _scale(dimension), tuple(trial.params[name] for trial in finished(results)))
        for name, dimension in results.space.items()
    ]


def _scale(dimension: Dimension) -> panels.Scale:
    if isinstance(dimension, Maybe):
        return _scale(dimension.inner)
    if isinstance(dimension, Choice):
        return "category"
    return "log" if isinstance(dimension, LogUniform) else "linear"
