"""The hierarchical lasso against brute force, the algorithm of its paper, and the group lasso that it becomes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from meden.penalties import GroupLasso, HierarchicalLasso

DOUBLE = {"dtype": torch.float64}


def drawn(groups: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(groups, size, generator=torch.Generator().manual_seed(seed), **DOUBLE)


def objective(z: np.ndarray, w: np.ndarray, step: np.ndarray, weight: float, num_skip: int) -> np.ndarray:
    """Of each row, without the bound."""
    return weight * np.linalg.norm(z[:, :num_skip], axis=1) + ((z - w) ** 2 / (2 * step)).sum(1)


def sorted_prox(v: np.ndarray, u: np.ndarray, weight: float, bound: float) -> np.ndarray:
    """One group, one step: the largest others that touch the bound are tried one number after the other."""
    length, sizes = np.linalg.norm(v), -np.sort(-np.abs(u))
    for num in range(len(u) + 1):
        norm = max(length - weight + bound * sizes[:num].sum(), 0) / (1 + num * bound**2)
        next_size = sizes[num] if num < len(u) else 0.0
        if bound * norm >= next_size:
            break
    return np.concatenate([v * norm / length, np.sign(u) * np.minimum(np.abs(u), bound * norm)])


@pytest.mark.parametrize("bound", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("step", [0.02, 0.6, 4.0])
def test_one_step_is_that_of_the_paper(bound, step):
    w = drawn(60, 9) * torch.linspace(0.1, 3.0, 60, **DOUBLE)[:, None]
    found = HierarchicalLasso(0.7, num_skip=3, bound=bound, size_weighted=False).prox(w, step)
    expected = [sorted_prox(row[:3], row[3:], 0.7 * step, bound) for row in w.numpy()]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("bound", [0.3, 10.0])
@pytest.mark.parametrize("decades", [0, 1, 2, 4])
def test_steps_of_their_own_are_the_best_of_all_norms_and_directions(bound, decades):
    """Two skip weights: every norm and angle of a fine grid, with the others as near as the norm allows."""
    w = drawn(25, 6, seed=1)
    step = 10 ** (decades * (torch.rand(w.shape, generator=torch.Generator().manual_seed(2), **DOUBLE) - 0.5))
    found = HierarchicalLasso(0.7, num_skip=2, bound=bound, size_weighted=False).prox(w, step).numpy()
    assert (np.abs(found[:, 2:]) <= bound * np.linalg.norm(found[:, :2], axis=1)[:, None] * (1 + 1e-12)).all()
    for z, row, own in zip(found, w.numpy(), step.numpy(), strict=True):
        norm, angle = np.meshgrid(np.geomspace(1e-4, 30, 1500), np.linspace(0, 2 * np.pi, 721))
        skip = np.stack([norm * np.cos(angle), norm * np.sin(angle)], axis=-1).reshape(-1, 2)
        others = np.clip(row[2:], *(side * bound * norm.reshape(-1, 1) for side in (-1, 1)))
        tried = np.concatenate([np.concatenate([skip, others], axis=1), np.zeros((1, 6))])
        best = objective(tried, row, own, 0.7, 2).min()
        assert objective(z[None], row, own, 0.7, 2)[0] <= best + 1e-12


def test_skip_weights_of_zero_come_back_where_the_network_pays_for_them():
    """There is no direction to prefer, so that any is a solution; the norm is not free."""
    w = torch.tensor([[0.0, 0.0, 2.0, -1.0], [0.0, 0.0, 0.1, 0.1]], **DOUBLE)
    penalty = HierarchicalLasso(1.0, num_skip=2, bound=1.0, size_weighted=False)
    for step in (0.5, torch.full(w.shape, 0.5, **DOUBLE)):
        found = penalty.prox(w, step)
        norm = torch.linalg.vector_norm(found[:, :2], dim=1)
        torch.testing.assert_close(norm, torch.tensor([2.5 / 3, 0.0], **DOUBLE))  # n - 0 + 0.5 = (2 - n) + (1 - n)
        assert not found[1].any()


def test_without_others_or_with_a_bound_of_zero_it_is_the_group_lasso():
    w, step = drawn(30, 4), 0.2 + drawn(30, 4, seed=3).abs()
    for chosen in (0.4, step):
        group = GroupLasso(0.6).prox(w, chosen)
        torch.testing.assert_close(HierarchicalLasso(0.6, num_skip=4).prox(w, chosen), group, rtol=1e-12, atol=1e-12)
        wide = [
            torch.cat([part, torch.ones(30, 2, **DOUBLE)], dim=1) if isinstance(part, Tensor) else part
            for part in (w, chosen)
        ]
        linear = HierarchicalLasso(0.6, num_skip=4, bound=0.0).prox(*wide)
        torch.testing.assert_close(linear[:, :4], group, rtol=1e-12, atol=1e-12)
        assert not linear[:, 4:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_over_four_decades_are_solved_to_rounding(dtype):
    w = drawn(400, 14, seed=4) * 10 ** drawn(400, 14, seed=5).clamp(-1, 1)
    step = 10 ** (4 * torch.rand(w.shape, generator=torch.Generator().manual_seed(6), **DOUBLE) - 2)
    penalty = HierarchicalLasso(300.0, num_skip=4, bound=2.0)
    found = penalty.prox(w.to(dtype), step.to(dtype)).double()
    skip, others = found[:, :4], found[:, 4:]
    norm, kept = torch.linalg.vector_norm(skip, dim=1), skip.any(dim=1)
    mu = ((w / found - 1) / step)[:, :4]  # alike in a group, where it is the solution for its norm
    pull = 2.0 * ((w[:, 4:].abs() - 2.0 * norm[:, None]).relu() / step[:, 4:]).sum(1)
    slope = 600.0 - (mu * norm[:, None]).mean(1) - pull
    scale = 600.0 + (mu * norm[:, None]).abs().amax(1) + pull
    assert 20 < kept.sum() < 400
    assert (slope / scale)[kept].abs().max() < (1e-11 if dtype == torch.float64 else 2e-3)
    torch.testing.assert_close(
        others, torch.clamp(w[:, 4:], -2 * norm[:, None], 2 * norm[:, None]), rtol=1e-5, atol=1e-6
    )
