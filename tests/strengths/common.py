"""Sizes, and how far a solution is from the minimum of the canonical objective.

Legend: ``X`` (n, d) inputs, ``y`` (n,) targets, ``w`` (d,) weights without intercept unless said.
"""

from __future__ import annotations

import numpy as np

from meden.strengths import Strength, convert

N, B, D = 60, 15, 4


def residual(gradient: np.ndarray, w: np.ndarray, strength: Strength) -> float:
    """How far the canonical objective is from stationary at w: the smallest subgradient's largest entry."""
    pull = gradient + strength.l2 * w
    at_zero = np.maximum(np.abs(pull) - strength.l1, 0.0)
    return float(np.max(np.where(w == 0, at_zero, np.abs(pull + strength.l1 * np.sign(w)))))


def half_mse_gradient(X, y, w):
    return X.T @ (X @ w - y) / len(y)


def log_loss_gradient(X, y, w, weights=None):
    return (
        X.T
        @ ((1 / (1 + np.exp(-X @ w)) - y) * (np.ones(len(y)) if weights is None else weights))
        / (len(y) if weights is None else weights.sum())
    )


def canonical(value, source, **given) -> Strength:
    result = convert(value, source=source, to="canonical", **given)
    assert isinstance(result, Strength)
    return result
