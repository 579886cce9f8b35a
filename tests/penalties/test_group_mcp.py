"""The proximal operator of GroupMCP against brute force, for steps on both sides of gamma."""

import numpy as np
import pytest
import torch
from torch import Tensor

from meden.penalties import MCP, GroupLasso, GroupMCP
from tests.contracts import mcp

GRID = np.stack(np.meshgrid(np.linspace(-3, 3, 301), np.linspace(-3, 3, 301)), axis=-1)


def cases(num: int, decades: float) -> tuple[Tensor, Tensor]:
    """Return points of the plane, and steps about 1."""
    generator = torch.Generator().manual_seed(0)
    w = 1.2 * torch.randn(num, 2, generator=generator, dtype=torch.float64)
    return w, 10 ** (decades * (torch.rand(num, 2, generator=generator, dtype=torch.float64) - 0.5))


@pytest.mark.parametrize("gamma", [0.3, 1.0, 3.0, 1e6])
@pytest.mark.parametrize("decades", [0.1, 1.0, 4.0])
def test_a_step_for_each_coordinate_reaches_the_best_point_of_the_plane(gamma: float, decades: float) -> None:
    w, step = cases(60, decades)
    p = GroupMCP(0.7, gamma=gamma, size_weighted=False).prox(w, step).numpy()

    def cost(z: np.ndarray, x: np.ndarray, s: np.ndarray) -> np.ndarray:
        return mcp(np.sqrt((z**2).sum(-1)), 0.7, gamma) + ((z - x) ** 2 / (2 * s)).sum(-1)

    for point, x, s in zip(p, w.numpy(), step.numpy(), strict=True):
        here = cost(point, x, s)
        assert here <= cost(GRID, x, s).min() + 1e-12
        around = point + np.random.default_rng(0).normal(size=(50, 2)) * [[1e-4], [1e-6]][0]
        assert here <= cost(around, x, s).min() + 1e-14
    assert gamma > 1 or (p == w.numpy()).all(1).any()
    assert (p == 0).all(1).any() and ((p == 0).sum(1) != 1).all()


def test_equal_steps_are_one_step() -> None:
    w, _ = cases(200, 1.0)
    for step in (0.1, 1.0, 2.9, 3.1, 30.0):
        penalty = GroupMCP(0.7)
        torch.testing.assert_close(penalty.prox(w, torch.full_like(w, step)), penalty.prox(w, step))


def test_limits_are_the_group_lasso_and_mcp() -> None:
    w, step = cases(200, 2.0)
    torch.testing.assert_close(GroupMCP(0.5, gamma=1e9).prox(w, step), GroupLasso(0.5).prox(w, step))
    torch.testing.assert_close(GroupMCP(0.5).prox(w[:, :1], step[:, :1]), MCP(0.5).prox(w[:, :1], step[:, :1]))
    assert GroupMCP(0.5).strength_max(w) == GroupLasso(0.5).strength_max(w)
