"""Dropout of activations: units, channels, tokens.

Legend: ``B`` batch, ``C`` channels, ``T`` tokens, ``D`` features; ``p`` the probability to DROP. What is kept is
divided by 1 - p, so that the expectation of a layer is its input.
"""

from __future__ import annotations

import torch
from torch import Tensor

from meden.noise.base import Noise
from meden.noise.rng import Moment


def keep_scale(at: Moment, p: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return 0 with probability p and 1 / (1 - p) otherwise, so that the mean is 1."""
    p = p.float()  # a model turned to half precision takes its buffers along
    return at.keep_mask(p, shape).div_(1 - p).to(dtype)


class Dropout(Noise):
    """Zero each element with probability p; with p = 0 the identity.

    Args:
        p: probability to drop, in [0, 1).

    Example:
        >>> layer = Dropout(0.5)
        >>> sorted(set(layer(torch.ones(100)).tolist()))
        [0.0, 2.0]
        >>> layer.eval()(torch.ones(2))
        tensor([1., 1.])

    Reference:
        N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, Dropout, 2014.
    """

    p: Tensor

    def __init__(self, p: float | Tensor = 0.5) -> None:
        super().__init__(p)

    def _perturb(self, x: Tensor, at: Moment) -> Tensor:
        return x * keep_scale(at, self.p, x.shape, x.dtype)


class SpatialDropout(Noise):
    """Zero whole channels (B, C, ...) with probability p: Dropout1d, 2d and 3d in one, by the number of dimensions.

    Args:
        p: probability to drop, in [0, 1).

    Example:
        >>> SpatialDropout(0.5)(torch.ones(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])

    Reference:
        J. Tompson, R. Goroshin, A. Jain, Y. LeCun, C. Bregler, Efficient object localization using convolutional
        networks, 2015.
    """

    p: Tensor

    def __init__(self, p: float | Tensor = 0.5) -> None:
        super().__init__(p)

    def _perturb(self, x: Tensor, at: Moment) -> Tensor:
        shape = torch.Size((*x.shape[:2], *(1 for _ in x.shape[2:])))
        return x * keep_scale(at, self.p, shape, x.dtype)


class TokenDropout(Noise):
    """Zero whole tokens (B, T, D) with probability p.

    Args:
        p: probability to drop, in [0, 1).

    Example:
        >>> TokenDropout(0.5)(torch.ones(2, 3, 4)).shape
        torch.Size([2, 3, 4])

    Reference:
        Y. Gal and Z. Ghahramani, A theoretically grounded application of dropout in recurrent neural networks, 2016.
    """

    p: Tensor

    def __init__(self, p: float | Tensor = 0.1) -> None:
        super().__init__(p)

    def _perturb(self, x: Tensor, at: Moment) -> Tensor:
        shape = torch.Size((*x.shape[:-1], 1))
        return x * keep_scale(at, self.p, shape, x.dtype)


class GaussianDropout(Noise):
    """Multiply each element by normal noise of mean 1 and variance p / (1 - p), that of dropout.

    Args:
        p: in [0, 1), the probability of the dropout whose variance is matched.

    Example:
        >>> GaussianDropout(0.0)(torch.ones(2))
        tensor([1., 1.])

    Reference:
        N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, Dropout, section 10, 2014.
    """

    p: Tensor

    def __init__(self, p: float | Tensor = 0.5) -> None:
        super().__init__(p)

    def _perturb(self, x: Tensor, at: Moment) -> Tensor:
        p = self.p.float()
        spread = (p / (1 - p)).sqrt()
        return x * (at.normal(x.shape) * spread + 1).to(x.dtype)
