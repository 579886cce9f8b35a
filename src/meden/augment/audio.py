"""Augmentations of sound: bands masked, moves and speeds along time, noise.

Spectrograms are (B, F, T) or (B, 1, F, T), such as log-mel; waveforms are (B, T) or (B, 1, T). Time is the last axis.

Legend: ``B`` rows of a batch, ``F`` frequencies, ``T`` frames or samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import check_count, check_number
from meden.augment.base import Augmentation, Number, check_finite, check_shape, gathered, per_row, shifted
from meden.noise import Draws


def time_mask(x: Tensor, draws: Draws, *, share: Number, num_masks: int) -> Tensor:
    """Set ``num_masks`` runs of frames of each row to the row's mean.

    The length of a run is uniform in [0, share] of T, its place is uniform; runs may overlap.

    Args:
        x: (B, F, T) or (B, 1, F, T)
        draws: where all randomness comes from.
        share: in [0, 1].
        num_masks: how many.

    Example:
        >>> from meden.noise import stream
        >>> x = torch.eye(10)[None]
        >>> masked = time_mask(x, Draws(stream(0), torch.tensor(0)), share=0.5, num_masks=1)
        >>> bool(((masked == x) | (masked == 0.1)).all())
        True

    Reference:
        D. Park, W. Chan, Y. Zhang, C.-C. Chiu, B. Zoph, E. Cubuk, Q. Le, SpecAugment, 2019.
    """
    return _masked(x, _runs(draws, x.shape[0], x.shape[-1], share, num_masks)[:, None, :])


def frequency_mask(x: Tensor, draws: Draws, *, share: Number, num_masks: int) -> Tensor:
    """Set ``num_masks`` bands of frequencies of each row to the row's mean, as :func:`time_mask` does with frames.

    Args:
        x: (B, F, T) or (B, 1, F, T)
        draws: where all randomness comes from.
        share: in [0, 1].
        num_masks: how many.

    Example:
        >>> from meden.noise import stream
        >>> frequency_mask(torch.ones(2, 8, 9), Draws(stream(0), torch.tensor(0)), share=0.5, num_masks=2).mean()
        tensor(1.)

    Reference:
        D. Park, W. Chan, Y. Zhang, C.-C. Chiu, B. Zoph, E. Cubuk, Q. Le, SpecAugment, 2019.
    """
    return _masked(x, _runs(draws, x.shape[0], x.shape[-2], share, num_masks)[:, :, None])


def time_shift(x: Tensor, draws: Draws, *, share: Number) -> Tensor:
    """Move each row along time by whole steps, uniform in [-share, share] of T; the edge is repeated.

    Args:
        x: (B, ..., T)
        draws: where all randomness comes from.
        share: in [0, 1].

    Example:
        >>> from meden.noise import stream
        >>> time_shift(torch.ones(2, 9), Draws(stream(0), torch.tensor(0)), share=0.3).sum()
        tensor(18.)
    """
    return shifted(x, ((2 * draws.uniform(x.shape[0]) - 1) * (share * x.shape[-1])).round(), -1)


def speed(x: Tensor, draws: Draws, *, change: Number) -> Tensor:
    """Play each row from its beginning at another speed, by linear interpolation along time.

    The factor is (1 + change)^u with u uniform in [-1, 1]. T stays: what is slower loses its end, what is faster
    repeats its last step. The pitch of a waveform changes with the speed.

    Args:
        x: (B, ..., T)
        draws: where all randomness comes from.
        change: zero or more; 0.1 is between 1 / 1.1 and 1.1 times as fast.

    Example:
        >>> from meden.noise import stream
        >>> speed(torch.ones(2, 9), Draws(stream(0), torch.tensor(0)), change=0.1).sum()
        tensor(18.)

    Reference:
        T. Ko, V. Peddinti, D. Povey, S. Khudanpur, Audio augmentation for speech recognition, 2015.
    """
    last = x.shape[-1] - 1
    factor = (1 + change) ** (2 * draws.uniform(x.shape[0]) - 1)
    places = (factor[:, None] * torch.arange(last + 1, device=x.device)).clamp(max=last)
    before = places.floor()
    between = (places - before).to(x.dtype).reshape(x.shape[0], *(1 for _ in x.shape[2:]), last + 1)
    after = gathered(x, (before.long() + 1).clamp(max=last), -1)
    return torch.lerp(gathered(x, before.long(), -1), after, between)


def background_noise(x: Tensor, draws: Draws, *, ratio: Number) -> Tensor:
    """Add white normal noise of ``ratio`` times the row's own standard deviation.

    On a waveform that is a signal-to-noise ratio of -20 log10(ratio) decibels: 0.1 is 20 dB.

    Args:
        x: (B, ..., T)
        draws: where all randomness comes from.
        ratio: zero or more.

    Example:
        >>> from meden.noise import stream
        >>> background_noise(torch.ones(2, 9), Draws(stream(0), torch.tensor(0)), ratio=0.1).sum()  # silence stays
        tensor(18.)
    """
    spread = x.flatten(1).std(1, correction=0)
    return x + (draws.normal(*x.shape) * per_row(spread * ratio, x)).to(x.dtype)


@dataclass(frozen=True)
class TimeMask(Augmentation):
    """Runs of frames set to the row's mean, see :func:`time_mask`.

    Args:
        share: the longest run, a share of the time, in [0, 1].
        num_masks: runs in each row.
    """

    share: Number = 0.2
    num_masks: int = 2

    def __post_init__(self) -> None:
        check_number("TimeMask share", self.share, low=0.0, high=1.0)
        check_count("TimeMask num_masks", self.num_masks)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return time_mask(x, draws, share=self.share, num_masks=self.num_masks), y

    def check(self, x: Tensor, task: str) -> None:
        _check_spectrograms("TimeMask", x)


@dataclass(frozen=True)
class FrequencyMask(Augmentation):
    """Bands of frequencies set to the row's mean, see :func:`frequency_mask`.

    Args:
        share: the widest band, a share of the frequencies, in [0, 1].
        num_masks: bands in each row.
    """

    share: Number = 0.2
    num_masks: int = 2

    def __post_init__(self) -> None:
        check_number("FrequencyMask share", self.share, low=0.0, high=1.0)
        check_count("FrequencyMask num_masks", self.num_masks)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return frequency_mask(x, draws, share=self.share, num_masks=self.num_masks), y

    def check(self, x: Tensor, task: str) -> None:
        _check_spectrograms("FrequencyMask", x)


@dataclass(frozen=True)
class TimeShift(Augmentation):
    """Rows moved along time, see :func:`time_shift`.

    Args:
        share: the longest move, a share of the time, in [0, 1].
    """

    share: Number = 0.1

    def __post_init__(self) -> None:
        check_number("TimeShift share", self.share, low=0.0, high=1.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return time_shift(x, draws, share=self.share), y

    def check(self, x: Tensor, task: str) -> None:
        _check_sound("TimeShift", x)


@dataclass(frozen=True)
class Speed(Augmentation):
    """Rows played faster or slower, see :func:`speed`.

    Args:
        change: the largest change, zero or more; 0.1 is between 1 / 1.1 and 1.1 times as fast.
    """

    change: Number = 0.1

    def __post_init__(self) -> None:
        check_number("Speed change", self.change, low=0.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return speed(x, draws, change=self.change), y

    def check(self, x: Tensor, task: str) -> None:
        _check_sound("Speed", x)


@dataclass(frozen=True)
class BackgroundNoise(Augmentation):
    """White noise, as a share of each row's own spread, see :func:`background_noise`.

    Args:
        ratio: spread of the noise over the row's, zero or more; 0.1 is 20 dB below the signal.
    """

    ratio: Number = 0.1

    def __post_init__(self) -> None:
        check_number("BackgroundNoise ratio", self.ratio, low=0.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return background_noise(x, draws, ratio=self.ratio), y

    def check(self, x: Tensor, task: str) -> None:
        _check_sound("BackgroundNoise", x)


def _runs(draws: Draws, num: int, size: int, share: Number, num_masks: int) -> Tensor:
    """Say which of ``size`` places have their centre in one of the runs: (B, size)."""
    length, start = draws.uniform(num, num_masks, 1, 2).unbind(-1)
    length = length * share
    start = start * (1 - length)
    centres = (torch.arange(size, device=length.device) + 0.5) / size
    return ((centres > start) & (centres < start + length)).any(1)


def _masked(x: Tensor, mask: Tensor) -> Tensor:
    mean = per_row(x.flatten(1).mean(1), x)
    return torch.where(mask if x.ndim == 3 else mask[:, None], mean, x)


def _check_spectrograms(name: str, x: Tensor) -> None:
    check_shape(name, x, {3: "(n, F, T)", 4: "(n, 1, F, T)"})
    check_finite(name, x)


def _check_sound(name: str, x: Tensor) -> None:
    check_shape(name, x, {2: "(n, T)", 3: "(n, F, T)", 4: "(n, 1, F, T)"})
    check_finite(name, x)
