"""Penalties that are sums over coordinates: they act on any shard, stack or flat piece of a tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import check_number, check_strength
from meden.penalties.base import Number, Penalty


def soft_threshold(w: Tensor, threshold: Number) -> Tensor:
    """Return sign(w) max(abs(w) - threshold, 0), written so that zeros are exact and positive."""
    return w - torch.clamp(w, -threshold, threshold)


@dataclass(frozen=True)
class L1(Penalty):
    """strength * sum abs(w).

    Args:
        strength: multiplier, zero or more; a tensor broadcasts against ``w``.

    Example:
        >>> import torch
        >>> L1(0.5).prox(torch.tensor([2.0, -0.1, -1.0]), step=1.0)
        tensor([ 1.5000,  0.0000, -0.5000])

    Reference:
        R. Tibshirani, Regression shrinkage and selection via the lasso, 1996.
    """

    strength: Number
    separable = convex = has_prox = True
    smooth = False

    def __post_init__(self) -> None:
        check_strength("L1 strength", self.strength)

    def value(self, w: Tensor) -> Tensor:
        return (self.strength * w.abs()).sum()

    def grad(self, w: Tensor) -> Tensor:
        return self.strength * torch.sign(w)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        return soft_threshold(w, step * self.strength)


@dataclass(frozen=True)
class L2(Penalty):
    """strength / 2 * sum w^2: its gradient is strength * w, which is what ``weight_decay`` means.

    Args:
        strength: multiplier, zero or more; a tensor broadcasts against ``w``.

    Example:
        >>> import torch
        >>> L2(0.1).grad(torch.tensor([2.0, -1.0]))
        tensor([ 0.2000, -0.1000])

    Reference:
        A. Hoerl and R. Kennard, Ridge regression, 1970.
    """

    strength: Number
    separable = convex = smooth = has_prox = True

    def __post_init__(self) -> None:
        check_strength("L2 strength", self.strength)

    def value(self, w: Tensor) -> Tensor:
        return (self.strength * w.square()).sum() / 2

    def grad(self, w: Tensor) -> Tensor:
        return self.strength * w

    def prox(self, w: Tensor, step: Number) -> Tensor:
        return w / (1 + step * self.strength)


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """strength * (l1_ratio * sum abs(w) + (1 - l1_ratio) / 2 * sum w^2).

    Args:
        strength: multiplier, zero or more; a tensor broadcasts against ``w``.
        l1_ratio: share of the L1 part, from 0 (L2 alone) to 1 (L1 alone).

    Example:
        >>> import torch
        >>> ElasticNet(1.0, l1_ratio=0.5).prox(torch.tensor([2.0, 0.4]), step=1.0)
        tensor([1., 0.])

    Reference:
        H. Zou and T. Hastie, Regularization and variable selection via the elastic net, 2005.
    """

    strength: Number
    l1_ratio: Number = 0.5
    separable = convex = has_prox = True
    smooth = False

    def __post_init__(self) -> None:
        check_strength("ElasticNet strength", self.strength)
        check_number("ElasticNet l1_ratio", self.l1_ratio, low=0.0, high=1.0)

    @property
    def parts(self) -> tuple[L1, L2]:
        """The two penalties of which this is the sum."""
        return L1(self.strength * self.l1_ratio), L2(self.strength * (1 - self.l1_ratio))

    def value(self, w: Tensor) -> Tensor:
        l1, l2 = self.parts
        return l1.value(w) + l2.value(w)

    def grad(self, w: Tensor) -> Tensor:
        l1, l2 = self.parts
        return l1.grad(w) + l2.grad(w)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        l1, l2 = self.parts
        return l2.prox(l1.prox(w, step), step)
