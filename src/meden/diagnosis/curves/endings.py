"""Rules on when runs ended, and which state they kept."""

from __future__ import annotations

import statistics

import numpy as np

from meden.diagnosis.curves.levels import APART, FALLING, FAR, FITTED, floor_of, rise_of, size_of, start_of
from meden.diagnosis.curves.rates import rate_too_low
from meden.diagnosis.curves.shape import FEWEST, flattered, scatter, still_to_fall, surely_falls
from meden.diagnosis.evidence import Curve, Evidence
from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule

WASTED = 0.5
"""Share of the epochs after the best one that is more than it takes to see that no better one comes."""
ENOUGH = 20
"""Epochs after the best one that are always enough to see that."""


@rule("curves", "warning")
def kept_too_late(evidence: Evidence) -> Seen | None:
    """An earlier epoch was better than the one that was kept."""
    if (rise := rise_of(evidence)) is None:
        return None
    return Seen(
        f"the held-out loss was {rise.level:.3g} after epoch {rise.since}, and is {rise.lost} higher in the state that "
        "was kept",
        "Set early_stopping in the recipe, which keeps the best state, or regularise more",
        command=_with_patience(evidence, 10),
        value=rise.lost.mean,
        interval=rise.lost.interval,
    )


@rule("curves", "warning")
def unfinished(evidence: Evidence) -> Seen | None:
    """The held-out loss was still falling when the run ended."""
    if any(curve.place + 1 < len(curve.train) for curve in evidence.sound) or rate_too_low(evidence) is not None:
        return None
    if (fall := _fall(evidence)) is None:
        return None
    num = max(len(curve.train) for curve in evidence.sound)
    return Seen(
        f"after {num} epochs the held-out loss is still falling: at this rate, a quarter more epochs would lower "
        f"it by another {fall:.2g}",
        "Train for more epochs (stretching a decaying schedule over them), or with a larger lr",
        command=evidence.command("fit", f"--set epochs={2 * num}"),
        value=fall,
    )


@rule("curves", "warning")
def stopped_too_early(evidence: Evidence) -> Seen | None:
    """Early stopping ended the run while the held-out loss, apart from its scatter, was still falling."""
    plan, sound = evidence.plan, evidence.sound
    if plan.patience is None or not any(_ran_out(curve, plan.epochs, plan.patience) for curve in sound):
        return None
    stopped = [curve for curve in sound if _ran_out(curve, plan.epochs, plan.patience)]
    if len(stopped) <= len(sound) / 2 or (fall := _fall(Evidence(tuple(stopped), evidence.blank), FAR)) is None:
        return None
    num = round(statistics.median(len(curve.train) for curve in stopped))
    return Seen(
        f"after {num} epochs a patience of {plan.patience} ended the run although the held-out loss, apart from "
        f"its scatter, was still falling: a quarter more epochs would lower it by another {fall:.2g}",
        "Use a larger patience, so that chance does not end the run",
        command=_with_patience(evidence, max(10, 4 * plan.patience)),
        value=fall,
    )


@rule("curves", "info")
def stopped_late(evidence: Evidence) -> Seen | None:
    """Most epochs came after the best one and were wasted."""
    curves = [curve for curve in evidence.sound if curve.held_out]
    if not curves:
        return None
    wasted = statistics.median(len(curve.train) - curve.place - 1 for curve in curves)
    share = evidence.estimate(lambda curve: 1 - (curve.place + 1) / len(curve.train))
    if wasted <= ENOUGH or not share.exceeds(WASTED):
        return None
    return Seen(
        f"{100 * share.mean:.0f} % of the epochs, {wasted:g} in the median, came after the one that was kept",
        "A smaller patience gives the same result in less time",
        command=_with_patience(evidence, 10),
        value=share.mean,
        interval=share.interval,
    )


@rule("curves", "warning")
def noisy_validation(evidence: Evidence) -> Seen | None:
    """The held-out loss scatters so much from epoch to epoch that the kept epoch is chosen by chance.

    That is beyond what the number of its rows explains: the loss of another epoch is farther away than that of other
    rows.
    """
    chosen = [c for c in evidence.sound if len(c.held_out) >= FEWEST and c.place + 1 < len(c.train) and _is_best(c)]
    if not chosen:
        return None
    flattery = Evidence(tuple(chosen)).estimate(lambda curve: flattered(curve.held_out))
    level = statistics.fmean(min(curve.held_out) for curve in chosen)
    noise = statistics.fmean(scatter(curve.held_out) for curve in chosen)
    rows = statistics.fmean(curve.scored_error or 0.0 for curve in chosen)
    apart = APART * size_of(evidence, level)
    if not flattery.exceeds(max(apart, noise, floor_of(evidence))) or noise <= max(apart, rows):
        return None
    return Seen(
        f"the held-out loss scatters by {noise:.2g} from epoch to epoch, around {level + flattery.mean:.3g}: the "
        f"kept epoch is partly chosen by chance, which makes its loss look {flattery} better",
        "Average the weights (averaging='ema'), let lr decay (schedule='cosine'), or hold out more rows",
        command=evidence.command("fit", "--set averaging=ema", "--set schedule=cosine"),
        value=flattery.mean,
        interval=flattery.interval,
    )


def _fall(evidence: Evidence, goal: float = FITTED) -> float | None:
    """Return what a quarter of the epochs more would take off the held-out loss; None where it is not worth it.

    Losses below a share ``goal`` of a constant model's are low: what is worth it is counted from there.
    """
    curves = [curve.held_out for curve in evidence.sound if curve.held_out]
    if not curves or min(map(len, curves)) < FEWEST:
        return None
    fall = statistics.fmean(map(still_to_fall, curves))
    level = max(size_of(evidence, statistics.fmean(curve[-1] for curve in curves)), goal * start_of(evidence))
    return fall if fall >= FALLING * level and sum(map(surely_falls, curves)) > len(curves) / 2 else None


def _ran_out(curve: Curve, epochs: int | None, patience: int) -> bool:
    """Say whether it was patience that ended a run, and not its last epoch."""
    num = len(curve.train)
    return num - curve.place - 1 == patience and (epochs is None or num < epochs)


def _is_best(curve: Curve) -> bool:
    return curve.place == int(np.argmin(curve.held_out))


def _with_patience(evidence: Evidence, patience: int) -> str:
    return evidence.command("fit", f"--set 'early_stopping={{patience: {patience}}}'")
