"""One line for each augmentation: the contract tests then hold it to what all promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from meden.augment import (
    Affine,
    Augmentation,
    BackgroundNoise,
    Color,
    CutMix,
    Cutout,
    Elastic,
    FeatureMask,
    Flip,
    FrequencyMask,
    Jitter,
    LabelSmoothing,
    Mixup,
    PadCrop,
    SpanMask,
    Speed,
    SwapNoise,
    TimeMask,
    TimeShift,
    TokenDrop,
    TokenSwap,
)

B, C = 12, 3


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def table() -> Tensor:
    return torch.randn(B, 5, generator=generator())


def plane() -> Tensor:
    return torch.rand(B, 8, 10, generator=generator())


def picture() -> Tensor:
    return torch.rand(B, 3, 10, 8, generator=generator())


def spectrogram() -> Tensor:
    return torch.randn(B, 1, 8, 30, generator=generator())


def bands() -> Tensor:
    return torch.randn(B, 8, 30, generator=generator())


def waveform() -> Tensor:
    return torch.randn(B, 50, generator=generator())


def tokens() -> Tensor:
    """Rows of 4 to 15 tokens, padded to 15."""
    numbers = torch.randint(2, 1000, (B, 15), generator=generator())
    return numbers * (torch.arange(15) < torch.arange(4, 4 + B)[:, None])


def soft_targets() -> Tensor:
    return torch.rand(B, C, generator=generator()).softmax(1)


def classes() -> Tensor:
    return torch.arange(B) % C


@dataclass(frozen=True)
class Case:
    """An augmentation, the rows it is for, and where its strength lies."""

    name: str
    make: Callable[..., Augmentation]
    """Takes the strength: a number or a 0-d tensor."""
    rows: Callable[[], Tensor]
    strengths: tuple[float, float] = (0.3, 0.9)
    off: float | None = 0.0
    """The strength at which nothing changes, if there is one."""
    too_much: float = -0.1
    """A strength that is refused."""
    rounding: float = 0.0
    """By how much it may miss the identity at ``off``."""
    tolerance: float = 0.0
    """By how much rows or members beside it may change it: places in float32 are off by a few 6e-8 of 10 pixels."""

    def __str__(self) -> str:
        return self.name

    def targets(self) -> Tensor:
        return soft_targets() if self.make(self.strengths[0]).softens else classes()


def fixed_padding(p: object) -> Augmentation:
    """No number of it varies."""
    return PadCrop(padding=0 if p == 0 else 2)


CASES = [
    Case("Mixup", Mixup, table),
    Case("Mixup, images", Mixup, picture),
    Case("CutMix", CutMix, picture),
    Case("CutMix, planes", CutMix, plane),
    Case("LabelSmoothing", LabelSmoothing, table, too_much=1.0),
    Case("SwapNoise", SwapNoise, table, too_much=1.1),
    Case("Jitter", Jitter, table),
    Case("FeatureMask", FeatureMask, table, too_much=1.1),
    Case("Cutout", lambda p: Cutout(size=4, p=p), picture, too_much=1.1),
    Case("Cutout, planes", lambda p: Cutout(size=3, p=p), plane, too_much=1.1),
    Case("Flip", Flip, picture, too_much=1.1),
    Case("Flip, planes", Flip, plane, too_much=1.1),
    Case("Affine, degrees", lambda d: Affine(d, 0.0, 0.0), picture, (5.0, 90.0), rounding=1e-5, tolerance=1e-5),
    Case("Affine, translate", lambda t: Affine(0.0, t, 0.0), plane, rounding=1e-5, tolerance=1e-5),
    Case("Affine, scale", lambda s: Affine(0.0, 0.0, s), picture, rounding=1e-5, tolerance=1e-5),
    Case("Affine, all", lambda t: Affine(20.0, t, 0.2), picture, off=None, tolerance=1e-5),
    Case("Elastic", lambda s: Elastic(s, smooth=3), picture, rounding=1e-5, tolerance=1e-5),
    Case("Elastic, planes", Elastic, plane, (0.5, 3.0), rounding=1e-5, tolerance=1e-5),
    Case("TimeMask", TimeMask, spectrogram, too_much=1.1),
    Case("TimeMask, bands", lambda s: TimeMask(s, num_masks=1), bands, too_much=1.1),
    Case("FrequencyMask", FrequencyMask, spectrogram, too_much=1.1),
    Case("FrequencyMask, bands", lambda s: FrequencyMask(s, num_masks=3), bands, too_much=1.1),
    Case("TimeShift", TimeShift, waveform, too_much=1.1),
    Case("TimeShift, spectrograms", TimeShift, spectrogram, too_much=1.1),
    Case("Speed", Speed, waveform, tolerance=1e-4),
    Case("Speed, spectrograms", Speed, spectrogram, tolerance=1e-4),
    Case("BackgroundNoise", BackgroundNoise, waveform),
    Case("BackgroundNoise, spectrograms", BackgroundNoise, spectrogram),
    Case("TokenDrop", TokenDrop, tokens, too_much=1.1),
    Case("SpanMask", SpanMask, tokens, too_much=1.1),
    Case("TokenSwap", TokenSwap, tokens, too_much=1.1),
    Case("Color, brightness", lambda s: Color(s, 0.0, 0.0), picture, rounding=1e-5, tolerance=1e-5),
    Case("Color, contrast", lambda s: Color(0.0, s, 0.0), picture, rounding=1e-5, tolerance=1e-5),
    Case("Color, saturation", lambda s: Color(0.0, 0.0, s), picture, rounding=1e-5, tolerance=1e-5),
    Case("Color, hue", lambda s: Color(0.0, 0.0, 0.0, s), picture, (0.1, 0.4), rounding=1e-5, tolerance=1e-4),
]
UNVARIED = [Case("PadCrop", fixed_padding, picture), Case("PadCrop, planes", fixed_padding, plane)]
