"""Noise on tables: how often, how much, and where what comes in is from."""

from __future__ import annotations

import pytest
import torch

from meden._checks import InputError
from meden.augment import FeatureMask, feature_mask, jitter, swap_noise
from meden.noise import Draws, stream

N, D = 4000, 5


def draws() -> Draws:
    return Draws(stream("tables"), torch.tensor(0))


def rows() -> torch.Tensor:
    return torch.arange(N * D, dtype=torch.float64).reshape(N, D)


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_swapped_cells_come_from_the_same_column_of_any_row(p: float) -> None:
    x = swap_noise(rows(), draws(), p=p)
    assert torch.equal(x % D, rows() % D)
    swapped = x != rows()
    assert swapped.double().mean().item() == pytest.approx(p, abs=5 * (p / N / D) ** 0.5 + 2 / N)
    source = (x // D)[swapped] / N
    assert source.mean().item() == pytest.approx(0.5, abs=5 * (1 / 12 / len(source)) ** 0.5)
    assert source.var().item() == pytest.approx(1 / 12, rel=0.05)
    shift = (x // D - rows() // D)[:, 0] - (x // D - rows() // D)[:, 1]
    assert (shift[swapped[:, 0] & swapped[:, 1]] != 0).double().mean() > 0.9  # cells of a row swap apart


def test_jitter_has_its_mean_and_spread() -> None:
    noise = jitter(rows(), draws(), std=0.3) - rows()
    assert noise.mean().item() == pytest.approx(0, abs=5 * 0.3 / (N * D) ** 0.5)
    assert noise.std().item() == pytest.approx(0.3, rel=0.03)
    assert torch.corrcoef(noise.T).fill_diagonal_(0).abs().max() < 0.08


def test_masked_cells_are_zero_and_the_rest_stays() -> None:
    x = feature_mask(rows() + 1, draws(), p=0.3)
    assert ((x == 0) | (x == rows() + 1)).all()
    assert (x == 0).double().mean().item() == pytest.approx(0.3, abs=5 * (0.21 / N / D) ** 0.5)


def test_images_are_no_tables() -> None:
    with pytest.raises(InputError, match=r"x must have shape \(n, D\) for FeatureMask, got \(4, 1, 8, 8\)"):
        FeatureMask().check(torch.zeros(4, 1, 8, 8), "classification")
