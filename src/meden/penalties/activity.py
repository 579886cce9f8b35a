"""Penalties on what a layer puts out, not on its weights: they join the loss.

Legend: ``a`` activations of shape (B, ...), B the samples of the batch.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import check_number, check_strength
from meden.penalties.base import Number


class ActivityPenalty(abc.ABC):
    """A function of a layer's output, averaged over the batch, times its strength."""

    @abc.abstractmethod
    def value(self, a: Tensor) -> Tensor:
        """Return the penalty of activations of shape (B, ...), a 0-d tensor that autograd can differentiate."""


@dataclass(frozen=True)
class ActivityL1(ActivityPenalty):
    """strength * mean over samples of sum abs(a): few units are active for each sample.

    Args:
        strength: multiplier, zero or more.

    Example:
        >>> import torch
        >>> ActivityL1(0.1).value(torch.tensor([[1.0, -2.0], [0.0, 1.0]]))
        tensor(0.2000)

    Reference:
        X. Glorot, A. Bordes and Y. Bengio, Deep sparse rectifier neural networks, 2011.
    """

    strength: Number

    def __post_init__(self) -> None:
        check_strength("ActivityL1 strength", self.strength)

    def value(self, a: Tensor) -> Tensor:
        return self.strength * a.abs().sum() / max(len(a), 1)


@dataclass(frozen=True)
class ActivityL2(ActivityPenalty):
    """strength / 2 * mean over samples of sum a^2.

    Args:
        strength: multiplier, zero or more.

    Example:
        >>> import torch
        >>> ActivityL2(0.1).value(torch.tensor([[1.0, -2.0], [0.0, 1.0]]))
        tensor(0.1500)

    Reference:
        S. Merity, B. McCann and R. Socher, Revisiting activation regularization for language RNNs, 2017.
    """

    strength: Number

    def __post_init__(self) -> None:
        check_strength("ActivityL2 strength", self.strength)

    def value(self, a: Tensor) -> Tensor:
        return self.strength * a.square().sum() / (2 * max(len(a), 1))


@dataclass(frozen=True)
class KLSparsity(ActivityPenalty):
    """strength * sum over units of KL(rho || mean activation), of activations between 0 and 1 such as a sigmoid's.

    KL(rho || m) = rho log(rho / m) + (1 - rho) log((1 - rho) / (1 - m)), with m the mean over the batch.

    Args:
        strength: multiplier, zero or more.
        rho: mean activation wanted of each unit, between 0 and 1.

    A mean outside of (0, 1) counts as the nearest number inside.

    Example:
        >>> import torch
        >>> KLSparsity(1.0, rho=0.5).value(torch.tensor([[0.2], [0.8]]))
        tensor(0.)

    Reference:
        A. Ng, Sparse autoencoder (CS294A lecture notes), 2011.
    """

    strength: Number
    rho: Number = 0.05

    def __post_init__(self) -> None:
        check_strength("KLSparsity strength", self.strength)
        check_number("KLSparsity rho", self.rho, low=0.0, high=1.0, low_open=True, high_open=True)

    def value(self, a: Tensor) -> Tensor:
        eps = torch.finfo(a.dtype).eps
        mean = (a.sum(dim=0) / max(len(a), 1)).clamp(eps, 1 - eps)
        rho = torch.as_tensor(self.rho, dtype=a.dtype, device=a.device)
        divergence = rho * (rho / mean).log() + (1 - rho) * ((1 - rho) / (1 - mean)).log()
        return self.strength * divergence.sum()
