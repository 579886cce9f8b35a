"""Tables of cases: one line here and a new member of a family is tested like all the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meden import EarlyStopping, Recipe, Regularizer, Schedule, StrengthSchedule
from meden.augment import FeatureMask, Jitter, LabelSmoothing, Mixup, SwapNoise
from meden.optim import Averaging
from meden.penalties import (
    L1,
    L2,
    MCP,
    SCAD,
    Box,
    ElasticNet,
    GroupLasso,
    GroupMCP,
    HierarchicalLasso,
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
from meden.penalties.compose import AtScale

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


def under(w: np.ndarray, num_skip: int, bound: float) -> np.ndarray:
    """0 for rows whose last numbers are at most so many times the norm of the first ones."""
    return limit((np.abs(w[:, num_skip:]) <= bound * rows(w[:, :num_skip])[:, None] * (1 + 1e-9)).all(1))


def clipped(w: np.ndarray, num_skip: int, bound: float) -> np.ndarray:
    most = bound * rows(w[:, :num_skip])[:, None]
    return np.concatenate([w[:, :num_skip], np.clip(w[:, num_skip:], -most, most)], axis=1)


@dataclass(frozen=True)
class OneSided(Penalty):
    """strength * sum max(w, 0), as a user would write it: a plain dataclass that knows nothing of populations."""

    strength: float
    separable = convex = has_prox = metric = True
    smooth = is_constraint = False

    def value(self, w: Tensor) -> Tensor:
        return self.strength * w.relu().sum()

    def grad(self, w: Tensor) -> Tensor:
        return self.strength * (w > 0).to(w.dtype)

    def prox(self, w: Tensor, step: float | Tensor) -> Tensor:
        return torch.where(w > step * self.strength, w - step * self.strength, w.clamp(max=0)).to(w.dtype)


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
    PenaltyCase(
        "HierarchicalLasso",
        lambda s: HierarchicalLasso(s, num_skip=2, bound=0.7),
        lambda w, s: s * 2**0.5 * rows(w[:, :2]) + under(w, 2, 0.7),
        shape=(4, 5),
        inside=lambda w, _: clipped(w, 2, 0.7),
    ),
    PenaltyCase(
        "HierarchicalLasso, one skip weight",
        lambda s: HierarchicalLasso(s, bound=2.0, size_weighted=False),
        lambda w, s: s * rows(w[:, :1]) + under(w, 1, 2.0),
        shape=(3, 4),
        inside=lambda w, _: clipped(w, 1, 2.0),
    ),
    PenaltyCase(
        "HierarchicalLasso, linear",
        lambda s: HierarchicalLasso(s, num_skip=3, bound=0.0),
        lambda w, s: s * 3**0.5 * rows(w[:, :3]) + under(w, 3, 0.0),
        shape=(3, 4),
        inside=lambda w, _: clipped(w, 3, 0.0),
    ),
    PenaltyCase("GroupMCP", GroupMCP, lambda w, s: mcp(rows(w), s * 3**0.5, 3.0)),
    PenaltyCase(
        "GroupMCP, columns, steps beyond gamma",
        lambda s: GroupMCP(s, gamma=0.4, dim=1, size_weighted=False),
        lambda w, s: mcp(rows(w.T), s, 0.4),
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
    PenaltyCase("a user's own", OneSided, lambda w, s: s * np.maximum(w, 0)),
    PenaltyCase("Scaled", lambda s: Scaled(ElasticNet(2.0), s), lambda w, s: s * (np.abs(w) + w**2 / 2)),
    PenaltyCase("AtScale", lambda s: AtScale(L1(s), 0.5), lambda w, s: s * np.abs(0.5 * w)),
]

# --- Populations ----------------------------------------------------------------------------------------------------


class Each(tuple):
    """A setting with a value of its own for each member."""


@dataclass(frozen=True)
class PopulationCase:
    """Recipes that may train in one stack: what they share, and what each member has of its own."""

    name: str
    fields: dict[str, Any]
    """Of the recipe; an :class:`Each` of three where members differ."""
    regularizers: Callable[[float], list[Regularizer]] = lambda _: []
    """Of a strength."""
    strengths: tuple[float, ...] = (1e-3, 1e-2, 0.1)
    batch_norm: bool = False
    double: bool = True
    """Whether in float64: rounding is not to be blown up where a gradient's sign is all that counts."""

    def __str__(self) -> str:
        return self.name

    def recipes(self) -> list[Recipe]:
        """Return the three recipes."""
        shared = {"epochs": 10, "batch_size": 8, "lr": Each((0.003, 0.01, 0.03))} | self.fields
        own = [{k: v[i] if isinstance(v, Each) else v for k, v in shared.items()} for i in range(3)]
        return [Recipe(**f, regularizers=self.regularizers(s)) for f, s in zip(own, self.strengths, strict=True)]


SCHEDULES = Each((Schedule(kind="cosine", warmup_epochs=2), Schedule(), Schedule(kind="step", every=3, decay=0.5)))
RAMP, LATE = StrengthSchedule(end=30), StrengthSchedule(kind="jump", start=20)

