"""Rules on what models know by heart."""

from __future__ import annotations

from meden.diagnosis.finding import Seen
from meden.diagnosis.memory.memorisation import Memorisation
from meden.diagnosis.rule import rule

TOLD_APART = 0.6
"""AUC, by the lower end of its interval: which of two rows was fitted is then guessed rightly three times in five."""
FOUND = 5.0
"""Members found, by the lower end again, as a multiple of false positives: rows are named, if few, and rightly."""
ADVICE = (
    "Regularise more, or train for fewer epochs, if rows must not be given away: with losses kept, the report shows "
    "what each strength costs"
)
COMMAND = "meden tune DATA --target TARGET --keep-losses"


@rule("memorisation", "warning")
def memorised(evidence: Memorisation) -> Seen | None:
    """Losses tell which rows the models were fitted on."""
    return _seen(evidence) if _is_much(evidence) else None


@rule("memorisation", "info")
def slightly_memorised(evidence: Memorisation) -> Seen | None:
    """Losses tell a little better than chance which rows the models were fitted on."""
    little = evidence.strongest.auc.low > 0.5 and not _is_much(evidence)
    return _seen(evidence) if little else None


def _is_much(evidence: Memorisation) -> bool:
    attack = evidence.strongest
    found = (share.low > FOUND * share.false_positives for share in attack.true_positives)
    return attack.auc.low > TOLD_APART or any(found)


def _seen(evidence: Memorisation) -> Seen:
    attack = evidence.strongest
    by = "the loss" if attack is evidence.loss else "likelihood ratios against models of other folds"
    named = f"; most exposed is row {evidence.exposed[0].row}" if evidence.exposed else ""
    message = (
        f"rows that were fitted and rows that were not are told apart by {by} with an AUC of {attack.auc}, where 0.5 "
        f"is a guess; of the first {attack.true_positives[-1]} are found{named}"
    )
    return Seen(message, ADVICE, COMMAND, attack.auc.value, (attack.auc.low, attack.auc.high))
