"""How strong the noise is over the depth of a network and over the time of training: pure functions of numbers.

Over depth a function returns one level per layer, first layer first. Over time it returns a factor in [0, 1] for the
fraction of the training that is done, ``t`` from 0 to 1: ``layer.set_level(p * cosine_ramp(t))``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from meden._checks import check_count, check_number


def constant_depth(p: float, num_layers: int) -> list[float]:
    """Return p for every layer."""
    return [p for _ in _layers(num_layers)]


def linear_depth(p: float, num_layers: int) -> list[float]:
    """Return p k / n for layer k of n: little at first, p at the last.

    Example:
        >>> linear_depth(0.4, 4)
        [0.1, 0.2, 0.30000000000000004, 0.4]

    Reference:
        G. Huang and others, Deep networks with stochastic depth, 2016.
    """
    return [p * k / num_layers for k in _layers(num_layers)]


def logistic_depth(alpha: float, num_layers: int) -> list[float]:
    """Return p(k) = 1 - 1 / (1 + exp(alpha (k - 1))) for layer k: a half at the first, growing if alpha > 0.

    Example:
        >>> [round(p, 3) for p in logistic_depth(1.0, 3)]
        [0.5, 0.731, 0.881]
    """
    check_number("alpha", alpha)
    return [1 - 1 / (1 + math.exp(alpha * (k - 1))) for k in _layers(num_layers)]


def funnel_depth(p: float, num_layers: int) -> list[float]:
    """Return p (n - k + 1) / n for layer k of n: p at the first, less and less towards the last.

    Example:
        >>> funnel_depth(0.4, 2)
        [0.4, 0.2]
    """
    return linear_depth(p, num_layers)[::-1]


def diamond_depth(p: float, num_layers: int) -> list[float]:
    """Return levels that grow evenly to p in the middle of the network and fall evenly from there.

    Example:
        >>> diamond_depth(0.5, 3)
        [0.25, 0.5, 0.25]
    """
    half = (num_layers + 1) // 2
    return [p * min(k, num_layers - k + 1) / half for k in _layers(num_layers)]


DEPTH_SHAPES: Mapping[str, Callable[[float, int], list[float]]] = {
    "constant": constant_depth,
    "linear": linear_depth,
    "funnel": funnel_depth,
    "diamond": diamond_depth,
}
"""Those with one largest level p."""


def early_phase(t: float, switch: float = 0.5) -> float:
    """Return 1 until the fraction ``switch`` of the training, then 0.

    Reference:
        Z. Liu, Z. Xu, J. Jin, Z. Shen, T. Darrell, Dropout reduces underfitting, 2023.
    """
    return float(_fraction("t", t) < _fraction("switch", switch))


def late_phase(t: float, switch: float = 0.5) -> float:
    """Return 0 until the fraction ``switch`` of the training, then 1."""
    return 1.0 - early_phase(t, switch)


def linear_ramp(t: float) -> float:
    """Return t: from none to all, evenly."""
    return _fraction("t", t)


def cosine_ramp(t: float) -> float:
    """Return (1 - cos(pi t)) / 2: from none to all, level at both ends."""
    return (1 - math.cos(math.pi * _fraction("t", t))) / 2


def _layers(num_layers: int) -> range:
    check_count("num_layers", num_layers)
    return range(1, num_layers + 1)


def _fraction(name: str, value: float) -> float:
    check_number(name, value, low=0.0, high=1.0)
    return float(value)
