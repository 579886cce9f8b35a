"""Sound against numpy: how long the masks are, where moves and speeds read, how loud the noise is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meden._checks import InputError
from meden.augment import FrequencyMask, Speed, TimeMask, background_noise, frequency_mask, speed, time_mask, time_shift
from meden.noise import Draws, stream

N = 4000


def draws() -> Draws:
    return Draws(stream("audio"), torch.tensor(0))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).double() + 3


@pytest.mark.parametrize("mask", [time_mask, frequency_mask])
def test_a_mask_is_one_run_of_the_row_mean_of_uniform_length_and_place(mask) -> None:
    x = noise(N, 40, 40)
    masked = mask(x, draws(), share=0.3, num_masks=1)
    mean = x.mean((1, 2), keepdim=True)
    hidden = masked == mean
    torch.testing.assert_close(masked, torch.where(hidden, mean, x))
    line, other = (hidden.any(1), hidden.any(2)) if mask is time_mask else (hidden.any(2), hidden.any(1))
    assert torch.equal(hidden.sum((1, 2)), line.sum(1) * 40) and set(other.sum(1).tolist()) == {0, 40}
    assert ((line[:, 1:] & ~line[:, :-1]).sum(1) + line[:, 0]).max() == 1  # one run
    lengths = line.double().mean(1)
    assert lengths.max().item() == pytest.approx(0.3, abs=0.026)
    assert lengths.mean().item() == pytest.approx(0.15, abs=0.005)
    expected = np.mean([coverage((np.arange(40) + 0.5) / 40, r) for r in 0.3 * (np.arange(500) + 0.5) / 500], axis=0)
    spread = (expected * (1 - expected) / N) ** 0.5
    assert (np.abs(line.double().mean(0).numpy() - expected) < 5 * spread).all()


def coverage(at: np.ndarray, run: float) -> np.ndarray:
    """Probability that a run which lies within [0, 1], anywhere, covers a place."""
    return (np.minimum(at, 1 - run) - np.maximum(at - run, 0)).clip(0) / (1 - run)


def test_more_masks_hide_more() -> None:
    shares = [(time_mask(noise(N, 4, 50), draws(), share=0.2, num_masks=n) != noise(N, 4, 50)).double().mean().item()
              for n in (1, 2, 5)]  # fmt: skip
    assert shares == pytest.approx([0.1, 1 - 0.9**2, 1 - 0.9**5], abs=0.02)  # runs overlap near the middle


def test_a_move_is_a_slice_of_the_padded_row() -> None:
    x = noise(N, 2, 20)
    moved = time_shift(x, draws(), share=0.25)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (5, 5)), mode="edge")
    found = []
    for k in range(N):
        (at,) = (i for i in range(11) if np.array_equal(padded[k, :, i : i + 20], moved[k]))
        found.append(5 - at)
    counts = np.bincount(np.array(found) + 5, minlength=11)
    wanted = np.array([0.5, *[1.0] * 9, 0.5]) * N / 10  # the ends are rounded from one side
    assert ((counts - wanted) ** 2 / wanted).sum() < 40  # chi square with 10 degrees of freedom


def test_speed_is_interpolation_along_time() -> None:
    x = noise(300, 3, 25)
    factors = 1.4 ** (2 * draws().uniform(300).double() - 1)
    played = speed(x, draws(), change=0.4)
    for row, factor, wanted in zip(x.numpy(), factors.tolist(), played, strict=True):
        for band, told in zip(row, wanted, strict=True):
            # a float32 factor is off by 2e-7 of itself, the last of 24 places by 5e-6 of a step; two roundings between
            off = 5e-6 * np.abs(np.diff(band)).max() + 1e-6
            np.testing.assert_allclose(told, np.interp(np.arange(25) * factor, np.arange(25), band), atol=off)
    assert 1.38 < factors.max() < 1.4 and 1 / 1.4 < factors.min() < 1 / 1.38


@pytest.mark.parametrize("shape", [(500, 400), (500, 1, 400), (500, 20, 20), (500, 1, 20, 20)])
def test_noise_has_its_decibels(shape: tuple[int, ...]) -> None:
    x = noise(*shape) * torch.linspace(0.1, 9, 500).reshape(-1, *(1 for _ in shape[1:]))
    added = (background_noise(x, draws(), ratio=0.1) - x).flatten(1)
    decibels = 20 * torch.log10(x.flatten(1).std(1) / added.std(1))
    assert decibels.mean().item() == pytest.approx(20, abs=0.1) and (decibels - 20).abs().max() < 1.5
    assert abs((added / added.std(1, keepdim=True)).mean().item()) < 0.02


@pytest.mark.parametrize(
    ("augmentation", "shape", "message"),
    [
        (TimeMask(), (9, 400), r"x must have shape \(n, F, T\) or \(n, 1, F, T\) for TimeMask, got \(9, 400\)"),
        (FrequencyMask(), (9, 400), "for FrequencyMask"),
        (Speed(), (9, 2, 3, 4, 5), r"x must have shape \(n, T\) or \(n, F, T\) or \(n, 1, F, T\) for Speed"),
    ],
)
def test_other_shapes_are_refused(augmentation, shape, message) -> None:
    with pytest.raises(InputError, match=message):
        augmentation.check(torch.zeros(shape), "classification")


def test_there_must_be_a_mask() -> None:
    with pytest.raises(InputError, match="TimeMask num_masks must be a whole number of at least 1, got 0"):
        TimeMask(num_masks=0)
