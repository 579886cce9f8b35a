"""Penalties that are sums over coordinates: they act on any shard, stack or flat piece of a tensor.

The proximal operators of the non-convex ones are global minimisers for every step, also where the step is so long
that the proximal problem itself is no longer convex (there the solution jumps from 0 to a kept weight).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import check_number, check_strength
from meden.penalties.base import Number, Penalty, SparsePenalty, largest


def soft_threshold(w: Tensor, threshold: Number) -> Tensor:
    """Return sign(w) max(abs(w) - threshold, 0), written so that zeros are exact and positive."""
    return (w - w.clamp(-threshold, threshold)).to(w.dtype)  # type: ignore[arg-type]  # two numbers or two tensors


@dataclass(frozen=True)
class L1(SparsePenalty):
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
    separable = convex = has_prox = metric = True
    smooth = is_constraint = False

    def __post_init__(self) -> None:
        check_strength("L1 strength", self.strength)

    def value(self, w: Tensor) -> Tensor:
        return (self.strength * w.abs()).sum()

    def grad(self, w: Tensor) -> Tensor:
        return (self.strength * torch.sign(w)).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        return soft_threshold(w, step * self.strength)

    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        return largest(gradient_at_zero.abs())


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
    separable = convex = smooth = has_prox = metric = True
    is_constraint = False

    def __post_init__(self) -> None:
        check_strength("L2 strength", self.strength)

    def value(self, w: Tensor) -> Tensor:
        return (self.strength * w.square()).sum() / 2

    def grad(self, w: Tensor) -> Tensor:
        return (self.strength * w).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        return (w / (1 + step * self.strength)).to(w.dtype)


@dataclass(frozen=True)
class ElasticNet(SparsePenalty):
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
    separable = convex = has_prox = metric = True
    smooth = is_constraint = False

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

    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        """Return the smallest strength at which w = 0 is a solution; infinite when ``l1_ratio`` is 0."""
        return largest(gradient_at_zero.abs()) / self.l1_ratio


@dataclass(frozen=True)
class MCP(SparsePenalty):
    """Minimax concave penalty: L1 near zero, flat beyond gamma * strength, so that large weights are not shrunk.

    sum strength * abs(w) - w^2 / (2 gamma) where abs(w) <= gamma * strength, else gamma * strength^2 / 2.

    Args:
        strength: slope at zero, zero or more; a tensor broadcasts against ``w``.
        gamma: above 0; the larger, the more like L1. The proximal problem is convex for steps shorter than gamma; from
            there on the solution is hard thresholding at strength * sqrt(step * gamma).

    Example:
        >>> import torch
        >>> MCP(1.0, gamma=3.0).prox(torch.tensor([0.5, 2.0, 4.0]), step=1.0)
        tensor([0.0000, 1.5000, 4.0000])

    Reference:
        C.-H. Zhang, Nearly unbiased variable selection under minimax concave penalty, 2010.
    """

    strength: Number
    gamma: Number = 3.0
    separable = has_prox = metric = True
    convex = smooth = is_constraint = False

    def __post_init__(self) -> None:
        check_strength("MCP strength", self.strength)
        check_number("MCP gamma", self.gamma, low=0.0, low_open=True)

    def value(self, w: Tensor) -> Tensor:
        return self.terms(w).sum().to(w.dtype)

    def terms(self, w: Tensor) -> Tensor:
        """Return what each coordinate adds to the value."""
        size = w.abs().clamp(max=self.gamma * self.strength)
        return self.strength * size - size.square() / (2 * self.gamma)

    def grad(self, w: Tensor) -> Tensor:
        return (torch.sign(w) * torch.relu(self.strength - w.abs() / self.gamma)).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        size, threshold = w.abs(), step * self.strength
        keep = (size > self.gamma * self.strength) & (size.square() > self.gamma * self.strength * threshold)
        inner = soft_threshold(w, threshold) / (1 - step / self.gamma)
        return torch.where(keep, w, torch.where(size <= threshold, 0.0, inner)).to(w.dtype)

    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        """Return the smallest strength at which w = 0 is a local minimum: the slope at zero is that of L1."""
        return largest(gradient_at_zero.abs())


@dataclass(frozen=True)
class SCAD(SparsePenalty):
    """Smoothly clipped absolute deviation: L1 up to ``strength``, then bending until flat at gamma * strength.

    sum of strength * u - max(u - strength, 0)^2 / (2 (gamma - 1)), where u = min(abs(w), gamma * strength).

    Args:
        strength: slope at zero, zero or more; a tensor broadcasts against ``w``.
        gamma: above 1 (its authors ask for more than 2, and advise 3.7); the larger, the more like L1.

    Example:
        >>> import torch
        >>> SCAD(1.0, gamma=3.7).prox(torch.tensor([0.5, 1.5, 4.0]), step=1.0)
        tensor([0.0000, 0.5000, 4.0000])

    Reference:
        J. Fan and R. Li, Variable selection via nonconcave penalized likelihood and its oracle properties, 2001.
    """

    strength: Number
    gamma: Number = 3.7
    separable = has_prox = metric = True
    convex = smooth = is_constraint = False

    def __post_init__(self) -> None:
        check_strength("SCAD strength", self.strength)
        check_number("SCAD gamma", self.gamma, low=1.0, low_open=True)

    def value(self, w: Tensor) -> Tensor:
        size = w.abs().clamp(max=self.gamma * self.strength)
        bend = torch.relu(size - self.strength).square() / (2 * (self.gamma - 1))
        return (self.strength * size - bend).sum().to(w.dtype)

    def grad(self, w: Tensor) -> Tensor:
        slope = torch.relu(self.gamma * self.strength - w.abs()) / (self.gamma - 1)
        return (torch.sign(w) * slope.clamp(max=self.strength)).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        size, threshold, flat = w.abs(), step * self.strength, self.gamma * self.strength
        near = soft_threshold(w, threshold)
        # For long steps both the thresholded and the unchanged weight are local minima: keep where that one is lower.
        cost_near = threshold * near.abs() + (w - near).square() / 2
        keep = (size > flat) & (cost_near >= threshold * (flat + self.strength) / 2)
        middle = soft_threshold(w, step * flat / (self.gamma - 1)) / (1 - step / (self.gamma - 1))
        return torch.where(keep, w, torch.where(size > self.strength + threshold, middle, near)).to(w.dtype)

    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        """Return the smallest strength at which w = 0 is a local minimum: the slope at zero is that of L1."""
        return largest(gradient_at_zero.abs())


@dataclass(frozen=True)
class LogSum(SparsePenalty):
    """strength * sum log(1 + abs(w) / epsilon): each round of it is an L1 reweighted by 1 / (epsilon + abs(w)).

    Args:
        strength: multiplier, zero or more; a tensor broadcasts against ``w``.
        epsilon: above 0, the size below which a weight counts as small. The slope at zero is strength / epsilon.

    Example:
        >>> import torch
        >>> LogSum(0.1, epsilon=0.5).prox(torch.tensor([0.1, -2.0]), step=1.0)
        tensor([ 0.0000, -1.9593])

    Reference:
        E. Candès, M. Wakin and S. Boyd, Enhancing sparsity by reweighted l1 minimization, 2008.
    """

    strength: Number
    epsilon: Number = 0.1
    separable = has_prox = metric = True
    convex = smooth = is_constraint = False

    def __post_init__(self) -> None:
        check_strength("LogSum strength", self.strength)
        check_number("LogSum epsilon", self.epsilon, low=0.0, low_open=True)

    def value(self, w: Tensor) -> Tensor:
        return (self.strength * torch.log1p(w.abs() / self.epsilon)).sum()

    def grad(self, w: Tensor) -> Tensor:
        return (self.strength * torch.sign(w) / (self.epsilon + w.abs())).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        size, scale, eps = w.abs(), step * self.strength, self.epsilon
        # The larger stationary point; where there is none the comparison below still says that 0 is better.
        z = torch.relu(size - eps + torch.relu((size + eps).square() - 4 * scale).sqrt()) / 2
        zero_is_best = scale * torch.log1p(z / eps) >= z * (size - z / 2)
        return torch.where(zero_is_best, 0.0, z * torch.sign(w)).to(w.dtype)

    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        """Return the smallest strength at which w = 0 is a local minimum."""
        return largest(gradient_at_zero.abs()) * self.epsilon
