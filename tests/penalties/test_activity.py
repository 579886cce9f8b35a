"""Activity penalties: formulas, gradients, the mean over the batch."""

from __future__ import annotations

import pytest
import torch
from torch.func import vmap

from meden.penalties import ActivityL1, ActivityL2, ActivityPenalty, KLSparsity

CASES = [ActivityL1(0.3), ActivityL2(0.3), KLSparsity(0.3, rho=0.1)]
every = pytest.mark.parametrize("penalty", CASES, ids=repr)

A = torch.sigmoid(torch.randn(5, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))


@every
def test_gradient(penalty: ActivityPenalty) -> None:
    assert torch.autograd.gradcheck(penalty.value, A.clone().requires_grad_())


@every
def test_a_batch_said_twice_costs_the_same(penalty: ActivityPenalty) -> None:
    torch.testing.assert_close(penalty.value(torch.cat([A, A])), penalty.value(A))


@every
def test_no_sample_no_error(penalty: ActivityPenalty) -> None:
    assert torch.isfinite(penalty.value(A[:0]))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_dtype(penalty: ActivityPenalty, dtype: torch.dtype) -> None:
    value = penalty.value(A.to(dtype))
    assert value.dtype == dtype
    torch.testing.assert_close(value.double(), penalty.value(A), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("make", [ActivityL1, ActivityL2, KLSparsity])
def test_vmap_over_strength(make: type[ActivityPenalty]) -> None:
    strengths = torch.tensor([0.1, 2.0], dtype=torch.float64)
    together = vmap(lambda s: make(s).value(A))(strengths)
    torch.testing.assert_close(together, torch.stack([make(s.item()).value(A) for s in strengths]))


def test_formulas() -> None:
    a = A.numpy()
    assert ActivityL1(0.3).value(A).item() == pytest.approx(0.3 * abs(a).sum() / 5)
    assert ActivityL2(0.3).value(A).item() == pytest.approx(0.15 * (a**2).sum() / 5)


def test_kl_is_the_divergence_of_two_coins() -> None:
    mean, wanted = A.mean(dim=0), torch.full((3, 2), 0.1, dtype=torch.float64)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Bernoulli(wanted), torch.distributions.Bernoulli(mean)
    ).sum()
    torch.testing.assert_close(KLSparsity(0.3, rho=0.1).value(A), 0.3 * expected)


def test_kl_of_a_dead_or_saturated_unit_is_finite() -> None:
    for a in (torch.zeros(4, 1), torch.ones(4, 1)):
        assert torch.isfinite(KLSparsity(1.0).value(a))
