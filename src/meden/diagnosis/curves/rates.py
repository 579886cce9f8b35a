"""Rules on learning rates that are too high or too low."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from meden.diagnosis.curves.levels import FALLING, LEARNT, blank_of, floor_of, size_of, start_of, train_of
from meden.diagnosis.curves.shape import FEWEST, scatter, surely_falls, tail
from meden.diagnosis.evidence import Evidence
from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule

NOISY = 0.1
"""A training loss that jumps by this share from epoch to epoch is unstable."""
THROWN = 1.5
"""Times the loss of a constant model: a network that is worse by so much on the rows it learns from, after a pass or
more over them, was thrown there by its steps."""
STEADY = 0.5
"""A curve whose second half falls by so much of what its first half does is far from where it goes."""
JITTER = 0.003
"""Share of the loss of a constant model by which a training loss that learns nothing jumps from epoch to epoch, where
steps are too large to settle: ten times what other networks that learn nothing do (docs/log.md)."""
UNTOUCHED = 0.5
"""Share of the loss of a constant model that a run has left which has not come half of the way."""
SMOOTH = 0.95
"""Share of the epochs that go down in a fall without a jump."""


@rule("curves", "warning")
def unstable(evidence: Evidence) -> Seen | None:
    """The training loss jumps from epoch to epoch."""
    if min((len(curve.train) for curve in evidence.sound), default=0) < FEWEST:
        return None
    jumps = evidence.estimate(lambda curve: scatter(tail(curve.train, 2)))
    level = evidence.estimate(lambda curve: statistics.fmean(tail(curve.train, 2))).mean
    if not jumps.exceeds(max(NOISY * size_of(evidence, level), floor_of(evidence))):
        return None
    return Seen(
        f"the training loss, {level:.3g} on average, jumps by {jumps} from epoch to epoch",
        "Lower lr, let it decay (schedule='cosine'), set clip_norm, or use larger batches",
        command=evidence.with_rate(0.1, "--set schedule=cosine"),
        value=jumps.mean,
        interval=jumps.interval,
    )


@rule("curves", "warning")
def rate_too_high(evidence: Evidence) -> Seen | None:
    """The training loss jumps far above that of a constant model, or keeps jumping there."""
    blank, sound = blank_of(evidence), evidence.sound
    if not blank or not sound:
        return None
    times = evidence.estimate(lambda curve: max(curve.train) / blank)
    jumps = evidence.estimate(lambda curve: scatter(tail(curve.train, 2)) / blank)
    level = evidence.estimate(lambda curve: statistics.fmean(tail(curve.train, 2)) / blank)
    if times.exceeds(THROWN):
        when = round(statistics.median(int(np.argmax(curve.train)) + 1 for curve in sound))
        told = (
            f"after epoch {when} the training loss was {times} times that of a constant model: single steps throw the "
        )
        told += "network off"
    elif min(len(curve.train) for curve in sound) >= FEWEST and level.mean > 1 - LEARNT and jumps.exceeds(JITTER):
        told = f"the training loss stays at {level} times that of a constant model, and jumps from epoch to epoch by "
        told += f"{jumps.mean:.2g} times that: the steps are too large to converge"
    else:
        return None
    return Seen(
        told,
        "Divide lr by ten, or start with small steps (a schedule with warmup_epochs)",
        command=evidence.with_rate(0.1),
        value=times.mean,
        interval=times.interval,
    )


@rule("curves", "warning")
def rate_too_low(evidence: Evidence) -> Seen | None:
    """Both losses fall slowly and steadily from the first epoch to the last, far from convergence."""
    curves = [losses for curve in evidence.sound for losses in (curve.train, curve.held_out)]
    if not curves or min(map(len, curves)) < FEWEST:
        return None
    if any(curve.place + 1 < len(curve.train) for curve in evidence.sound):
        return None  # it has got as far as it went on new rows
    level = size_of(evidence, train_of(evidence).mean)
    if level < UNTOUCHED * start_of(evidence) or not all(_falls_steadily(curve) for curve in curves):
        return None
    late = evidence.estimate(lambda curve: curve.train[len(curve.train) // 2] - curve.train[-1])
    if not late.exceeds(FALLING * level):
        return None
    return Seen(
        f"the training loss falls steadily from the first epoch to the last of {max(map(len, curves))}, by {late} "
        f"in the second half, and is still {train_of(evidence)}",
        "Multiply lr by ten, or search it: with steps this small, training takes many times more epochs",
        command=evidence.with_rate(10),
        value=late.mean,
        interval=late.interval,
    )


def _falls_steadily(curve: Sequence[float]) -> bool:
    falls = -np.diff(curve)
    half = len(curve) // 2
    first, second = curve[0] - curve[half], curve[half] - curve[-1]
    return bool((falls > 0).mean() >= SMOOTH) and surely_falls(curve) and second >= STEADY * first > 0
