"""Rules on how well runs do on the rows that they learn from, and on held-out rows.

Thresholds are shares of a loss, which has no natural unit; each is named and is a matter of judgement, while what
counts as more than chance is two standard errors wherever the evidence has them.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from meden.diagnosis.curves.levels import (
    APART,
    FALLING,
    FITTED,
    LEARNT,
    UNSURE,
    blank_of,
    floor_of,
    gap_text,
    held_out_of,
    rise_of,
    size_of,
    train_of,
)
from meden.diagnosis.curves.shape import FEWEST, best_epoch, scatter, still_to_fall
from meden.diagnosis.evidence import Curve, Estimate, Evidence
from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule

AT_ONCE = 2
"""A best epoch up to this one came at once."""
STILL = 1e-4
"""Share of a loss within which it stays where nothing is trained: it is then the same but for rounding and the order of
the rows, while dropout and batches move that of training otherwise."""
MOSTLY = 0.5
"""Share of the range of values by which they rise from first to last where they rise as a whole."""


@rule("curves", "error")
def diverged(evidence: Evidence) -> Seen | None:
    """A run has no result."""
    lost = [curve.lost for curve in evidence.curves if curve.lost]
    if not lost:
        return None
    return Seen(
        f"{len(lost)} of {len(evidence.curves)} runs failed ({lost[0]})",
        "Lower lr, or set clip_norm in the recipe, and check that inputs and targets are standardised",
        command=evidence.with_rate(0.1, "--set clip_norm=1"),
        value=len(lost) / len(evidence.curves),
    )


@rule("curves", "error")
def scores_for_losses(evidence: Evidence) -> Seen | None:
    """Training and held-out values rise together from the first epoch on, like scores and unlike losses."""
    curves = [losses for curve in evidence.sound for losses in (curve.train, curve.held_out) if losses]
    if not any(curve.held_out for curve in evidence.sound) or not all(map(_rises, curves)):
        return None
    first, last = (statistics.fmean(curve.train[place] for curve in evidence.sound) for place in (0, -1))
    return Seen(
        "training and held-out values rise together from the first epoch on, on the training rows from "
        f"{first:.3g} to {last:.3g}: they look like accuracies or other scores, but the rules here take them as "
        "losses",
        "Give losses (--train COLUMN --valid COLUMN), or 1 - accuracy; if they are losses, every step makes them "
        "worse: lower lr, and check the sign of the loss",
        value=last - first,
    )


@rule("curves", "error")
def nothing_learnt(evidence: Evidence) -> Seen | None:
    """The training loss is no better than that of a constant model, or no loss ever changes."""
    if evidence.blank is None and evidence.sound and all(map(_stands_still, evidence.sound)):
        return Seen(
            f"neither loss has moved in {max(len(curve.train) for curve in evidence.sound)} epochs; the training "
            f"loss is still {train_of(evidence)}",
            "Check that the optimizer has the model's parameters and steps them, that none is frozen, and that lr is "
            "not 0",
        )
    blank = blank_of(evidence)
    if not blank:
        return None
    share = evidence.estimate(lambda curve: curve.train_loss / blank)
    if not share.mean >= 1 - LEARNT:  # or not known
        return None
    how = "above" if share.mean > 1 + LEARNT else "hardly below"
    return Seen(
        f"the training loss, {train_of(evidence)}, is {how} the {blank:.3g} of a constant model",
        "Try a learning rate ten times larger or smaller, less regularisation, and standardised inputs",
        command=evidence.command("tune", "--search lr=1e-5:0.1:log"),
        value=share.mean,
        interval=share.interval,
    )


@rule("curves", "warning")
def overfit(evidence: Evidence) -> Seen | None:
    """The held-out loss rises while the training loss keeps falling, or it is worse than that of a constant model.

    A gap between the two is not enough: the best amount of regularisation leaves one.
    """
    if evidence.more_in_reach or not gap_text(evidence):
        return None
    rise, held_out, blank = rise_of(evidence), held_out_of(evidence), blank_of(evidence)
    if rise is not None and rise.train_fell > 0:
        message = (
            f"since epoch {rise.since} the held-out loss has risen by {rise.lost}, from {rise.level:.3g}, while "
            "the training loss kept falling"
        )
        value = rise.lost
    elif blank and held_out.exceeds((1 + LEARNT) * blank) and train_of(evidence).mean < blank:
        message = (
            f"the held-out loss, {held_out}, is above the {blank:.3g} of a constant model, and {gap_text(evidence)}"
        )
        value = evidence.gap
    else:
        return None
    more = "a wider search can tell" if evidence.searched else "a search can tell how much"
    return Seen(
        message,
        f"Use more regularisation, augmentation or data, or stop earlier; {more}",
        command=evidence.command("tune"),
        value=value.mean,
        interval=value.interval,
    )


@rule("curves", "info")
def gap_left(evidence: Evidence) -> Seen | None:
    """The held-out loss is above the training loss, which is normal even with the best regularisation."""
    if not (seen := gap_text(evidence)) or overfit(evidence) is not None:
        return None
    reach = ", although the search could have chosen more regularisation" * evidence.more_in_reach
    if evidence.more_in_reach:
        advice = "Within what was searched, this amount is best: other regularisers, augmentation or more data may help"
    elif evidence.searched:
        advice = "A gap alone does not mean overfitting: a wider search can tell whether more regularisation helps"
    else:
        advice = "A gap alone does not mean overfitting: a search can tell whether more regularisation helps"
    return Seen(
        f"{seen}{reach}",
        advice,
        command="" if evidence.searched else evidence.command("tune"),
        value=evidence.gap.mean,
        interval=evidence.gap.interval,
    )


@rule("curves", "warning")
def underfit(evidence: Evidence) -> Seen | None:
    """Both losses are similar and high."""
    gap, train = evidence.gap, train_of(evidence).mean
    blank = blank_of(evidence)
    if not blank or nothing_learnt(evidence) or train < FITTED * blank:
        return None
    if not abs(gap.mean) + 2 * (gap.error or 0.0) < APART * train or _falls_in_training(evidence, train):
        return None
    return Seen(
        f"training and held-out loss are similar ({train:.3g}, {gap} apart) and high: the network does not overfit",
        "A larger network, less regularisation or better inputs may help; if none does, the rest is noise",
        command=evidence.command("tune", "--search width=64,256", "--search depth=1:4:int"),
        value=gap.mean,
        interval=gap.interval,
    )


@rule("curves", "warning")
def peaked_at_once(evidence: Evidence) -> Seen | None:
    """The best epoch is one of the first, and all later ones are worse."""
    curves = [curve.held_out for curve in evidence.sound if len(curve.held_out) >= FEWEST]
    if not curves or (best := statistics.median(map(best_epoch, curves))) > AT_ONCE:
        return None
    rise = statistics.median(curve[-1] - min(curve) for curve in curves)
    if rise <= max(APART * size_of(evidence, statistics.fmean(map(min, curves))), floor_of(evidence)):
        return None
    return Seen(
        f"the held-out loss was lowest after epoch {best:g}, too early to choose the best epoch precisely",
        "Lower lr, so that the best state falls between more evaluations, or regularise more",
        command=evidence.with_rate(0.1),
        value=best,
    )


@rule("curves", "warning")
def held_out_easier(evidence: Evidence) -> Seen | None:
    """The held-out loss is below the training loss although both are measured in evaluation mode."""
    if any(curve.as_logged for curve in evidence.sound):
        return None
    gap, train = evidence.gap, train_of(evidence).mean
    lead = Estimate(-gap.mean, gap.error)
    if not lead.exceeds(0.0) or not lead.mean > max(APART * size_of(evidence, train), floor_of(evidence)):
        return None
    return Seen(
        f"the held-out loss is {lead} below the training loss, although both are measured in evaluation "
        f"mode{'' if lead.error is not None else UNSURE}",
        "Check how the rows were split: not at random, or with groups that are easier than others (groups=)",
        value=gap.mean,
        interval=gap.interval,
    )


def _rises(curve: Sequence[float]) -> bool:
    """Say whether values rise from the first on, by more than their scatter and than is next to nothing."""
    low, high = min(curve), max(curve)
    enough = len(curve) >= FEWEST // 2 and high - low > LEARNT * max(abs(low), abs(high))
    return (
        enough
        and best_epoch(curve) <= AT_ONCE
        and curve[-1] - curve[0] > max(MOSTLY * (high - low), 3 * scatter(curve))
    )


def _stands_still(curve: Curve) -> bool:
    """Say whether no loss moves; that of training rows alone may have been fitted in the first epoch."""
    ends = [(min(losses), max(losses)) for losses in (curve.train, curve.held_out) if len(losses) >= FEWEST]
    return len(ends) == 2 and all(high - low <= STILL * max(abs(low), abs(high)) for low, high in ends)


def _falls_in_training(evidence: Evidence, level: float) -> bool:
    """Say whether the training loss of the states that were kept was still falling."""
    curves = [curve.train[: curve.place + 1] for curve in evidence.sound]
    return min(map(len, curves)) < FEWEST or statistics.fmean(map(still_to_fall, curves)) > FALLING * level
