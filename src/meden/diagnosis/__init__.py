"""What stands out in a run, how sure that is, and what to do: rules on histories and on layers."""

from __future__ import annotations

from meden.diagnosis.evidence import Curve, Evidence, Evident, of_history
from meden.diagnosis.finding import Diagnosis, Finding
from meden.diagnosis.layout import dropout_before_norm, dropout_in_one_pass
from meden.diagnosis.rules import RULES, diverged
from meden.history import History

__all__ = ["Curve", "Diagnosis", "Evidence", "Evident", "Finding", "diagnose", "of_history"]


def diagnose(subject: History | Evidence | Evident) -> Diagnosis:
    """Say what stands out in a run, or in the runs of a study's folds, and what to do about it.

    Losses of training and held-out rows are compared in evaluation mode and without penalties. Numbers come with
    their standard errors: over the folds of a study (of its choice, ``one_se``), over the held-out rows of a run that
    has them, over the runs of an ensemble; a history alone, or a run of :func:`meden.fit`, does not show how far
    other held-out rows would differ, and the findings say so.

    Args:
        subject: a run, an ensemble, a study, a history, or :class:`meden.diagnosis.Evidence` made of any losses.

    Returns:
        The findings; print them, or read their ``code``, ``message``, ``advice``, ``value`` and ``error``.

    Example:
        >>> from meden.diagnosis import Curve, Evidence
        >>> train, held_out = [1.0, 0.8, 0.6, 0.5, 0.4, 0.3], [1.1, 1.0, 0.9, 1.0, 1.1, 1.2]
        >>> [finding.code for finding in diagnose(Evidence((Curve(train=train, held_out=held_out),))).findings]
        ['overfit', 'kept_too_late']

    Reference:
        C. M. Bishop, Pattern recognition and machine learning, 2006 (training and held-out error over complexity and
        time); L. Prechelt, Early stopping - but when?, 1998.
    """
    if isinstance(subject, History):
        evidence = Evidence((of_history(subject),))
    else:
        evidence = subject if isinstance(subject, Evidence) else subject.evidence()
    rules = [diverged, *(RULES if evidence.sound else ())]
    found = [rule(evidence) for rule in rules]
    if evidence.model is not None:
        found += [dropout_before_norm(evidence.model), dropout_in_one_pass(evidence)]
    return Diagnosis(tuple(finding for finding in found if finding is not None), len(evidence.curves))
