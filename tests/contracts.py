"""Tables of cases: one line here and a new member of a family is tested like all the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from meden.penalties import (
    L1,
    L2,
    MCP,
    SCAD,
    Box,
    ElasticNet,
    GroupLasso,
    LogSum,
    MaxNorm,
    NonNegative,
    Nuclear,
    Orthogonality,
    Penalty,
    PullTo,
    Scaled,
    SparseGroupLasso,
    SpectralNorm,
    Sum,
    UnitNorm,
)

# --- Penalties ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PenaltyCase:
    """A penalty, and what an independent reading of its definition says about it."""

    name: str
    make: Callable[[Any], Penalty]
    """Penalty of a strength (of a radius or bound if it is a constraint): a number or a 0-d tensor."""
    terms: Callable[[np.ndarray, float], Any]
    """Terms whose sum is the value: for a separable penalty one for each coordinate, in its place."""
    shape: tuple[int, ...] = (2, 3)
    dual: Callable[[float], Penalty] | None = None
    """Its Fenchel conjugate, where that is one of ours: the two must satisfy the Moreau identity."""
    inside: Callable[[np.ndarray, float], np.ndarray] | None = None
    """For a constraint: a point of the set near any tensor (not the nearest)."""

    def __str__(self) -> str:
        return self.name


def rows(w: np.ndarray) -> np.ndarray:
    """Norms over all axes but the first."""
    return np.sqrt((w**2).reshape(len(w), -1).sum(1))


def limit(allowed: Any) -> np.ndarray:
    """0 where allowed, infinite elsewhere."""
    return np.where(allowed, 0.0, np.inf)


def mcp(w: np.ndarray, s: float, gamma: float) -> np.ndarray:
    a = np.abs(w)
    return np.where(a <= gamma * s, s * a - a**2 / (2 * gamma), gamma * s**2 / 2)


def scad(w: np.ndarray, s: float, gamma: float) -> np.ndarray:
    a = np.abs(w)
    bend = (2 * gamma * s * a - a**2 - s**2) / (2 * (gamma - 1))
    return np.where(a <= s, s * a, np.where(a <= gamma * s, bend, s**2 * (gamma + 1) / 2))


def singular(w: np.ndarray) -> np.ndarray:
    return np.linalg.svd(w.reshape(len(w), -1), compute_uv=False)


def ball(w: np.ndarray, s: float) -> np.ndarray:
    return w * np.minimum(1, s / np.maximum(rows(w), 1e-30))[:, None]


PENALTIES = [
    PenaltyCase("L1", L1, lambda w, s: s * np.abs(w), dual=lambda s: Box(-s, s)),
    PenaltyCase("L2", L2, lambda w, s: s / 2 * w**2, dual=lambda s: L2(1 / s)),
    PenaltyCase("ElasticNet", lambda s: ElasticNet(s, l1_ratio=0.3), lambda w, s: s * (0.3 * np.abs(w) + 0.35 * w**2)),
    PenaltyCase("MCP", MCP, lambda w, s: mcp(w, s, 3.0)),
    PenaltyCase("MCP, steps beyond gamma", lambda s: MCP(s, gamma=0.4), lambda w, s: mcp(w, s, 0.4)),
    PenaltyCase("SCAD", SCAD, lambda w, s: scad(w, s, 3.7)),
    PenaltyCase("SCAD, steps beyond gamma", lambda s: SCAD(s, gamma=1.2), lambda w, s: scad(w, s, 1.2)),
    PenaltyCase("LogSum", LogSum, lambda w, s: s * np.log(1 + np.abs(w) / 0.1)),
    PenaltyCase("LogSum, wide", lambda s: LogSum(s, epsilon=1.5), lambda w, s: s * np.log(1 + np.abs(w) / 1.5)),
    PenaltyCase(
        "Box",
        lambda s: Box(-s, 2 * s),
        lambda w, s: limit((w >= -s) & (w <= 2 * s)),
        inside=lambda w, s: np.clip(w, -s, 2 * s),
    ),
    PenaltyCase(
        "NonNegative",
        lambda _: NonNegative(),
        lambda w, _: limit(w >= 0),
        dual=lambda _: Box(-1e6, 0.0),
        inside=lambda w, _: np.abs(w),
    ),
    PenaltyCase("MaxNorm", MaxNorm, lambda w, s: limit(rows(w) <= s * (1 + 1e-9)), inside=ball),
    PenaltyCase(
        "MaxNorm, columns",
        lambda s: MaxNorm(s, dim=-1),
        lambda w, s: limit(rows(w.T) <= s * (1 + 1e-9)),
        inside=lambda w, s: ball(w.T, s).T,
    ),
    PenaltyCase(
        "UnitNorm",
        lambda _: UnitNorm(),
        lambda w, _: limit(np.abs(rows(w) - 1) < 1e-9),
        inside=lambda w, _: w / np.maximum(rows(w), 1e-30)[:, None],
    ),
    PenaltyCase(
        "GroupLasso",
        lambda s: GroupLasso(s, size_weighted=False),
        lambda w, s: s * rows(w),
        dual=lambda s: MaxNorm(s),
    ),
    PenaltyCase("GroupLasso, columns", lambda s: GroupLasso(s, dim=1), lambda w, s: s * 2**0.5 * rows(w.T)),
    PenaltyCase(
        "GroupLasso, blocks of rows",
        lambda s: GroupLasso(s, block=2),
        lambda w, s: s * 6**0.5 * rows(w.reshape(-1, 6)),
        shape=(6, 3),
    ),
    PenaltyCase(
        "GroupLasso, blocks of columns",
        lambda s: GroupLasso(s, dim=-1, block=2),
        lambda w, s: s * 6**0.5 * rows(w.T.reshape(2, 6)),
        shape=(3, 4),
    ),
    PenaltyCase(
        "GroupLasso, input channels of a filter",
        lambda s: GroupLasso(s, dim=1),
        lambda w, s: s * 8**0.5 * rows(w.swapaxes(0, 1)),
        shape=(4, 3, 2, 1),
    ),
    PenaltyCase(
        "SparseGroupLasso",
        lambda s: SparseGroupLasso(s, l1_ratio=0.4),
        lambda w, s: s * (0.4 * np.abs(w).sum(1) + 0.6 * 3**0.5 * rows(w)),
    ),
    PenaltyCase("Nuclear", Nuclear, lambda w, s: s * singular(w), dual=SpectralNorm),
    PenaltyCase("Nuclear, filters", Nuclear, lambda w, s: s * singular(w), shape=(4, 3, 2, 1)),
    PenaltyCase("Orthogonality", Orthogonality, lambda w, s: s * (w @ w.T - np.eye(2)) ** 2),
    PenaltyCase("Orthogonality, tall", Orthogonality, lambda w, s: s * (w.T @ w - np.eye(2)) ** 2, shape=(4, 2)),
    PenaltyCase(
        "SpectralNorm",
        SpectralNorm,
        lambda w, s: limit(singular(w) <= s * (1 + 1e-9)),
        inside=lambda w, s: w / max(1.0, singular(w)[0] / s),
    ),
    PenaltyCase("PullTo L1", lambda s: PullTo(L1(s), 0.5), lambda w, s: s * np.abs(w - 0.5)),
    PenaltyCase("PullTo GroupLasso", lambda s: PullTo(GroupLasso(s), -0.25), lambda w, s: s * 3**0.5 * rows(w + 0.25)),
    PenaltyCase("Sum, L1 and L2", lambda s: Sum((L2(s), L1(s))), lambda w, s: s * (np.abs(w) + w**2 / 2)),
    PenaltyCase(
        "Sum, four parts",
        lambda s: Sum((GroupLasso(s), NonNegative(), L2(s), L1(0.1))),
        lambda w, s: s * 3**0.5 * rows(w) + (0.1 * np.abs(w) + s / 2 * w**2 + limit(w >= 0)).sum(1),
    ),
    PenaltyCase(
        "Sum, L1 in a ball",
        lambda s: Sum((MaxNorm(s), L1(0.2))),
        lambda w, s: 0.2 * np.abs(w).sum(1) + limit(rows(w) <= s * (1 + 1e-9)),
    ),
    PenaltyCase(
        "Sum, Nuclear and L2",
        lambda s: Sum((Nuclear(s), L2(0.2))),
        lambda w, s: s * singular(w).sum() + 0.1 * (w**2).sum(),
    ),
    PenaltyCase(
        "Sum without prox",
        lambda s: Sum((Nuclear(s), L1(s))),
        lambda w, s: s * singular(w).sum() + s * np.abs(w).sum(),
    ),
    PenaltyCase("Scaled", lambda s: Scaled(ElasticNet(2.0), s), lambda w, s: s * (np.abs(w) + w**2 / 2)),
]
