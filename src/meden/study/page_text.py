"""Words that several parts of a study's page share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meden.report.document import Mark
from meden.report.numbers import number, plural
from meden.study.metrics import UNITS
from meden.study.results import Results, Trial


def params_text(params: Mapping[str, Any]) -> str:
    """Return ``l2 = 0.01, dropout = 0.3``.

    Example:
        >>> params_text({"l2": 0.01, "mixup": None, "norm": "batch"})
        'l2 = 0.01, mixup = off, norm = batch'
    """
    return ", ".join(f"{name} = {_value(value)}" for name, value in params.items())


def folds_text(results: Results) -> str:
    """Return how many folds there are, with the noun."""
    return plural(len(results.folds), "fold")


def unit_of(results: Results) -> str:
    """Return the unit of the losses."""
    return UNITS[results.data.task]


def mark_of(results: Results, trial: Trial) -> Mark:
    """Return how a configuration stands out."""
    if trial.baseline:
        return "baseline"
    if trial.status != "ok":
        return "diverged"
    marks: dict[tuple[bool, bool], Mark] = {(True, True): "both", (True, False): "one_se", (False, True): "best"}
    return marks.get((trial is results.choice, trial is results.best), "")


def finished(results: Results) -> list[Trial]:
    """Return the configurations that were not given up in a race."""
    return [trial for trial in results.trials if trial.status != "dropped"]


def _value(value: Any) -> str:
    if value is None:
        return "off"
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
