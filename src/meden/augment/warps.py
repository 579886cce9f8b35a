"""Maps of the plane: images turned, resized, moved and bent, by bilinear interpolation.

Images are (B, H, W) or (B, C, H, W), the height counted downwards. What comes in from outside repeats the edge.

Legend: ``B`` rows of a batch, ``C`` channels, ``H`` height, ``W`` width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from meden._checks import check_count, check_number
from meden.augment.base import Augmentation, Number, check_images
from meden.noise import Draws


def affine(x: Tensor, draws: Draws, *, degrees: Number, translate: Number, scale: Number) -> Tensor:
    """Turn, resize and move each image about its centre, by bilinear interpolation.

    The angle is uniform in [-degrees, degrees], the move along each axis uniform in [-translate, translate] of its
    length, the factor (1 + scale)^u with u uniform in [-1, 1].

    Args:
        x: (B, H, W) or (B, C, H, W)
        draws: where all randomness comes from.
        degrees: zero or more.
        translate: in [0, 1], a share of height and width.
        scale: zero or more; 0.1 is between 1 / 1.1 and 1.1 times the size.

    Example:
        >>> from meden.noise import stream
        >>> draws = Draws(stream(0), torch.tensor(0))
        >>> affine(torch.ones(2, 1, 8, 8), draws, degrees=10.0, translate=0.1, scale=0.1).shape
        torch.Size([2, 1, 8, 8])

    Reference:
        P. Simard, D. Steinkraus, J. Platt, Best practices for convolutional neural networks, 2003.
    """
    turn, zoom, down, right = (2 * draws.uniform(x.shape[0], 4) - 1).unbind(1)
    angle, factor = turn * degrees * (math.pi / 180), (1 + scale) ** -zoom
    cosine, sine = torch.cos(angle) * factor, torch.sin(angle) * factor
    height, width = x.shape[-2:]
    # where in the old image a pixel of the new one is read, in half widths and half heights from the centre
    by_width = torch.stack([cosine, -sine * (width / height)], dim=1)[..., None] * _centres(width, x.device)
    by_height = torch.stack([sine * (height / width), cosine], dim=1)[..., None] * _centres(height, x.device)
    move = 2 * translate * torch.stack([right, down], dim=1)
    return resampled(x, (by_height + move[..., None])[..., None] + by_width[..., None, :])


def elastic(x: Tensor, draws: Draws, *, std: Number, smooth: int) -> Tensor:
    """Move each pixel by a smooth random field, by bilinear interpolation.

    Both parts of the field have standard deviation ``std`` at every pixel; they are uniform noise on a coarse grid,
    spread by a Gaussian of standard deviation ``smooth``.

    Args:
        x: (B, H, W) or (B, C, H, W)
        draws: where all randomness comes from.
        std: zero or more pixels.
        smooth: pixels over which the moves are alike.

    Example:
        >>> from meden.noise import stream
        >>> elastic(torch.ones(2, 1, 8, 8), Draws(stream(0), torch.tensor(0)), std=1.0, smooth=4).shape
        torch.Size([2, 1, 8, 8])

    Reference:
        P. Simard, D. Steinkraus, J. Platt, Best practices for convolutional neural networks, 2003.
    """
    height, width = x.shape[-2:]
    down, right = _spreading(height, smooth, x.device), _spreading(width, smooth, x.device)
    noise = (draws.uniform(x.shape[0], 2, down.shape[1], right.shape[1]) - 0.5) * (std * math.sqrt(12))
    half = torch.tensor([width / 2, height / 2], device=x.device)[:, None, None]
    at = torch.stack(torch.meshgrid(_centres(width, x.device), _centres(height, x.device), indexing="xy"))
    return resampled(x, at + (down @ noise @ right.T) / half)


@dataclass(frozen=True)
class Affine(Augmentation):
    """Images turned, resized and moved, see :func:`affine`.

    Args:
        degrees: the largest angle, zero or more.
        translate: the largest move along each axis, a share of its length, in [0, 1].
        scale: the largest growth, zero or more; 0.1 is between 1 / 1.1 and 1.1 times the size.
    """

    degrees: Number = 10.0
    translate: Number = 0.1
    scale: Number = 0.1

    def __post_init__(self) -> None:
        check_number("Affine degrees", self.degrees, low=0.0)
        check_number("Affine translate", self.translate, low=0.0, high=1.0)
        check_number("Affine scale", self.scale, low=0.0)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return affine(x, draws, degrees=self.degrees, translate=self.translate, scale=self.scale), y

    def check(self, x: Tensor, task: str) -> None:
        check_images("Affine", x)


@dataclass(frozen=True)
class Elastic(Augmentation):
    """Images bent by a smooth random field, see :func:`elastic`.

    Args:
        std: standard deviation of the moves in pixels, zero or more.
        smooth: pixels over which the moves are alike.
    """

    std: Number = 1.0
    smooth: int = 4

    def __post_init__(self) -> None:
        check_number("Elastic std", self.std, low=0.0)
        check_count("Elastic smooth", self.smooth)

    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        return elastic(x, draws, std=self.std, smooth=self.smooth), y

    def check(self, x: Tensor, task: str) -> None:
        check_images("Elastic", x)


def resampled(x: Tensor, places: Tensor) -> Tensor:
    """Return images read at other places, by bilinear interpolation; beyond the border they repeat the edge.

    Args:
        x: (B, H, W) or (B, C, H, W)
        places: (B, 2, H, W), where each new pixel is read: across and down, -1 and 1 being the edges of the image.
    """
    precision = torch.promote_types(x.dtype, torch.float32)
    images = (x if x.ndim == 4 else x[:, None]).to(precision)
    grid = places.movedim(1, -1).to(precision)
    read: Tensor = grid_sample(images, grid, padding_mode="border", align_corners=False)
    return read.to(x.dtype).reshape(x.shape)


def _centres(size: int, device: torch.device) -> Tensor:
    """Return where the centres of pixels lie, (size,), -1 and 1 being the edges."""
    return (2 * torch.arange(size, device=device) + 1) / size - 1


def _spreading(size: int, smooth: int, device: torch.device) -> Tensor:
    """Return the matrix (size, points) that spreads noise on a coarse grid; its rows have length 1."""
    points = torch.arange(-2, size // smooth + 3, device=device) * smooth
    distance = torch.arange(size, device=device)[:, None] - points
    weights = torch.exp(-(distance / smooth).square() / 2)
    return weights / weights.square().sum(1, keepdim=True).sqrt()
