"""What stands out in a run, how sure that is, and what to do: rules with names that stay, each on its own evidence."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn

from meden.diagnosis.catalogue import all_rules, chosen_rules, examine
from meden.diagnosis.evidence import Curve, Evidence, Evident, of_history
from meden.diagnosis.finding import Diagnosis, Finding, Seen, Severity
from meden.diagnosis.rule import FAMILIES, Rule, rule
from meden.history import History

__all__ = [
    "FAMILIES",
    "Curve",
    "Diagnosis",
    "Evidence",
    "Evident",
    "Finding",
    "Rule",
    "Seen",
    "Severity",
    "all_rules",
    "chosen_rules",
    "diagnose",
    "examine",
    "of_history",
    "rule",
]


def diagnose(
    subject: History | Evidence | Evident | nn.Module,
    *,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    rules: Sequence[Rule] = (),
) -> Diagnosis:
    """Say what stands out in a run, or in the runs of a study's folds, and what to do about it.

    Losses of training and held-out rows are compared in evaluation mode and without penalties. Numbers come with
    intervals of 95 %: over the folds of a study (of its choice, ``one_se``), over the held-out rows of a run that
    has them, over the runs of an ensemble; a history alone, or a run of :func:`meden.fit`, does not show how far
    other held-out rows would differ, and the findings say so.

    Args:
        subject: a run, an ensemble, a study, a history, a model, of which only the layers are looked at, or
            :class:`meden.diagnosis.Evidence` made of any losses.
        select: codes or families of rules to go by; none given is all. ``meden diagnose --list`` shows them.
        ignore: codes or families to leave out, also of those selected.
        rules: more rules, made by :func:`meden.diagnosis.rule`; those that installed packages name under the entry
            point ``meden.rules`` are there already.

    Returns:
        The findings; print them, or read their ``code``, ``severity``, ``message``, ``advice``, ``command``, ``value``
        and ``interval``.

    Raises:
        InputError: if a code or family is unknown.

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
    evidence = _evidence(subject)
    return Diagnosis(examine((evidence,), chosen), len(evidence.curves))


def _evidence(subject: History | Evidence | Evident | nn.Module) -> Evidence:
    if isinstance(subject, History):
        return Evidence((of_history(subject),))
    if isinstance(subject, nn.Module):
        return Evidence((), model=subject)
    return subject if isinstance(subject, Evidence) else subject.evidence()
