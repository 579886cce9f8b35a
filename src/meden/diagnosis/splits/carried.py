"""What the curves of folds show of honesty: weights that were not new, and scores that had chosen the epoch."""

from __future__ import annotations

import math
import statistics

from meden.diagnosis.evidence import Curve, Evidence
from meden.diagnosis.finding import Seen
from meden.diagnosis.rule import rule

ALPHA = 0.05
"""Chance that folds of new weights have a first one that stands out; that they pass the next two, too, is far rarer."""
DONE, LEFT = 0.5, 0.3
"""Of what the first fold learns each later one has done more than the first share when its own first epoch ends, and
learns less than the second one after it. More rows, and so steps, in the first epoch of later folds do the first."""
LEARNT = 0.1
"""Of its first loss the first fold must learn so much: of less there is nothing to carry."""
SAME = 1e-6
"""Two losses that differ by this share are one number."""
DIGITS = 6
"""Significant digits that a loss must have for its equal not to be a coincidence of rounding."""


@rule("honesty", "error")
def weights_carried(evidence: Evidence) -> Seen | None:
    """Later folds start from trained weights, which have seen the rows they are scored on.

    The training loss of the first epoch is compared: folds of new weights could be in any order, so that the first
    differs from the mean of the others by no more than chance (Student's t for a new observation, one-sided); and each
    would learn about as much as the first. It takes three folds in the order in which they were trained.
    """
    folds = _first_of_each_fold(evidence)
    if len(folds) < 3:
        return None
    from scipy.stats import t

    first, *later = [curve.train[0] for curve in folds]
    fall = first - min(folds[0].train)
    if not fall > LEARNT * abs(first):
        return None
    done = [(first - loss) / fall for loss in later]
    mean, spread, num = statistics.fmean(done), statistics.stdev(done), len(done)
    freedom = num - 1
    chance = float(t.sf(mean / max(spread * math.sqrt(1 + 1 / num), math.ulp(1.0)), freedom))
    left = max(curve.train[0] - min(curve.train) for curve in folds[1:]) / fall
    if chance > ALPHA or min(done) < DONE or left > LEFT:
        return None
    reach = float(t.ppf(0.975, freedom)) * spread / math.sqrt(num)
    return Seen(
        f"after one epoch the training loss of the first fold is {first:.3g}, that of the later folds "
        f"{statistics.fmean(later):.3g}: they start with {100 * mean:.0f} % of what it learns in "
        f"{len(folds[0].train)} epochs, so weights were carried over from fold to fold and have been fitted to the "
        "rows they are scored on",
        "Create a new model and a new optimizer in each fold",
        "meden tune DATA --target COLUMN",
        mean,
        (mean - reach, mean + reach),
    )


@rule("honesty", "error")
def stop_loss_scored(evidence: Evidence) -> Seen | None:
    """The reported loss is a loss of the stop split: the same rows chose the epoch and score it."""
    scored = [curve for curve in evidence.sound if curve.scored is not None and curve.held_out]
    same = [curve for curve in scored if _is_of_stop_rows(curve)]
    if not same or (len(same) < 2 and _digits(same[0].scored or 0.0) < DIGITS):
        return None
    return Seen(
        f"the score of {len(same)} of {len(scored)} runs equals a loss of their stop split digit for digit "
        f"({same[0].scored:.6g}): the rows that chose the epoch also give the score",
        "Score on rows that decided nothing",
        "meden tune DATA --target COLUMN",
        len(same) / len(scored),
    )


def _first_of_each_fold(evidence: Evidence) -> list[Curve]:
    """Return the first run of each fold, in the order in which they come."""
    found: dict[object, Curve] = {}
    for place, curve in enumerate(evidence.sound):
        found.setdefault((place,) if curve.fold is None else curve.fold, curve)
    return list(found.values())


def _is_of_stop_rows(curve: Curve) -> bool:
    assert curve.scored is not None
    return any(abs(loss - curve.scored) <= SAME * abs(loss) for loss in (min(curve.held_out), curve.held_out[-1]))


def _digits(number: float) -> int:
    """Return significant digits, as the shortest text of a number has them."""
    mantissa = repr(float(number)).split("e")[0].replace("-", "").replace(".", "")
    return len(mantissa.strip("0"))
