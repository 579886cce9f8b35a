"""The temperature of probabilities that a mixture gives: a mean of models is less sure than it should be.

Legend: ``n`` rows, ``C`` classes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from meden.diagnosis.calibration import HOTTEST, LIKELY

Array = NDArray[np.float64]
FLOOR = 1e-7
"""Of a probability, so that a class which was said to be impossible does not cost infinity."""
SPREAD = LIKELY / 2
"""Standard deviation of log T that is expected of a mixture, whose weights were chosen by the log loss."""
MOST_STEPS = 60
"""Of the search; each halves the range at least where Newton's step leaves it."""


def tempered(probabilities: Array, temperature: float) -> Array:
    """Return probabilities to the power of one over a temperature, over their sum, (n, C); none is 0.

    Example:
        >>> tempered(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
        [[0.667, 0.333]]
    """
    logs = np.log(np.maximum(probabilities, FLOOR)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    found = np.maximum(powers / powers.sum(axis=1, keepdims=True), FLOOR)
    whole: Array = found / found.sum(axis=1, keepdims=True)
    return whole


def mixture_temperature(
    probabilities: Array, labels: NDArray[np.int64], weights: Array | None = None, spread: float = SPREAD
) -> float:
    """Return the temperature T by which the log loss of rows is least, with a prior towards 1.

    The sum over rows of ``-log`` of the true class's probability plus ``(log T / spread)^2 / 2`` is least, which is
    found by Newton's steps on ``log(1 / T)``, and by halving where these fail. Few rows hardly move it from 1.

    Args:
        probabilities: (n, C), of rows that the mixture's models were not trained on; those below 1e-7 count as that.
        labels: positions of the true classes, (n,).
        weights: what each row counts, (n,), 1 in the mean; None for 1 each.
        spread: standard deviation of log T that is expected; infinite for none.

    Returns:
        T, from 0.01 to 100: above 1 makes probabilities less sure.

    Example:
        >>> probabilities = np.full((4000, 2), [0.9, 0.1])
        >>> round(mixture_temperature(probabilities, np.repeat([0, 0, 0, 1], 1000)), 1)
        2.0

    Reference:
        C. Guo, G. Pleiss, Y. Sun and K. Weinberger, On calibration of modern neural networks, 2017.
    """
    logs = np.log(np.maximum(probabilities, FLOOR))
    logs = logs - logs[np.arange(len(logs)), labels][:, None]  # of the true class 0
    counted = np.ones(len(logs)) if weights is None else weights
    low, high, place = -math.log(HOTTEST), math.log(HOTTEST), 0.0
    for _ in range(MOST_STEPS):
        slope, bend = _slopes(logs, counted, place, spread)
        low, high = (place, high) if slope < 0 else (low, place)
        step = place - slope / bend if bend > 0 else math.inf
        after = step if low < step < high else (low + high) / 2
        if abs(after - place) < 1e-9:
            break
        place = after
    return math.exp(-place)


def _slopes(logs: Array, counted: Array, place: float, spread: float) -> tuple[float, float]:
    """Return the first and second derivative of what is least by log(1 / T)."""
    scaled = logs * math.exp(place)
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    mean = (powers * scaled).sum(axis=1)
    spread_of = (powers * scaled**2).sum(axis=1) - mean**2
    slope, prior = float(counted @ mean), spread**-2
    return slope + prior * place, float(counted @ spread_of) + slope + prior
