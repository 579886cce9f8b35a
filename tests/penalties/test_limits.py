"""Penalties that must agree with each other in a limit, and with solvers that know nothing of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from sklearn.linear_model import Lasso
from torch import Tensor

from meden.penalties import (
    L1,
    L2,
    MCP,
    SCAD,
    Box,
    ElasticNet,
    GroupLasso,
    Groups,
    LogSum,
    MaxNorm,
    NonNegative,
    Penalty,
    PullTo,
    SparseGroupLasso,
    Sum,
)

W = 2 * torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
STEP = 0.1 + torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

SAME = [
    ("MCP of great gamma is L1", MCP(0.3, gamma=1e12), L1(0.3)),
    ("SCAD of great gamma is L1", SCAD(0.3, gamma=1e12), L1(0.3)),
    ("LogSum of great epsilon is L1", LogSum(0.3e7, epsilon=1e7), L1(0.3)),
    ("ElasticNet of ratio 1 is L1", ElasticNet(0.3, l1_ratio=1.0), L1(0.3)),
    ("ElasticNet of ratio 0 is L2", ElasticNet(0.3, l1_ratio=0.0), L2(0.3)),
    ("ElasticNet is a Sum", ElasticNet(0.4, l1_ratio=0.25), Sum((L2(0.3), L1(0.1)))),
    ("SparseGroupLasso without groups is L1", SparseGroupLasso(0.3, l1_ratio=1.0), L1(0.3)),
    ("SparseGroupLasso without L1 is GroupLasso", SparseGroupLasso(0.3, l1_ratio=0.0), GroupLasso(0.3)),
    (
        "SparseGroupLasso is a Sum",
        SparseGroupLasso(0.4, l1_ratio=0.25, size_weighted=False),
        Sum((L1(0.1), GroupLasso(0.3, size_weighted=False))),
    ),
    ("two L2 are one", Sum((L2(0.1), L2(0.2))), L2(0.3)),
    ("PullTo zero is the penalty", PullTo(GroupLasso(0.3), 0.0), GroupLasso(0.3)),
    ("NonNegative is a Box", NonNegative(), Box(0.0, 1e6)),
]


@pytest.mark.parametrize(("a", "b"), [pair[1:] for pair in SAME], ids=[pair[0] for pair in SAME])
def test_same_in_the_limit(a: Penalty, b: Penalty) -> None:
    close = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(a.value(W), b.value(W), **close)
    torch.testing.assert_close(a.grad(W), b.grad(W), **close)
    for step in (0.2, 1.5, STEP):
        torch.testing.assert_close(a.prox(W, step), b.prox(W, step), **close)


def test_groups_of_one_coordinate_are_l1() -> None:
    w, step = W[:, 0], STEP[:, 0]
    for chosen in (0.7, step):
        torch.testing.assert_close(GroupLasso(0.5).prox(w, chosen), L1(0.5).prox(w, chosen))
        torch.testing.assert_close(MaxNorm(0.5).prox(w, chosen), Box(-0.5, 0.5).prox(w, chosen))


def test_blocks_are_the_rows_of_a_tensor_in_heads() -> None:
    heads = W.reshape(3, 2, 4)
    for step, by_head in ((0.2, 0.2), (STEP, STEP.reshape(3, 2, 4))):
        blocks = GroupLasso(0.5, dim=0, block=2).prox(W, step)
        torch.testing.assert_close(blocks, GroupLasso(0.5).prox(heads, by_head).reshape(6, 4))
        outputs = GroupLasso(0.5, dim=1, block=2).prox(W.T, step.T if isinstance(step, Tensor) else step)
        torch.testing.assert_close(outputs, blocks.T)


def scales(decades: float, kind: str, shape: tuple[int, int]) -> Tensor:
    """Positive numbers over so many decades, at random or in equal ratios."""
    generator = torch.Generator().manual_seed(2)
    exponents = torch.rand(shape, dtype=torch.float64, generator=generator)
    if kind == "equal ratios":
        exponents = torch.linspace(0, 1, shape[1], dtype=torch.float64).expand(shape)
    return 10 ** (decades * (exponents - 0.5))


@pytest.mark.parametrize("kind", ["random", "equal ratios"])
@pytest.mark.parametrize("decades", [1.0, 4.0, 8.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_weighted_group_prox_agrees_with_brent(dtype: torch.dtype, decades: float, kind: str) -> None:
    shape = (40, 8)
    noise = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    step = scales(decades, kind, shape).to(dtype)
    w = (noise * scales(decades / 2, kind, shape) * torch.logspace(-1, 2, shape[0], dtype=torch.float64)[:, None]).to(
        dtype
    )
    got = GroupLasso(1.0, size_weighted=False).prox(w, step).double().numpy()
    kept = 0
    for x, s, z in zip(w.double().numpy(), step.double().numpy(), got, strict=True):
        if np.linalg.norm(x / s) <= 1:
            assert (z == 0).all()
            continue
        r = brentq(
            lambda r, x=x, s=s: np.linalg.norm(x / (s + r)) - 1, 0, np.linalg.norm(x) + 1, xtol=1e-15, rtol=1e-14
        )
        np.testing.assert_allclose(
            z, x * r / (s + r), rtol=0, atol=(1e-9 if dtype == torch.float64 else 1e-6) * max(1, abs(x).max())
        )
        kept += 1
    assert 5 < kept < 40 or decades == 8


@pytest.mark.parametrize("decades", [1.0, 4.0, 8.0])
def test_weighted_ball_projection_agrees_with_brent(decades: float) -> None:
    shape = (20, 8)
    w = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    step = scales(decades, "random", shape)
    got = MaxNorm(0.5).prox(w, step).numpy()
    for x, s, z in zip(w.numpy(), step.numpy(), got, strict=True):
        t = brentq(lambda t, x=x, s=s: np.linalg.norm(x / (1 + t * s)) - 0.5, 0, 1e12, xtol=1e-300, rtol=1e-14)
        np.testing.assert_allclose(z, x / (1 + t * s), atol=1e-9)


def test_root_is_the_root() -> None:
    groups, q, a = Groups(0), W.abs() + 0.1, STEP
    t = groups.root(q, a, 0.25)
    torch.testing.assert_close(groups.norm(q / (a + groups.spread(t, q))), torch.full((6,), 0.25, dtype=torch.float64))


@pytest.mark.parametrize("metric", [False, True], ids=["one step", "a step per coordinate"])
@pytest.mark.parametrize("penalty", [L1(0.1), MCP(0.1, gamma=1e9), SparseGroupLasso(0.1, l1_ratio=1.0)], ids=repr)
def test_proximal_gradient_reaches_the_lasso_of_scikit_learn(penalty: Penalty, metric: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 10))
    y = x[:, :3] @ [1.0, -2.0, 0.5] + 0.3 * rng.standard_normal(60)
    expected = Lasso(alpha=0.1, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(x, y).coef_
    data, target = torch.tensor(x), torch.tensor(y)
    step = 0.3 / torch.linspace(1, 4, 10, dtype=torch.float64)[:, None] if metric else 0.2
    w = torch.zeros(10, 1, dtype=torch.float64)
    for _ in range(700):
        w = penalty.prox(w - step * (data.T @ (data @ w - target[:, None])) / 60, step)
    np.testing.assert_allclose(w[:, 0], expected, atol=1e-9)
    assert ((w[:, 0].numpy() == 0) == (expected == 0)).all() and (expected == 0).any()


def test_the_projection_in_the_metric_solves_the_constrained_problem() -> None:
    # min norm(w - goal)^2 / 2 in the unit ball, by unequal steps: the Euclidean projection would stop elsewhere.
    goal, step = torch.tensor([[3.0, 4.0]], dtype=torch.float64), torch.tensor([[0.9, 0.1]], dtype=torch.float64)
    w = torch.zeros_like(goal)
    for _ in range(200):
        w = MaxNorm(1.0).prox(w - step * (w - goal), step)
    torch.testing.assert_close(w, goal / 5)


def test_starting_weights_are_bound_once_and_copied() -> None:
    start = torch.tensor([1.0, -2.0])
    penalty = Sum((PullTo(L2(1.0)), L1(0.5))).bind(start)
    assert penalty.value(start) == 1.5
    bound = penalty.bind(start + 1)
    start += 100
    assert bound.value(torch.tensor([1.0, -2.0])) == 1.5


def test_a_target_without_difference_is_hit_exactly() -> None:
    target = torch.randn(50)
    p = PullTo(L1(1.0), target).prox(target + 0.01 * torch.randn(50), 0.1)
    assert torch.equal(p, target)


def test_strength_max_of_sparse_group_lasso_lies_between_its_parts() -> None:
    assert SparseGroupLasso(1.0, l1_ratio=1.0).strength_max(W).item() == pytest.approx(W.abs().max().item())
    expected = GroupLasso(1.0).strength_max(W).item()
    assert SparseGroupLasso(1.0, l1_ratio=0.0).strength_max(W).item() == pytest.approx(expected)
    assert ElasticNet(1.0, l1_ratio=0.0).strength_max(W) == math.inf
    assert L1(1.0).strength_max(torch.zeros(0)) == 0
