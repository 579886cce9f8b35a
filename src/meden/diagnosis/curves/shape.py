"""The shape of a curve: how far it scatters, falls, and would still fall.

Legend: ``E`` epochs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

LAST = 4
"""Parts of a curve, of which the last one shows whether it still falls."""
FEWEST = 8
"""Epochs that a slope, or a jump, takes to stand out from chance."""
SURELY = 3.0
"""A slope of so many standard errors is one: about one in a hundred without any at ten epochs, by Student's t."""
BESIDE = 2
"""Epochs to either side that say what a curve is like where it is lowest."""


def best_epoch(curve: Sequence[float]) -> int:
    """Return the epoch of the lowest value, from 1."""
    return int(np.argmin(curve)) + 1


def tail(curve: Sequence[float], parts: int) -> Sequence[float]:
    """Return the last of so many parts, of four epochs at least."""
    return curve[-max(FEWEST // 2, len(curve) // parts) :]


def scatter(curve: Sequence[float]) -> float:
    """Return the standard deviation of a curve about a smooth one, from its second differences.

    A straight line has none; white noise of standard deviation s has second differences of s sqrt(6).
    """
    return float(np.median(np.abs(np.diff(curve, 2)))) / 0.6745 / math.sqrt(6) if len(curve) > 2 else 0.0


def line(curve: Sequence[float]) -> tuple[float, float]:
    """Return slope and its standard error, by least squares, of the last part of a curve."""
    y = np.asarray(tail(curve, LAST))
    x = np.arange(len(y)) - (len(y) - 1) / 2
    slope = float(x @ y / (x @ x))
    left = y - y.mean() - slope * x
    return slope, math.sqrt(float(left @ left) / max(1, len(y) - 2) / float(x @ x))


def surely_falls(curve: Sequence[float]) -> bool:
    """Say whether the last part of a curve falls by more than its scatter explains."""
    slope, error = line(curve)
    return slope / max(error, math.ulp(1.0)) < -SURELY


def still_to_fall(curve: Sequence[float]) -> float:
    """Return what a quarter of the epochs more would take off, if falls go on shrinking as they did."""
    num = len(tail(curve, LAST))
    fall, before = (-line(part)[0] * len(curve) / LAST for part in (curve, curve[:-num]))
    return fall * min(1.0, fall / before) if before > 0 else fall


def flattered(curve: Sequence[float]) -> float:
    """Return by how much the lowest value of a curve is below those beside it, its own left out."""
    place = best_epoch(curve) - 1
    beside = [*curve[max(0, place - BESIDE) : place], *curve[place + 1 : place + 1 + BESIDE]]
    return float(np.mean(beside)) - curve[place] if beside else 0.0
