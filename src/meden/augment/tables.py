"""Augmentations of table rows (B, D): cells swapped, jittered or masked.

Legend: ``B`` rows of a batch, ``D`` columns, as they reach the model: numbers standardised, categories one-hot.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from meden._checks import check_number
from meden.augment.base import Augmentation, Number, check_finite, check_shape
from meden.noise import Draws


def swap_noise(x: Tensor, draws: Draws, *, p: Number) -> Tensor:
    """Replace each cell with probability p by the same column of a row drawn from the batch.

    Args:
        x: (B, D)
        draws: where all randomness comes from.
        p: in [0, 1].

    Example:
        >>> import torch
        >>> from meden.noise import stream
        >>> rows = torch.arange(6.0).reshape(3, 2)
        >>> x = swap_noise(rows, Draws(stream(0), torch.tensor(0)), p=1.0)
        >>> bool((x[:, :1] == rows[:, 0]).any(1).all())
        True

    Reference:
        M. Jahrer, first place of the Porto Seguro competition, 2017; as corruption by J. Yoon, Y. Zhang, J. Jordon,
        M. van der Schaar, VIME, 2020.
    """
    rows = (draws.uniform(*x.shape) * x.shape[0]).long().clamp(max=x.shape[0] - 1)
    return x.gather(0, rows).where(draws.uniform(*x.shape) < p, x)


def jitter(x: Tensor, draws: Draws, *, std: Number) -> Tensor:
    """Add normal noise of standard deviation ``std`` to each cell.

    Args:
        x: (B, ...)
        draws: where all randomness comes from.
        std: zero or more.

    Example:
        >>> import torch
        >>> from meden.noise import stream
        >>> jitter(torch.ones(2, 2), Draws(stream(0), torch.tensor(0)), std=0.0).sum()
        tensor(4.)

    Reference:
        C. Bishop, Training with noise is equivalent to Tikhonov regularization, 1995.
    """
    return x + (draws.normal(*x.shape) * std).to(x.dtype)


def feature_mask(x: Tensor, draws: Draws, *, p: Number) -> Tensor:
    """Set each cell to 0, the mean of a standardised column, with probability p; unlike dropout, the rest stays.

    Args:
        x: (B, ...)
        draws: where all randomness comes from.
        p: in [0, 1].

    Example:
        >>> import torch
        >>> from meden.noise import stream
        >>> feature_mask(torch.ones(2, 2), Draws(stream(0), torch.tensor(0)), p=1.0).sum()
        tensor(0.)

    Reference:
        P. Vincent, H. Larochelle, Y. Bengio, P.-A. Manzagol, Extracting and composing robust features with denoising
        autoencoders, 2008.
    """
    return x.masked_fill(draws.uniform(*x.shape) < p, 0.0)


@dataclass(frozen=True)
class SwapNoise(Augmentation):
    """Cells replaced by those of other rows, see :func:`swap_noise`.

    Args:
        p: probability to replace a cell, in [0, 1].
    """

    mixes_rows = True
    p: Number = 0.15

    def __post_init__(self) -> None:
        check_number("SwapNoise p", self.p, low=0.0, high=1.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return swap_noise(x, draws, p=self.p), y

    def check(self, x: Tensor, task: str) -> None:
        _check_table("SwapNoise", x)


@dataclass(frozen=True)
class Jitter(Augmentation):
    """Normal noise on each cell, see :func:`jitter`.

    Args:
        std: standard deviation of the noise, zero or more; columns are standardised, so that 0.1 is a tenth of a
            column's spread.
    """

    std: Number = 0.1

    def __post_init__(self) -> None:
        check_number("Jitter std", self.std, low=0.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return jitter(x, draws, std=self.std), y

    def check(self, x: Tensor, task: str) -> None:
        _check_table("Jitter", x)


@dataclass(frozen=True)
class FeatureMask(Augmentation):
    """Cells set to 0, see :func:`feature_mask`.

    Args:
        p: probability to hide a cell, in [0, 1].
    """

    p: Number = 0.15

    def __post_init__(self) -> None:
        check_number("FeatureMask p", self.p, low=0.0, high=1.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return feature_mask(x, draws, p=self.p), y

    def check(self, x: Tensor, task: str) -> None:
        _check_table("FeatureMask", x)


def _check_table(name: str, x: Tensor) -> None:
    check_shape(name, x, {2: "(n, D)"})
    check_finite(name, x)
