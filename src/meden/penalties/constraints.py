"""Constraints: the value is 0 inside a set and infinite outside, the prox is the nearest point of the set.

With a step per coordinate "nearest" is meant in the metric of that step, which is what makes a projected adaptive
optimizer stop at the solution of the constrained problem and not somewhere else on the boundary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import InputError, check_number
from meden.penalties.base import Number, Penalty, check_scalar_step, indicator, tolerance, wide
from meden.penalties.groups import Dim, Groups


@dataclass(frozen=True)
class Box(Penalty):
    """low <= w <= high for each coordinate (weight clipping is ``Box(-c, c)``).

    Args:
        low: smallest value allowed; a tensor broadcasts against ``w``.
        high: largest value allowed, at least ``low``.

    Example:
        >>> import torch
        >>> Box(-1.0, 2.0).prox(torch.tensor([-3.0, 0.5, 3.0]), step=0.1)
        tensor([-1.0000,  0.5000,  2.0000])

    Reference:
        M. Arjovsky, S. Chintala and L. Bottou, Wasserstein GAN, 2017 (clipping of weights).
    """

    low: Number
    high: Number
    separable = convex = has_prox = metric = is_constraint = True
    smooth = False

    def __post_init__(self) -> None:
        check_number("Box low", self.low)
        check_number("Box high", self.high)
        if not isinstance(self.low, Tensor) and not isinstance(self.high, Tensor) and self.low > self.high:
            raise InputError(f"Box high must be at least low = {self.low!r}, got {self.high!r}")

    def value(self, w: Tensor) -> Tensor:
        return indicator((w >= self.low) & (w <= self.high), w)

    def grad(self, w: Tensor) -> Tensor:
        return torch.zeros_like(w)

    def prox(self, w: Tensor, step: Number) -> Tensor:  # noqa: ARG002 - the nearest point is the same for any step
        return torch.clamp(torch.clamp(w, min=self.low), max=self.high).to(w.dtype)


@dataclass(frozen=True)
class NonNegative(Penalty):
    """w >= 0 for each coordinate.

    Example:
        >>> import torch
        >>> NonNegative().prox(torch.tensor([-3.0, 0.5]), step=0.1)
        tensor([0.0000, 0.5000])

    Reference:
        C. Lawson and R. Hanson, Solving least squares problems, 1974.
    """

    separable = convex = has_prox = metric = is_constraint = True
    smooth = False

    def value(self, w: Tensor) -> Tensor:
        return indicator(w >= 0, w)

    def grad(self, w: Tensor) -> Tensor:
        return torch.zeros_like(w)

    def prox(self, w: Tensor, step: Number) -> Tensor:  # noqa: ARG002 - the nearest point is the same for any step
        return torch.relu(w)


@dataclass(frozen=True)
class MaxNorm(Penalty):
    """norm(w_g) <= radius for each slice along ``dim``: by default the incoming weights of each unit.

    Args:
        radius: largest norm allowed, above 0; a number or a 0-d tensor. Values of 3 to 4 are usual with dropout.
        dim: what has a slice each, ``"units"`` or ``"inputs"`` of any layer; or the axis along which they are counted.
            The norm is over all the other axes.

    Example:
        >>> import torch
        >>> MaxNorm(1.0).prox(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), step=0.1)
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]])

    Reference:
        N. Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014.
    """

    radius: Number
    dim: Dim = "units"
    convex = has_prox = metric = is_constraint = True
    separable = smooth = False

    def __post_init__(self) -> None:
        check_number("MaxNorm radius", self.radius, low=0.0, low_open=True)
        Groups(self.dim)

    @property
    def groups(self) -> Groups:
        """The slices whose norms are constrained."""
        return Groups(self.dim)

    def value(self, w: Tensor) -> Tensor:
        return indicator(self.groups.norm(w) <= self.radius * (1 + tolerance(w)), w)

    def grad(self, w: Tensor) -> Tensor:
        return torch.zeros_like(w)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        groups = self.groups
        norm = groups.norm(w)
        if isinstance(step, Tensor) and step.ndim > 0:
            # The nearest point in the metric is w / (1 + t step), with the t that makes its norm the radius.
            inverse = (1 / wide(step)).expand_as(w)
            t = torch.where(norm <= self.radius, 0.0, groups.root(wide(w) * inverse, inverse, self.radius))
            return (w / (1 + groups.spread(t, w) * step)).to(w.dtype)
        return (w * groups.spread(self.radius / norm.clamp(min=self.radius), w)).to(w.dtype)


@dataclass(frozen=True)
class UnitNorm(Penalty):
    """norm(w_g) = 1 for each slice along ``dim``; a slice of zeros, which has no direction, stays as it is.

    Args:
        dim: what has a slice each, ``"units"`` or ``"inputs"`` of any layer; or the axis along which they are counted.
            The norm is over all the other axes.

    Example:
        >>> import torch
        >>> UnitNorm().prox(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), step=0.1)
        tensor([[0.6000, 0.8000],
                [0.6000, 0.8000]])

    Reference:
        T. Salimans and D. Kingma, Weight normalization, 2016 (directions apart from lengths).
    """

    dim: Dim = "units"
    has_prox = is_constraint = True
    separable = convex = smooth = metric = False

    def __post_init__(self) -> None:
        Groups(self.dim)

    @property
    def groups(self) -> Groups:
        """The slices whose norms are constrained."""
        return Groups(self.dim)

    def value(self, w: Tensor) -> Tensor:
        return indicator((self.groups.norm(w) - 1).abs() <= tolerance(w), w)

    def grad(self, w: Tensor) -> Tensor:
        return torch.zeros_like(w)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        check_scalar_step("UnitNorm", step)
        groups = self.groups
        norm = groups.norm(w)
        return (w / groups.spread(torch.where(norm == 0, 1.0, norm), w)).to(w.dtype)