POPULATIONS = [
    PopulationCase("sgd", {"optimizer": "sgd"}, double=False),
    PopulationCase(
        "sgd, L1 and L2, momenta",
        {"optimizer": "sgd", "momentum": Each((0.0, 0.5, 0.9))},
        lambda s: [Regularizer(L1(s)), Regularizer(L2(s))],
    ),
    PopulationCase(
        "sgd, elastic net in the loss, nesterov, schedules",
        {"optimizer": "sgd", "momentum": Each((0.3, 0.6, 0.9)), "nesterov": True, "schedule": SCHEDULES},
        lambda s: [Regularizer(ElasticNet(s, l1_ratio=s), coupling="loss")],
        double=False,
    ),
    PopulationCase(
        "sgd, groups in a ball, dropout, clipping",
        {"optimizer": "sgd", "dropout": Each((0.0, 0.3, 0.6)), "clip_norm": Each((0.1, 0.5, 10.0))},
        lambda s: [Regularizer(GroupLasso(s)), Regularizer(MaxNorm(1 + s), on="*.weight")],
    ),
    PopulationCase(
        "sgd, late L2 and decaying L1, one cycle, batch norm",
        {"optimizer": "sgd", "schedule": "one_cycle", "momentum": 0.9},
        lambda s: [
            Regularizer(L2(s), schedule=LATE),
            Regularizer(L1(s), on="biases", coupling="gradient", schedule=StrengthSchedule(end=40, first=1, last=0)),
        ],
        batch_norm=True,
    ),
    PopulationCase(
        "sgd, decoupled L1 and L2",
        {"optimizer": "sgd", "dropout": 0.4},
        lambda s: [Regularizer(L2(s), coupling="decoupled"), Regularizer(L1(s), on="all", coupling="decoupled")],
    ),
    PopulationCase(
        "sgd, signs, bounds, sparse rows",
        {"optimizer": "sgd", "momentum": 0.5, "batch_size": "full", "epochs": 50},
        lambda s: [
            Regularizer(L1(s)),
            Regularizer(NonNegative(), on="1.weight"),
            Regularizer(Box(-s, 10 * s), on="biases"),
        ],
    ),
    PopulationCase(
        "sgd, matrices",
        {"optimizer": "sgd"},
        lambda s: [
            Regularizer(Nuclear(s), on="1.weight"),
            Regularizer(Orthogonality(s), on="4.weight", coupling="loss"),
            Regularizer(SpectralNorm(1 + s), on="7.weight"),
            Regularizer(UnitNorm(), on="4.weight"),
        ],
    ),
    PopulationCase(
        "adamw, decoupled L2, dropout of three shapes",
        {"dropout": Each((0.1, 0.2, 0.5)), "dropout_shape": Each(("linear", "constant", "funnel"))},
        lambda s: [Regularizer(L2(s))],
        double=False,
    ),
    PopulationCase(
        "adam, MCP with a ramp",
        {"optimizer": "adam"},
        lambda s: [Regularizer(MCP(s, gamma=2 + s), schedule=RAMP)],
    ),
    PopulationCase(
        "adam, a user's own penalty, by prox and in the loss, and in a sum",
        {"optimizer": "adam", "dropout": Each((0.0, 0.1, 0.2))},
        lambda s: [
            Regularizer(OneSided(s), on="*.weight"),
            Regularizer(OneSided(s / 2), on="biases", coupling="loss", schedule=RAMP),
            Regularizer(Sum((OneSided(s), L2(s))), on="4.weight", coupling="gradient"),
        ],
    ),
    PopulationCase(
        "adamw, decoupled SCAD, LogSum in the gradient, schedules",
        {"schedule": SCHEDULES, "betas": (0.8, 0.95), "eps": 1e-6},
        lambda s: [
            Regularizer(SCAD(s), coupling="decoupled"),
            Regularizer(LogSum(s, epsilon=0.1 + s), coupling="gradient"),
        ],
    ),
    PopulationCase(
        "adamw, pulled to the start",
        {"clip_norm": Each((0.05, 0.5, 5.0))},
        lambda s: [Regularizer(PullTo(L2(s)), coupling="loss"), Regularizer(PullTo(L1(s)), on="all")],
    ),
    PopulationCase(
        "adamw, elastic net, batch norm, plateau, early stopping",
        {
            "schedule": Each([Schedule(kind="plateau", every=n, decay=0.3) for n in (1, 2, 3)]),
            "early_stopping": Each((EarlyStopping(patience=2), None, EarlyStopping(patience=4, min_delta=0.01))),
            "lr": Each((0.05, 0.1, 0.2)),
        },
        lambda s: [Regularizer(ElasticNet(s))],
        batch_norm=True,
    ),
    PopulationCase(
        "adam, groups in the optimizer's metric",
        {"optimizer": "adam"},
        lambda s: [Regularizer(SparseGroupLasso(s, l1_ratio=0.1 + s), on="1.weight")],
    ),
    PopulationCase(
        "sgd, units across tensors beside single numbers, momenta",
        {"optimizer": "sgd", "momentum": Each((0.0, 0.5, 0.9))},
        lambda s: [Regularizer(GroupLasso(s), groups="units"), Regularizer(L1(s)), Regularizer(L2(s), on="biases")],
        strengths=(1e-3, 1e-2, 0.05),
        batch_norm=True,
    ),
    PopulationCase(
        "adam, units and inputs across tensors in the optimizer's metric, rates of their own, averages",
        {
            "optimizer": "adam",
            "lr_factors": Each([{"biases": a, "1.*": 1 / a} for a in (0.5, 1.0, 3.0)]),
            "averaging": Each([Averaging(decay=decay) for decay in (0.5, 0.9, 0.99)]),
        },
        lambda s: [
            Regularizer(GroupMCP(s, gamma=2 + s), groups="units", schedule=RAMP),
            Regularizer(SparseGroupLasso(s, l1_ratio=0.1 + s), groups="inputs"),
        ],
    ),
    PopulationCase(
        "rmsprop, units across tensors in the loss, the gradient and by decay",
        {"optimizer": "rmsprop", "dropout": Each((0.1, 0.0, 0.3))},
        lambda s: [
            Regularizer(GroupLasso(s), groups="units", coupling="loss"),
            Regularizer(Sum((GroupLasso(s), L2(s))), "4.*", groups="units", coupling="gradient"),
            Regularizer(PullTo(GroupLasso(s)), groups="units", coupling="decoupled"),
        ],
    ),
    PopulationCase(
        "adamw, units in a ball, decayed at rates of their own, pulled to the start",
        {"lr_factors": Each([{"biases": a, "1.*": 1 / a} for a in (0.5, 1.0, 3.0)])},
        lambda s: [
            Regularizer(MaxNorm(1 + s), groups="units"),
            Regularizer(PullTo(GroupLasso(s)), groups="units", coupling="decoupled"),
        ],
        double=False,
    ),
    PopulationCase(
        "adam, a strength for each layer",
        {"optimizer": "adam"},
        lambda s: [
            Regularizer(L1(1e-3), on="1.weight"),
            Regularizer(L1(s), on="4.weight"),
            Regularizer(L2(s), coupling="gradient"),
        ],
    ),
    PopulationCase(
        "adamw, sums and multiples",
        {},
        lambda s: [
            Regularizer(Sum((L1(s), L2(1.0))), schedule=StrengthSchedule(kind="cosine", end=40)),
            Regularizer(Scaled(GroupLasso(1.0), s), on="4.weight", coupling="gradient"),
        ],
        double=False,
    ),
    PopulationCase(
        "rmsprop, L1, momenta, exponential",
        {"optimizer": "rmsprop", "momentum": Each((0.0, 0.5, 0.8)), "schedule": Schedule(kind="exponential")},
        lambda s: [Regularizer(L1(s)), Regularizer(L2(s), coupling="gradient")],
    ),
    PopulationCase(
        "rmsprop, low rank by one step, batch norm, dropout",
        {"optimizer": "rmsprop", "alpha": 0.9, "dropout": Each((0.1, 0.0, 0.3))},
        lambda s: [Regularizer(Nuclear(s), on="5.weight"), Regularizer(L2(s), coupling="decoupled", schedule=RAMP)],
        batch_norm=True,
    ),
    PopulationCase(
        "adamw, mixtures of rows, smooth labels, moving average, dropout",
        {
            "augment": Each([(Mixup(a), SwapNoise(a / 4), LabelSmoothing(a / 5)) for a in (0.0, 0.2, 1.0)]),
            "averaging": Each([Averaging(decay=decay) for decay in (0.5, 0.9, 0.99)]),
            "dropout": Each((0.0, 0.1, 0.3)),
        },
        lambda s: [Regularizer(L2(s))],
    ),
    PopulationCase(
        "adamw, R-Drop and rates of their own, pulled and decayed at them",
        {
            "dropout": Each((0.1, 0.2, 0.4)),
            "rdrop": Each((0.0, 0.5, 2.0)),
            "lr_factors": Each([{"biases": a, "1.*": 1 / a} for a in (0.5, 1.0, 3.0)]),
            "steps_per_epoch": 7,
        },
        lambda s: [Regularizer(L2(s)), Regularizer(PullTo(L1(s)), on="biases"), Regularizer(MaxNorm(1 + s))],
    ),
    PopulationCase(
        "sgd, noise in the table, averages of either kind, early stopping",
        {
            "optimizer": "sgd",
            "augment": Each([(Jitter(a), FeatureMask(a / 2), LabelSmoothing(a)) for a in (0.05, 0.2, 0.5)]),
            "averaging": Each((Averaging(kind="swa", start=0.5), Averaging(), Averaging(kind="swa", start=0.2))),
            "early_stopping": Each((None, EarlyStopping(patience=3), None)),
            "epochs": Each((10, 12, 11)),
        },
        lambda s: [Regularizer(L1(s))],
    ),
]
