"""Noise on larger pieces: residual branches, blocks of an image, weights; and additive noise.

Legend: ``B`` batch, ``C`` channels, ``H`` height, ``W`` width, ``T`` tokens, ``D`` features; ``p`` the probability
to DROP.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from meden._checks import InputError, check_count
from meden.noise.base import Noise
from meden.noise.dropout import keep_scale
from meden.noise.rng import Moment


class DropPath(Noise):
    """Zero whole samples (B, ...) of a residual branch with probability p: stochastic depth.

    Args:
        p: probability to drop, in [0, 1).

    Example:
        >>> DropPath(0.5)(torch.ones(4, 3)).shape
        torch.Size([4, 3])

    Reference:
        G. Huang, Y. Sun, Z. Liu, D. Sedra, K. Weinberger, Deep networks with stochastic depth, 2016.
    """

    place = "output"
    p: Tensor

    def __init__(self, p: float | Tensor = 0.1) -> None:
        super().__init__(p)

    def _perturb(self, x: Tensor, at: Moment) -> Tensor:
        shape = torch.Size((x.shape[0], *(1 for _ in x.shape[1:])))
        return x * keep_scale(at, self.p, shape, x.dtype)


class DropConnect(Noise):
    """Zero each weight of a layer with probability p: ``attach(layer, DropConnect(0.5))``.

    One mask serves a whole batch.

    Args:
        p: probability to drop, in [0, 1).

    Example:
        >>> DropConnect(0.0)(torch.ones(2, 2)).sum()
        tensor(4.)

    Reference:
        L. Wan, M. Zeiler, S. Zhang, Y. LeCun, R. Fergus, Regularization of neural networks using DropConnect, 2013.
    """

    place = "weight"
    p: Tensor

    def __init__(self, p: float | Tensor = 0.5) -> None:
        super().__init__(p)

    def _perturb(self, x: Tensor, at: Moment) -> Tensor:
        return x * keep_scale(at, self.p, x.shape, x.dtype)


class DropBlock(Noise):
    """Zero square blocks of an image (B, C, H, W), so that a share of about p is dropped.

    The images are divided by the share that was kept, of all images that this process sees. A block that does not fit
    is cut to the size of the image.

    Args:
        p: share to drop, in [0, 1). Blocks may overlap, which drops less than p where p is large.
        block_size: side of a block in pixels.

    Raises:
        InputError: if the input does not have four dimensions.

    Example:
        >>> DropBlock(0.2, block_size=3)(torch.ones(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Reference:
        G. Ghiasi, T. Lin, Q. Le, DropBlock, 2018.
    """

    place = "output"
    p: Tensor

    def __init__(self, p: float | Tensor = 0.1, block_size: int = 7) -> None:
        check_count("DropBlock block_size", block_size)
        super().__init__(p)
        self.block_size = block_size

    def _perturb(self, x: Tensor, at: Moment) -> Tensor:
        if x.ndim != 4:
            raise InputError(f"the input of DropBlock must have the shape (B, C, H, W), got {tuple(x.shape)}")
        num_images, num_channels, height, width = x.shape
        size = min(self.block_size, height, width)
        corners = torch.Size((num_images, num_channels, height - size + 1, width - size + 1))
        seed_p = self.p.float() * (height * width / (size**2 * corners[2] * corners[3]))
        seeds = 1 - at.keep_mask(seed_p.clamp(max=1.0), corners)
        padded = torch.nn.functional.pad(seeds, [size - 1] * 4)
        keep = 1 - max_pool2d(padded, size, stride=1)
        return x * (keep * (keep.numel() / keep.sum().clamp(min=1.0))).to(x.dtype)


class GaussianNoise(Noise):
    """Add normal noise: to an input, or to a weight with ``attach(layer, GaussianNoise(0.1), "weight")``.

    Args:
        std: standard deviation, zero or more.

    Example:
        >>> GaussianNoise(0.0)(torch.ones(2))
        tensor([1., 1.])

    Reference:
        C. Bishop, Training with noise is equivalent to Tikhonov regularization, 1995.
    """

    level_name = "std"
    level_high = math.inf
    std: Tensor

    def __init__(self, std: float | Tensor = 0.1) -> None:
        super().__init__(std)

    def _perturb(self, x: Tensor, at: Moment) -> Tensor:
        return x + (at.normal(x.shape) * self.std.float()).to(x.dtype)


class EmbeddingNoise(Noise):
    """Add uniform noise on [-1, 1] times alpha / sqrt(T D) to embedded tokens (B, T, D): NEFTune.

    Args:
        alpha: scale of the noise, zero or more; 5 to 15 are usual.

    Example:
        >>> noise = EmbeddingNoise(5.0)(torch.zeros(1, 4, 25))
        >>> bool(noise.abs().max() <= 0.5)
        True

    Reference:
        N. Jain and others, NEFTune: noisy embeddings improve instruction finetuning, 2023.
    """

    level_name = "alpha"
    level_high = math.inf
    place = "output"
    alpha: Tensor

    def __init__(self, alpha: float | Tensor = 5.0) -> None:
        super().__init__(alpha)

    def _perturb(self, x: Tensor, at: Moment) -> Tensor:
        scale = self.alpha.float() / math.sqrt(math.prod(x.shape[-2:]))
        return x + ((at.uniform(x.shape) * 2 - 1) * scale).to(x.dtype)
