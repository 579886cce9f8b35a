"""Rules on what models know by heart."""

from __future__ import annotations

from meden.diagnosis.evidence import Evidence
from meden.diagnosis.finding import Seen
from meden.diagnosis.memory.memorisation import Memorisation
from meden.diagnosis.rule import rule

TOLD_APART = 0.6
"""AUC, by the lower end of its interval: which of two rows was fitted is then guessed rightly three times in five."""
FOUND = 5.0
"""Members found, by the lower end again, as a multiple of false positives: rows are named, if few, and rightly."""
ADVICE = (
    "If the training rows must stay private, regularise more or train for fewer epochs; with losses kept, the "
    "report shows what each strength costs"
)


@rule("memorisation", "warning")
def memorised(evidence: Evidence) -> Seen | None:
    """Losses reveal which rows the models were fitted on."""
    known = evidence.memorisation
    return _seen(evidence, known) if known is not None and _is_much(known) else None


@rule("memorisation", "info")
def slightly_memorised(evidence: Evidence) -> Seen | None:
    """Losses reveal slightly better than chance which rows the models were fitted on."""
    known = evidence.memorisation
    little = known is not None and known.strongest.auc.low > 0.5 and not _is_much(known)
    return _seen(evidence, known) if known is not None and little else None


def _is_much(known: Memorisation) -> bool:
    attack = known.strongest
    found = (share.low > FOUND * share.false_positives for share in attack.true_positives)
    return attack.auc.low > TOLD_APART or any(found)


def _seen(evidence: Evidence, known: Memorisation) -> Seen:
    attack = known.strongest
    by = "the loss" if attack is known.loss else "likelihood ratios against models of other folds"
    named = f"; the most exposed row is {known.exposed[0].row}" if known.exposed else ""
    message = (
        f"fitted rows can be told from unseen rows by {by} with an AUC of {attack.auc} (0.5 is chance); "
        f"{attack.true_positives[-1]} of the fitted rows are found{named}"
    )
    command = "" if evidence.losses_kept else evidence.command("tune", "--keep-losses")
    return Seen(message, ADVICE, command, attack.auc.value, (attack.auc.low, attack.auc.high))
