"""Rules on the curves of runs.

Thresholds are shares of a loss, which has no natural unit; each is named here and is a matter of judgement, while
what counts as more than chance is two standard errors wherever the evidence has them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from meden.diagnosis.evidence import Estimate, Evidence
from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule

LEARNT = 0.02
"""Of the loss to begin with: who fell by less has learnt nothing, and smaller differences are none."""
APART = 0.1
"""Losses are apart when they differ by this share of the larger one."""
FITTED = 0.1
"""Below this share of the loss of a constant answer the training rows are fitted."""
NOISY = 0.1
"""A training loss that jumps by this share from epoch to epoch is unstable."""
FALLING = 0.02
"""A curve still falls if a quarter of its epochs more would take off this share."""
LAST = 4
"""Parts of a curve, of which the last one shows whether it still falls."""
FEWEST = 8
"""Epochs that a slope, or a jump, takes to stand out from chance."""
AT_ONCE = 2
"""A best epoch up to this one came at once."""
RULING = 3.0
"""Penalties of so many times the data loss rule it."""
UNSURE = " (one set of held-out rows, so how sure this is remains unknown)"


@rule("curves", "error")
def diverged(evidence: Evidence) -> Seen | None:
    """Some run has no result."""
    lost = [curve.lost for curve in evidence.curves if curve.lost]
    if not lost:
        return None
    return Seen(
        f"{len(lost)} of {len(evidence.curves)} runs came to nothing ({lost[0]})",
        "Lower lr, or set clip_norm in the recipe, and check that inputs and targets are standardised",
        value=len(lost) / len(evidence.curves),
    )


@rule("curves", "error")
def nothing_learnt(evidence: Evidence) -> Seen | None:
    """The training loss is that of a constant answer, or above it."""
    if not evidence.blank:
        return None
    share = evidence.estimate(lambda curve: curve.train_loss / (evidence.blank or math.nan))
    if not share.mean >= 1 - LEARNT:  # or not known
        return None
    how = "above" if share.mean > 1 + LEARNT else "hardly below"
    return Seen(
        f"the training loss, {_train(evidence)}, is {how} the {evidence.blank:.3g} of a constant answer",
        "Try lr ten times larger and ten times smaller, less regularisation, and inputs that are standardised",
        value=share.mean,
        interval=share.interval,
    )


@rule("curves", "warning")
def unstable(evidence: Evidence) -> Seen | None:
    """The training loss jumps from epoch to epoch."""
    if min((len(curve.train) for curve in evidence.sound), default=0) < FEWEST:
        return None
    jumps = evidence.estimate(lambda curve: _scatter(_tail(curve.train, 2)))
    level = evidence.estimate(lambda curve: statistics.fmean(_tail(curve.train, 2))).mean
    if not jumps.exceeds(max(NOISY * level, _floor(evidence))):
        return None
    return Seen(
        f"from epoch to epoch the training loss, {level:.3g} in the mean, jumps by {jumps}",
        "Lower lr, let it decay (schedule='cosine'), set clip_norm, or use larger batches",
        value=jumps.mean,
        interval=jumps.interval,
    )


@rule("curves", "warning")
def overfit(evidence: Evidence) -> Seen | None:
    """The held-out loss is above the training loss, and nobody has seen that more regularisation does not pay."""
    if evidence.more_in_reach or not (seen := _gap(evidence)):
        return None
    more = "a search that reaches further tells" if evidence.searched else "how much of it `meden tune` finds"
    advice = f"More regularisation, augmentation or rows may pay, and {more}"
    return Seen(
        seen,
        f"{advice}; the gap by itself says nothing, since the best amount leaves one",
        value=evidence.gap.mean,
        interval=evidence.gap.interval,
    )


@rule("curves", "info")
def gap_left(evidence: Evidence) -> Seen | None:
    """The held-out loss is above the training loss where a search has found the best amount, which leaves a gap."""
    if not evidence.more_in_reach or not (seen := _gap(evidence)):
        return None
    return Seen(
        f"{seen}, and more regularisation was in reach of the search",
        "Of what was searched, this much does best: other kinds, augmentation or more rows may pay",
        value=evidence.gap.mean,
        interval=evidence.gap.interval,
    )


def _gap(evidence: Evidence) -> str:
    """Return what is seen of the held-out loss above the training loss; nothing where it is not clearly above."""
    gap, held_out = evidence.gap, _held_out(evidence).mean
    if not gap.exceeds(0.0) or not gap.mean > max(APART * held_out, _floor(evidence)):
        return ""
    sure = "" if gap.error is not None else UNSURE
    return f"the held-out loss, {held_out:.3g}, is {gap} above the training loss{sure}"


@rule("curves", "warning")
def kept_too_late(evidence: Evidence) -> Seen | None:
    """An earlier epoch was better than the one that was kept."""
    stopped = tuple(curve for curve in evidence.sound if len(curve.held_out) >= FEWEST // 2)
    if not stopped:
        return None
    lost = Evidence(stopped).estimate(lambda curve: curve.held_out[curve.place] - min(curve.held_out))
    level = statistics.fmean(min(curve.held_out) for curve in stopped)
    noise = statistics.fmean(_scatter(curve.held_out) for curve in stopped)
    if not lost.exceeds(max(APART * level, 3 * noise, _floor(evidence))):
        return None
    best = round(statistics.median(_best_epoch(curve.held_out) for curve in stopped))
    return Seen(
        f"the held-out loss was {level:.3g} after epoch {best}, and is {lost} higher in the state that was kept",
        "Set early_stopping in the recipe, which keeps the best state, or regularise more",
        value=lost.mean,
        interval=lost.interval,
    )


@rule("curves", "warning")
def unfinished(evidence: Evidence) -> Seen | None:
    """The held-out loss was still falling when the run ended."""
    curves = [curve.held_out for curve in evidence.sound if curve.held_out]
    if not curves or min(map(len, curves)) < FEWEST or any(c.place + 1 < len(c.train) for c in evidence.sound):
        return None
    fall = statistics.fmean(map(_still_to_fall, curves))
    level = max(statistics.fmean(curve[-1] for curve in curves), FITTED * _start(evidence))
    surely = sum(_slope_in_errors(curve) < -3 for curve in curves)
    if fall < FALLING * level or surely <= len(curves) / 2:
        return None
    return Seen(
        f"after {max(map(len, curves))} epochs the held-out loss still falls: as it does, a quarter of them more would "
        f"take off another {fall:.2g}",
        "Train for more epochs (with a decaying schedule that is laid out over them), or with a larger lr",
        value=fall,
    )


@rule("curves", "warning")
def underfit(evidence: Evidence) -> Seen | None:
    """Both losses are alike, and high."""
    gap, train = evidence.gap, _train(evidence).mean
    if not evidence.blank or nothing_learnt(evidence) or train < FITTED * evidence.blank:
        return None
    if not abs(gap.mean) + 2 * (gap.error or 0.0) < APART * train or _falls_in_training(evidence, train):
        return None
    return Seen(
        f"training and held-out loss are alike ({train:.3g}, {gap} apart) and high: overfitting costs nothing",
        "A larger network, less regularisation or better inputs may pay; if none does, what is left is noise",
        value=gap.mean,
        interval=gap.interval,
    )


@rule("curves", "warning")
def peaked_at_once(evidence: Evidence) -> Seen | None:
    """The best epoch is one of the first, and what follows is worse."""
    curves = [curve.held_out for curve in evidence.sound if len(curve.held_out) >= FEWEST]
    if not curves or (best := statistics.median(map(_best_epoch, curves))) > AT_ONCE:
        return None
    rise = statistics.median(curve[-1] - min(curve) for curve in curves)
    if rise <= max(APART * statistics.fmean(map(min, curves)), _floor(evidence)):
        return None
    return Seen(
        f"the held-out loss was lowest after epoch {best:g}, too early for whole epochs to show when to stop",
        "Lower lr, so that the best state is met more finely, or regularise more",
        value=best,
    )


@rule("curves", "warning")
def held_out_easier(evidence: Evidence) -> Seen | None:
    """The held-out loss is below the training loss, both in evaluation mode: in training mode it usually is."""
    if any(curve.as_logged for curve in evidence.sound):
        return None
    gap, train = evidence.gap, _train(evidence).mean
    lead = Estimate(-gap.mean, gap.error)
    if not lead.exceeds(0.0) or not lead.mean > max(APART * train, _floor(evidence)):
        return None
    return Seen(
        f"the held-out loss is {lead} below the training loss, though both are taken in evaluation mode"
        f"{'' if lead.error is not None else UNSURE}",
        "Look at how the rows were split: not at random, or groups apart that are easier than others (groups=)",
        value=gap.mean,
        interval=gap.interval,
    )


@rule("strength", "warning")
def penalties_rule(evidence: Evidence) -> Seen | None:
    """The penalties outweigh the data loss."""
    times = evidence.estimate(lambda curve: curve.penalties / max(curve.train_loss, math.ulp(1.0)))
    if not times.exceeds(RULING) or _train(evidence).mean < FITTED * _start(evidence):
        return None
    return Seen(
        f"the penalties are {times.mean:.2g} times the data loss",
        "Lower their strengths: "
        + ("let the search reach lower" if evidence.searched else "`meden tune` searches them from none upwards"),
        value=times.mean,
        interval=times.interval,
    )


def _start(evidence: Evidence) -> float:
    """Return the loss to compare with: of a constant answer, or where that is not known of the first epoch."""
    return evidence.blank or statistics.fmean(curve.train[0] for curve in evidence.sound)


def _floor(evidence: Evidence) -> float:
    """Return the difference of losses that is next to nothing."""
    return LEARNT * _start(evidence)


def _train(evidence: Evidence) -> Estimate:
    return evidence.estimate(lambda curve: curve.train_loss)


def _held_out(evidence: Evidence) -> Estimate:
    return evidence.estimate(lambda curve: curve.held_out_loss)


def _best_epoch(curve: Sequence[float]) -> int:
    return int(np.argmin(curve)) + 1


def _tail(curve: Sequence[float], parts: int) -> Sequence[float]:
    return curve[-max(FEWEST // 2, len(curve) // parts) :]


def _scatter(curve: Sequence[float]) -> float:
    """Return the standard deviation of a curve about a smooth one, from its second differences.

    A straight line has none; white noise of standard deviation s has second differences of s sqrt(6).
    """
    return float(np.median(np.abs(np.diff(curve, 2)))) / 0.6745 / math.sqrt(6) if len(curve) > 2 else 0.0


def _line(curve: Sequence[float]) -> tuple[float, float]:
    """Return slope and its standard error, by least squares, of the last part of a curve."""
    y = np.asarray(_tail(curve, LAST))
    x = np.arange(len(y)) - (len(y) - 1) / 2
    slope = float(x @ y / (x @ x))
    left = y - y.mean() - slope * x
    return slope, math.sqrt(float(left @ left) / max(1, len(y) - 2) / float(x @ x))


def _slope_in_errors(curve: Sequence[float]) -> float:
    slope, error = _line(curve)
    return slope / max(error, math.ulp(1.0))


def _still_to_fall(curve: Sequence[float]) -> float:
    """Return what a quarter of the epochs more would take off, if falls go on shrinking as they did."""
    num = len(_tail(curve, LAST))
    fall, before = (-_line(part)[0] * len(curve) / LAST for part in (curve, curve[:-num]))
    return fall * min(1.0, fall / before) if before > 0 else fall


def _falls_in_training(evidence: Evidence, level: float) -> bool:
    """Say whether the training loss of the states that were kept was still falling."""
    curves = [curve.train[: curve.place + 1] for curve in evidence.sound]
    return min(map(len, curves)) < FEWEST or statistics.fmean(map(_still_to_fall, curves)) > FALLING * level
