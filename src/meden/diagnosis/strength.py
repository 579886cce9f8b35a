"""Rules on how strong the penalties of runs are."""

from __future__ import annotations

import math

from meden.diagnosis.curves.levels import FITTED, LEARNT, is_signed, start_of, train_of
from meden.diagnosis.evidence import Evidence
from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule

RULING = 3.0
"""Penalties of so many times the data loss rule it."""
IDLE = 1e-3
"""Penalties of so small a share of the data loss change nothing that could be seen."""


@rule("strength", "warning")
def penalties_rule(evidence: Evidence) -> Seen | None:
    """The penalties outweigh the data loss."""
    times = evidence.estimate(lambda curve: curve.penalties / max(curve.train_loss, math.ulp(1.0)))
    if is_signed(evidence) or not times.exceeds(RULING) or train_of(evidence).mean < FITTED * start_of(evidence):
        return None
    how = "extend the search range downwards" if evidence.searched else "start the search from no penalty"
    return Seen(
        f"the penalties are {times.mean:.2g} times the data loss",
        f"Lower their strengths: {how}",
        command=evidence.command("tune", "--search l2=1e-6:0.1:log"),
        value=times.mean,
        interval=times.interval,
    )


@rule("strength", "info")
def penalties_idle(evidence: Evidence) -> Seen | None:
    """The penalties are too weak to have an effect.

    Weights w with the penalties and u without them have loss(w) + penalties(w) <= loss(u) + penalties(u): what the
    penalties take the training loss away from its least is at most what they are.
    """
    share = evidence.estimate(lambda curve: curve.penalties / max(curve.train_loss, math.ulp(1.0)))
    learnt = (
        not is_signed(evidence) and evidence.sound and train_of(evidence).mean < (1 - LEARNT) * start_of(evidence)
    )  # else they may hold all at 0
    if not learnt or not 0 < share.mean + 2 * (share.error or 0.0) < IDLE:
        return None
    return Seen(
        f"the penalties are only {share.mean:.2g} of the data loss: without them the training would hardly differ",
        "Remove them, or multiply their strengths by ten or more: a search can tell how much helps",
        command=evidence.command("tune", "--search l2=1e-4:1:log"),
        value=share.mean,
        interval=share.interval,
    )
