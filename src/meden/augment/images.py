"""Augmentations of images: a hole, a mirror, a move by whole pixels, colours.

Images are (B, H, W) or (B, C, H, W). What comes in from outside repeats the edge.

Legend: ``B`` rows of a batch, ``C`` channels, ``H`` height, ``W`` width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from meden._checks import InputError, check_count, check_number
from meden.augment.base import Augmentation, Number, check_finite, check_images, check_shape, per_row, shifted
from meden.noise import Draws


def cutout(x: Tensor, draws: Draws, *, size: int, p: Number) -> Tensor:
    """Set a square of pixels to 0, the mean of a standardised image, with probability p.

    The centre is any pixel, so that the square is cut off at the border.

    Args:
        x: (B, H, W) or (B, C, H, W)
        draws: where all randomness comes from.
        size: side of the square in pixels.
        p: in [0, 1].

    Example:
        >>> from meden.noise import stream
        >>> float(cutout(torch.ones(1, 8, 8), Draws(stream(0), torch.tensor(0)), size=2, p=1.0).sum()) in (60.0, 62.0)
        True

    Reference:
        T. DeVries and G. Taylor, Improved regularization of convolutional neural networks with cutout, 2017.
    """
    num, (height, width) = x.shape[0], x.shape[-2:]
    chosen = draws.uniform(num) < p
    hole = _band(draws, num, height, size)[:, :, None] & _band(draws, num, width, size)[:, None, :]
    hole = hole & chosen[:, None, None]
    return x.masked_fill(hole if x.ndim == 3 else hole[:, None], 0.0)


def flip(x: Tensor, draws: Draws, *, p: Number) -> Tensor:
    """Mirror each image left to right with probability p.

    Args:
        x: (B, H, W) or (B, C, H, W)
        draws: where all randomness comes from.
        p: in [0, 1].

    Example:
        >>> from meden.noise import stream
        >>> flip(torch.tensor([[[1.0, 2.0]]]), Draws(stream(0), torch.tensor(0)), p=1.0)
        tensor([[[2., 1.]]])
    """
    return torch.where(per_row(draws.uniform(x.shape[0]) < p, x), x.flip(-1), x)


def pad_crop(x: Tensor, draws: Draws, *, padding: int) -> Tensor:
    """Move each image by up to ``padding`` whole pixels each way, all moves equally likely.

    Args:
        x: (B, H, W) or (B, C, H, W)
        draws: where all randomness comes from.
        padding: zero or more pixels.

    Example:
        >>> from meden.noise import stream
        >>> pad_crop(torch.ones(2, 3, 8, 8), Draws(stream(0), torch.tensor(0)), padding=2).shape
        torch.Size([2, 3, 8, 8])
    """
    moves = (draws.uniform(x.shape[0], 2) * (2 * padding + 1)).floor().clamp(max=2 * padding) - padding
    return shifted(shifted(x, moves[:, 0], -2), moves[:, 1], -1)


def color(x: Tensor, draws: Draws, *, brightness: Number, contrast: Number, saturation: Number, hue: Number) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image, in this order.

    The first three are multiplied by factors that are uniform in [1 - strength, 1 + strength]. The hue is turned by
    an angle that is uniform in [-hue, hue] of a full circle, in the plane of the two differences of colour (YUV).

    Args:
        x: (B, 3, H, W), red, green and blue in [0, 1].
        draws: where all randomness comes from.
        brightness: in [0, 1].
        contrast: in [0, 1].
        saturation: in [0, 1].
        hue: in [0, 0.5].

    Raises:
        InputError: if kornia is not installed.
    """
    enhance, spaces = _kornia()
    factors = 2 * draws.uniform(x.shape[0], 4) - 1
    brighter, starker, richer, turned = (part.to(x.dtype) for part in factors.unbind(1))
    x = enhance.adjust_brightness_accumulative(x, 1 + brightness * brighter)
    x = enhance.adjust_contrast_with_mean_subtraction(x, 1 + contrast * starker)
    x = enhance.adjust_saturation_with_gray_subtraction(x, 1 + saturation * richer)
    luma, u, v = spaces.rgb_to_yuv(x).unbind(1)
    parts = torch.stack([luma, *_turned(u, v, 2 * math.pi * hue * turned)], dim=1)
    changed: Tensor = spaces.yuv_to_rgb(parts).clamp(0, 1)
    return changed


