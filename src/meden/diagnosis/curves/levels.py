"""Levels of the losses of runs, and which differences are next to nothing."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from meden.diagnosis.curves.shape import FEWEST, best_epoch, scatter
from meden.diagnosis.evidence import Estimate, Evidence

LEARNT = 0.02
"""Of the loss to begin with: who fell by less has learnt nothing, and smaller differences are none."""
APART = 0.1
"""Losses are apart when they differ by this share of the larger one."""
FITTED = 0.1
"""Below this share of the loss of a constant model the training rows are fitted."""
FAR = 0.25
"""Above this share of it there is a way to go."""
FALLING = 0.02
"""A curve still falls if a quarter of its epochs more would take off this share."""
UNSURE = " (there is only one set of held-out rows, so the uncertainty is unknown)"


@dataclass(frozen=True)
class Rise:
    """How much higher the held-out loss is, in the state that was kept, than at its lowest."""

    lost: Estimate
    level: float
    """At its lowest."""
    since: int
    """Epoch of that, from 1."""
    train_fell: float
    """What the training loss fell by since then, up to the state that was kept."""


def is_signed(evidence: Evidence) -> bool:
    """Say whether some loss is below 0, as log densities are: shares of such a loss mean nothing."""
    blank = evidence.blank or 0.0
    return min([blank, *(loss for curve in evidence.sound for loss in (*curve.train, *curve.held_out))]) < 0


def blank_of(evidence: Evidence) -> float | None:
    """Return the loss of a constant model; None where it is not known, or none to take shares of."""
    return None if is_signed(evidence) else evidence.blank


def size_of(evidence: Evidence, level: float) -> float:
    """Return what shares of a loss are taken of: the loss, or where losses have signs the range that they fell by."""
    if not is_signed(evidence):
        return level
    return statistics.fmean(max(curve.train) - min(curve.train) for curve in evidence.sound)


def start_of(evidence: Evidence) -> float:
    """Return the loss to compare with: of a constant model, or where that is not known of the first epoch."""
    return blank_of(evidence) or size_of(evidence, statistics.fmean(curve.train[0] for curve in evidence.sound))


def floor_of(evidence: Evidence) -> float:
    """Return the difference of losses that is next to nothing."""
    return LEARNT * start_of(evidence)


def train_of(evidence: Evidence) -> Estimate:
    """Return the training loss of the states that were kept."""
    return evidence.estimate(lambda curve: curve.train_loss)


def held_out_of(evidence: Evidence) -> Estimate:
    """Return their held-out loss."""
    return evidence.on_held_out(lambda curve: curve.held_out_loss)


def gap_text(evidence: Evidence) -> str:
    """Return what is seen of the held-out loss above the training loss; nothing where it is not clearly above."""
    gap, held_out = evidence.gap, held_out_of(evidence).mean
    if not gap.exceeds(0.0) or not gap.mean > max(APART * size_of(evidence, held_out), floor_of(evidence)):
        return ""
    sure = "" if gap.error is not None else UNSURE
    return f"the held-out loss, {held_out:.3g}, is {gap} above the training loss{sure}"


def rise_of(evidence: Evidence) -> Rise | None:
    """Return how far the held-out loss rose up to the states that were kept; None if it did not, beyond its scatter."""
    watched = tuple(curve for curve in evidence.sound if len(curve.held_out) >= FEWEST // 2)
    if not watched:
        return None
    lost = Evidence(watched).estimate(lambda curve: curve.held_out[curve.place] - min(curve.held_out))
    level = statistics.fmean(min(curve.held_out) for curve in watched)
    noise = statistics.fmean(scatter(curve.held_out) for curve in watched)
    if not lost.exceeds(max(APART * size_of(evidence, level), 3 * noise, floor_of(evidence))):
        return None
    since = round(statistics.median(best_epoch(curve.held_out) for curve in watched))
    fell = statistics.fmean(curve.train[best_epoch(curve.held_out) - 1] - curve.train_loss for curve in watched)
    return Rise(lost, level, since, fell)
