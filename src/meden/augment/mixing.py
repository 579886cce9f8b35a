"""Augmentations of the target: mixtures of two rows, smoothed labels.

The partner of a row is its neighbour in the batch: a batch already is a random permutation. Each row has a share of
its own.

Legend: ``B`` rows of a batch, ``C`` classes, ``H`` height, ``W`` width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import InputError, check_number
from meden.augment.base import Augmentation, Number, check_finite, check_images, per_row
from meden.noise import Draws


def symmetric_beta(draws: Draws, num: int, alpha: Number) -> Tensor:
    """Return ``num`` draws of the Beta(alpha, alpha) distribution, exact for every alpha above 0.

    B = (1 + C / sqrt(C^2 + 1 / (U^(-1/alpha) - 1))) / 2 with U uniform and C = cos(2 pi V). At alpha = 0 the draws are
    the limit, 0 or 1.

    Reference:
        L. Devroye, Random variate generation in one line of code, 1996.
    """
    u, v = draws.uniform(num), draws.uniform(num)
    cosine = torch.cos(2 * math.pi * v)
    spread = torch.expm1(-torch.log(u) / alpha)
    return (1 + cosine / torch.hypot(cosine, torch.rsqrt(spread))) / 2


def mixup(x: Tensor, y: Tensor, draws: Draws, *, alpha: Number) -> tuple[Tensor, Tensor]:
    """Return lam x + (1 - lam) x' and the same mixture of y, where x' is the row before.

    lam is the larger of B and 1 - B, B from Beta(alpha, alpha): either row of a pair may be called the first, so that
    a mixture has the same distribution, and no row of the batch is lost.

    Args:
        x: (B, ...)
        y: (B, C) probabilities, or (B, ...) numbers.
        draws: where all randomness comes from.
        alpha: zero (nothing is mixed) or more (the larger, the closer to halves).

    Example:
        >>> from meden.noise import stream
        >>> x, y = mixup(torch.eye(3), torch.eye(3), Draws(stream(0), torch.tensor(0)), alpha=0.5)
        >>> bool((x == y).all()), x.sum(1)
        (True, tensor([1., 1., 1.]))

    Reference:
        H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, mixup: beyond empirical risk minimization, 2018.
    """
    share = (symmetric_beta(draws, x.shape[0], alpha) - 0.5).abs() + 0.5
    return _mixed(x, per_row(share, x)), _mixed(y, per_row(share, y))


def cutmix(x: Tensor, y: Tensor, draws: Draws, *, alpha: Number) -> tuple[Tensor, Tensor]:
    """Put a box of the row before into each image; y is mixed by the share of pixels, counted.

    The box has the sides sqrt(1 - lam) of the image, lam from Beta(alpha, alpha), and its centre anywhere in the image;
    what reaches beyond the border is cut off.

    Args:
        x: (B, H, W) or (B, C, H, W)
        y: (B, C) probabilities, or (B, ...) numbers.
        draws: where all randomness comes from.
        alpha: zero (nothing is mixed) or more.

    Example:
        >>> from meden.noise import stream
        >>> images = torch.arange(2.0)[:, None, None].expand(2, 8, 8)
        >>> x, y = cutmix(images, torch.eye(2), Draws(stream(0), torch.tensor(0)), alpha=1.0)
        >>> bool((x.mean((1, 2)) == y[:, 1]).all())
        True

    Reference:
        S. Yun, D. Han, S. Oh, S. Chun, J. Choe, Y. Yoo, CutMix, 2019.
    """
    num, (height, width) = x.shape[0], x.shape[-2:]
    lam = symmetric_beta(draws, num, alpha)
    side = (1 - lam).sqrt() * (alpha > 0)
    inside = _interval(draws, num, height, side)[:, :, None] & _interval(draws, num, width, side)[:, None, :]
    share = 1 - inside.float().mean((1, 2))
    box = inside if x.ndim == 3 else inside[:, None]
    return torch.where(box, x.roll(1, 0), x), _mixed(y, per_row(share, y))


def label_smoothing(y: Tensor, *, epsilon: Number) -> Tensor:
    """Return (1 - epsilon) y + epsilon / C times the sum of y, which is 1 unless rows have weights.

    Args:
        y: (B, ..., C) probabilities, or (B,) probabilities of class 1 of two.
        epsilon: the share that all classes get alike, in [0, 1].

    Example:
        >>> label_smoothing(torch.tensor([[1.0, 0.0]]), epsilon=0.1)
        tensor([[0.9500, 0.0500]])

    Reference:
        C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, Rethinking the Inception architecture, 2016.
    """
    if y.ndim == 1:
        return y * (1 - epsilon) + epsilon / 2
    return y * (1 - epsilon) + epsilon * y.mean(-1, keepdim=True)


@dataclass(frozen=True)
class Mixup(Augmentation):
    """Mixtures of two rows and of their targets, see :func:`mixup`; for inputs of any shape, and for regression.

    Args:
        alpha: of the Beta distribution of the share, zero (nothing is mixed) or more.

    Example:
        >>> Mixup(alpha=-1.0)
        Traceback (most recent call last):
            ...
        meden._checks.InputError: Mixup alpha must be a finite number of at least 0, got -1.0
    """

    mixes_rows = True
    softens = True
    alpha: Number = 0.2

    def __post_init__(self) -> None:
        check_number("Mixup alpha", self.alpha, low=0.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return mixup(x, y, draws, alpha=self.alpha)

    def check(self, x: Tensor, task: str) -> None:
        check_finite("Mixup", x)


@dataclass(frozen=True)
class CutMix(Augmentation):
    """A box of another image in each, and the targets mixed by the share of pixels, see :func:`cutmix`.

    Args:
        alpha: of the Beta distribution of the share, zero (nothing is mixed) or more; at 1 the share is uniform before
            the box is cut at the border.

    Example:
        >>> CutMix().check(torch.zeros(100, 8), "classification")
        Traceback (most recent call last):
            ...
        meden._checks.InputError: x must have shape (n, H, W) or (n, C, H, W) for CutMix, got (100, 8)
    """

    mixes_rows = True
    softens = True
    alpha: Number = 1.0

    def __post_init__(self) -> None:
        check_number("CutMix alpha", self.alpha, low=0.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return cutmix(x, y, draws, alpha=self.alpha)

    def check(self, x: Tensor, task: str) -> None:
        check_images("CutMix", x)


@dataclass(frozen=True)
class LabelSmoothing(Augmentation):
    """A share ``epsilon`` of each target spread over all classes, see :func:`label_smoothing`.

    Args:
        epsilon: share that is spread, in [0, 1).
    """

    softens = True
    epsilon: Number = 0.1

    def __post_init__(self) -> None:
        check_number("LabelSmoothing epsilon", self.epsilon, low=0.0, high=1.0, high_open=True)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return x, label_smoothing(y, epsilon=self.epsilon)

    def check(self, x: Tensor, task: str) -> None:
        if task != "classification":
            raise InputError(f"task must be classification for LabelSmoothing, got {task}")


def _mixed(values: Tensor, share: Tensor) -> Tensor:
    return share * values + (1 - share) * values.roll(1, 0)


def _interval(draws: Draws, num: int, size: int, side: Tensor) -> Tensor:
    """Say which of ``size`` pixels have their centre in an interval of ``side`` (B,) of the image: (B, size)."""
    centres = (torch.arange(size, device=side.device) + 0.5) / size
    return (centres - draws.uniform(num)[:, None]).abs() < side[:, None] / 2