@dataclass(frozen=True)
class Cutout(Augmentation):
    """A square hole in each image, see :func:`cutout`.

    Args:
        size: side of the square in pixels.
        p: probability of a hole, in [0, 1].
    """

    size: int = 8
    p: Number = 1.0

    def __post_init__(self) -> None:
        check_count("Cutout size", self.size)
        check_number("Cutout p", self.p, low=0.0, high=1.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return cutout(x, draws, size=self.size, p=self.p), y

    def check(self, x: Tensor, task: str) -> None:
        check_images("Cutout", x)
        if self.size > min(x.shape[-2:]):
            raise InputError(f"Cutout size must be at most the image side {tuple(x.shape[-2:])}, got {self.size}")


@dataclass(frozen=True)
class Flip(Augmentation):
    """Images mirrored left to right, see :func:`flip`; not for digits and letters.

    Args:
        p: probability to mirror, in [0, 1].
    """

    p: Number = 0.5

    def __post_init__(self) -> None:
        check_number("Flip p", self.p, low=0.0, high=1.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return flip(x, draws, p=self.p), y

    def check(self, x: Tensor, task: str) -> None:
        check_images("Flip", x)


@dataclass(frozen=True)
class PadCrop(Augmentation):
    """Images moved by whole pixels, see :func:`pad_crop`.

    Args:
        padding: the largest move in pixels.
    """

    padding: int = 4

    def __post_init__(self) -> None:
        check_count("PadCrop padding", self.padding, low=0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return pad_crop(x, draws, padding=self.padding), y

    def check(self, x: Tensor, task: str) -> None:
        check_images("PadCrop", x)
        if self.padding >= min(x.shape[-2:]):
            raise InputError(
                f"PadCrop padding must be less than the image side {tuple(x.shape[-2:])}, got {self.padding}"
            )


@dataclass(frozen=True)
class Color(Augmentation):
    """Brightness, contrast, saturation and hue changed, see :func:`color`; needs ``pip install 'meden[image]'``.

    Args:
        brightness: largest change, in [0, 1].
        contrast: largest change, in [0, 1].
        saturation: largest change, in [0, 1].
        hue: largest change, in [0, 0.5], a share of the circle of colours.
    """

    brightness: Number = 0.2
    contrast: Number = 0.2
    saturation: Number = 0.2
    hue: Number = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            check_number(f"Color {name}", getattr(self, name), low=0.0, high=1.0)
        check_number("Color hue", self.hue, low=0.0, high=0.5)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        changed = color(
            x,
            draws,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue=self.hue,
        )
        return changed, y

    def check(self, x: Tensor, task: str) -> None:
        _kornia()
        check_shape("Color", x, {4: "(n, 3, H, W)"})
        check_finite("Color", x)
        if x.shape[1] != 3 or not 0 <= float(x.min()) <= float(x.max()) <= 1:
            raise InputError(
                f"x must be images (n, 3, H, W) with values in [0, 1] for Color, got {tuple(x.shape)} "
                f"with values from {float(x.min()):g} to {float(x.max()):g}"
            )


def _band(draws: Draws, num: int, size: int, width: int) -> Tensor:
    """Say which of ``size`` pixels lie in a run of ``width`` about a drawn one: (B, size)."""
    centre = (draws.uniform(num) * size).floor()[:, None]
    place = torch.arange(size, device=centre.device) - (centre - width // 2)
    return (place >= 0) & (place < width)


def _turned(u: Tensor, v: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    cosine, sine = per_row(angle.cos(), u), per_row(angle.sin(), u)
    return cosine * u - sine * v, sine * u + cosine * v


def _kornia() -> tuple[Any, Any]:
    try:
        from kornia import color as spaces
        from kornia import enhance
    except ImportError:
        raise InputError("Color needs kornia, which is not installed: pip install 'meden[image]'") from None
    return enhance, spaces
