"""What stands out in a run, how sure that is, and what to do: rules with names that stay, each on its own evidence."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from meden._checks import InputError
from meden.diagnosis.calibration import (
    Answers,
    CalibrationError,
    calibration_error,
    careful_temperature,
    estimate_error,
    fit_temperature,
)
from meden.diagnosis.catalogue import all_rules, applying, chosen_rules, examine
from meden.diagnosis.evidence import Curve, Evidence, Evident, Plan, of_history, source_of
from meden.diagnosis.finding import Diagnosis, Finding, Seen, Severity
from meden.diagnosis.rule import FAMILIES, Rule, rule
from meden.diagnosis.searching import EdgeOfRange, Lead, SearchEvidence
from meden.diagnosis.splits.split import Split, split_of
from meden.history import History
from meden.logs import read_logs

__all__ = [
    "FAMILIES",
    "Answers",
    "CalibrationError",
    "Curve",
    "Diagnosis",
    "EdgeOfRange",
    "Evidence",
    "Evident",
    "Finding",
    "Lead",
    "Plan",
    "Rule",
    "SearchEvidence",
    "Seen",
    "Severity",
    "Split",
    "all_rules",
    "applying",
    "calibration_error",
    "careful_temperature",
    "chosen_rules",
    "diagnose",
    "estimate_error",
    "examine",
    "fit_temperature",
    "of_history",
    "rule",
    "source_of",
    "split_of",
]

Subject = (
    History | Evidence | Evident | nn.Module | Split | Mapping[str, Any] | Sequence[Any] | pd.DataFrame | str | Path
)
"""What can be diagnosed."""


def diagnose(
    subject: Subject,
    *,
    train: str | None = None,
    valid: str | None = None,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    rules: Sequence[Rule] = (),
) -> Diagnosis:
    """Diagnose a run, or the runs of a study's folds: what is wrong, and what to change.

    Losses of training and held-out rows are compared in evaluation mode and without penalties. Numbers come with
    intervals of 95 %: over the folds of a study (of its choice, ``one_se``), over the held-out rows of a run that
    has them, over the runs of an ensemble; a history alone, or a run of :func:`meden.fit`, does not show how far
    other held-out rows would differ, and the findings say so.

    Logs of other trainers are read by the words in the names of their columns, see :func:`meden.logs.read_logs`. Their
    training losses are usually means over training, not of one state in evaluation mode: a held-out loss below such
    a loss is no finding, and overfitting looks smaller than it is. An "epoch" is then an evaluation.

    Args:
        subject: a run, an ensemble, a study, a history, a model, of which only the layers are looked at,
            :class:`meden.diagnosis.Evidence` made of any losses; a :class:`meden.diagnosis.Split`; or a log of
            another trainer: lists by name (``{"train": [...], "valid": [...]}``, ``{"loss": ..., "val_loss": ...}``),
            rows (``trainer.state.log_history``), a DataFrame, or the path of a ``metrics.csv`` of Lightning, a
            ``trainer_state.json``, a csv file of Keras or of Weights & Biases, event files of TensorBoard, or a folder
            of these; a list of them is one for each fold, in the order in which they were trained.
        train: column of a log's training loss, if its name does not tell.
        valid: column of its held-out loss, likewise.
        select: codes or families of rules to go by; none given is all. ``meden diagnose --list`` shows them.
        ignore: codes or families to leave out, also of those selected.
        rules: more rules, made by :func:`meden.diagnosis.rule`; those that installed packages name under the entry
            point ``meden.rules`` are there already.

    Returns:
        The findings; print them, or read their ``code``, ``severity``, ``message``, ``advice``, ``command``, ``value``
        and ``interval``.

    Raises:
        InputError: if a code or family is unknown, no rule is left that applies, or a log has not what it needs.

    Example:
        >>> from meden.diagnosis import Curve, Evidence
        >>> train, held_out = [1.0, 0.8, 0.6, 0.5, 0.4, 0.3], [1.1, 1.0, 0.9, 1.0, 1.1, 1.2]
        >>> [finding.code for finding in diagnose(Evidence((Curve(train=train, held_out=held_out),))).findings]
        ['overfit', 'kept_too_late']

    Reference:
        C. M. Bishop, Pattern recognition and machine learning, 2006 (training and held-out error over complexity and
        time); L. Prechelt, Early stopping - but when?, 1998.
    """
    chosen = chosen_rules(select, ignore, rules)
    if isinstance(subject, Split):
        return Diagnosis(examine((subject,), applying(chosen, (subject,), "a split")), 0)
    evidence = _evidence(subject, train, valid)
    chosen = applying(chosen, evidence.parts, "what is known about the runs")
    return Diagnosis(examine(evidence.parts, chosen), len(evidence.curves))


def _evidence(subject: Any, train: str | None, valid: str | None) -> Evidence:
    named = next((name for name, asked in (("train", train), ("valid", valid)) if asked is not None), None)
    if named and (isinstance(subject, History | nn.Module | Evidence) or hasattr(subject, "evidence")):
        raise InputError(f"{named} must not be given, since it names a column of a log, got {type(subject).__name__}")
    if isinstance(subject, History):
        return Evidence((of_history(subject),), plan=Plan(lr=_rate([subject])))
    if isinstance(subject, nn.Module):
        return Evidence((), model=subject)
    if isinstance(subject, Evidence):
        return subject
    if hasattr(subject, "evidence"):
        found: Evidence = subject.evidence()
        return found
    name = "path" if isinstance(subject, (str, Path)) else "subject"
    logs = read_logs(subject, train=train, valid=valid, name=name)
    curves = (replace(of_history(log.history, as_logged=log.as_logged), scored=log.scored) for log in logs)
    return Evidence(tuple(curves), plan=Plan(lr=_rate([log.history for log in logs])))


def _rate(histories: Sequence[History]) -> float | None:
    """Return the highest learning rate of runs, which schedules go up to and down from."""
    known = [rate for history in histories for rate in history.column("lr") if math.isfinite(rate) and rate > 0]
    return max(known, default=None)
