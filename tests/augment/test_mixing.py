"""Mixtures against the definitions of their papers: distributions, expectations, counted pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from meden._checks import InputError
from meden.augment import CutMix, LabelSmoothing, Mixup, cutmix, label_smoothing, mixup, symmetric_beta
from meden.noise import Draws, stream

ALPHAS = [0.05, 0.2, 0.5, 1.0, 2.0, 8.0]


def draws(key: int = 0) -> Draws:
    return Draws(stream("mixing", key), torch.tensor(0))


def farthest(sample: torch.Tensor, alpha: float) -> float:
    """Largest distance of the distribution functions, away from the ends, where float32 ends too."""
    at = np.concatenate([ends := np.geomspace(1e-5, 0.1, 500), np.linspace(0.1, 0.9, 500), 1 - ends])
    return float(np.abs((sample.numpy()[:, None] <= at).mean(0) - stats.beta(alpha, alpha).cdf(at)).max())


@pytest.mark.parametrize("alpha", ALPHAS)
def test_symmetric_beta_is_the_beta_distribution(alpha: float) -> None:
    sample = symmetric_beta(draws(), 20_000, alpha).double()
    assert farthest(sample, alpha) < 1.95 / 20_000**0.5  # Kolmogorov's bound at one in a thousand
    assert sample.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_the_wrong_beta_is_told_apart() -> None:
    assert farthest(symmetric_beta(draws(), 20_000, 0.2).double(), 0.25) > 1.95 / 20_000**0.5


def test_symmetric_beta_at_its_limits() -> None:
    assert set(symmetric_beta(draws(), 1000, 0.0).tolist()) == {0.0, 1.0}
    assert (symmetric_beta(draws(), 1000, 1e9) - 0.5).abs().max() < 1e-3
    for alpha in (1e-30, 1e30):
        assert symmetric_beta(draws(), 1000, alpha).isfinite().all()


def test_mixup_is_a_mixture_with_the_row_before_with_the_same_share_in_x_and_y() -> None:
    eye = torch.eye(300)
    x, y = mixup(eye, eye, draws(), alpha=1.0)
    share = x.diagonal()
    torch.testing.assert_close(x, share[:, None] * eye + (1 - share)[:, None] * eye.roll(1, 0))
    assert torch.equal(x, y)
    assert stats.ks_1samp(share, stats.uniform(0.5, 0.5).cdf).pvalue > 1e-3  # the larger half of Beta(1, 1)


def test_mixup_keeps_the_mean_of_a_batch_and_shrinks_its_variance() -> None:
    x = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0)).double()
    x -= x.mean()
    mixed, y = mixup(x, x.squeeze(1), draws(), alpha=0.5)
    assert abs(mixed.mean().item()) < 0.01
    expected = 1 - 2 * (0.25 - 1 / (4 * (2 * 0.5 + 1)))  # E[lam^2 + (1 - lam)^2]
    assert (mixed.var() / x.var()).item() == pytest.approx(expected, rel=0.03)
    torch.testing.assert_close(mixed.squeeze(1), y)


def test_the_label_weights_of_cutmix_are_the_pixels() -> None:
    num = 400
    x = torch.arange(num, dtype=torch.float64)[:, None, None, None].expand(num, 2, 9, 13)
    mixed, y = cutmix(x, torch.eye(num), draws(), alpha=1.0)
    for row in range(num):
        for source in (row, (row - 1) % num):
            assert y[row, source].item() == pytest.approx((mixed[row] == source).double().mean().item(), abs=1e-6)
    torch.testing.assert_close(y.sum(1), torch.ones(num))


def test_the_boxes_of_cutmix_are_boxes_cut_off_at_the_border() -> None:
    num = 2000
    x = torch.arange(num, dtype=torch.float64)[:, None, None].expand(num, 16, 16)
    mixed, _ = cutmix(x, torch.eye(num), draws(), alpha=1.0)
    pasted = mixed != x
    rows, columns = pasted.any(2), pasted.any(1)
    assert torch.equal(pasted, rows[:, :, None] & columns[:, None, :])
    for line in (rows, columns):
        assert ((line[:, 1:] & ~line[:, :-1]).sum(1) + line[:, 0]).max() <= 1  # one run
    share = pasted.double().mean((1, 2))
    sides = torch.linspace(0, 1, 1001).sqrt()[:, None]
    centres = torch.linspace(0, 1, 1001)
    visible = (centres + sides / 2).clamp(max=1) - (centres - sides / 2).clamp(min=0)
    expected = visible.mean(1).square().mean().item()  # uniform area, both axes cut off
    assert share.mean().item() == pytest.approx(expected, abs=5 * (share.var().item() / num) ** 0.5)


def test_a_cutmix_of_one_side_only_would_fail_the_share() -> None:
    _, y = cutmix(torch.arange(50.0)[:, None, None].expand(50, 8, 8), torch.eye(50), draws(), alpha=1.0)
    assert 0.05 < (1 - y.diagonal()).mean() < 0.5


def test_label_smoothing_is_that_of_torch() -> None:
    logits, y = torch.randn(9, 4), torch.arange(9) % 4
    soft = label_smoothing(torch.nn.functional.one_hot(y, 4).float(), epsilon=0.2)
    torch.testing.assert_close(
        torch.nn.functional.cross_entropy(logits, soft),
        torch.nn.functional.cross_entropy(logits, y, label_smoothing=0.2),
    )
    torch.testing.assert_close(label_smoothing(torch.tensor([1.0, 0.0]), epsilon=0.2), torch.tensor([0.9, 0.1]))


def test_targets_of_regression_and_of_tokens_are_mixed_too() -> None:
    x = torch.randn(6, 3)
    for y in (torch.randn(6), torch.randn(6, 2), torch.rand(6, 5, 4)):
        assert mixup(x, y, draws(), alpha=1.0)[1].shape == y.shape
        assert cutmix(x[:, :, None], y, draws(), alpha=1.0)[1].shape == y.shape


@pytest.mark.parametrize(
    ("augmentation", "x", "task", "message"),
    [
        (CutMix(), torch.zeros(9, 4), "classification", r"x must have shape \(n, H, W\) or \(n, C, H, W\) for CutMix"),
        (Mixup(), torch.full((9, 4), torch.nan), "regression", "finite before Mixup, got 36 missing"),
        (
            Mixup(),
            torch.zeros(9, 4, dtype=torch.int64),
            "classification",
            "floating-point numbers for Mixup, got int64",
        ),
        (LabelSmoothing(), torch.zeros(9, 4), "regression", "task must be classification for LabelSmoothing"),
    ],
)
def test_what_cannot_be_mixed_is_refused(augmentation, x, task, message) -> None:
    with pytest.raises(InputError, match=message):
        augmentation.check(x, task)
