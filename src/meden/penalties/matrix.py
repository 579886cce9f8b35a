"""Penalties on a weight as a matrix: rows are ``dim`` 0 (output units, filters), columns all the other axes together.

Legend: ``w`` has shape (out, ...), its matrix (out, rest). They need the whole matrix at once: a DTensor is gathered,
and the proximal operators take one step for all coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import InputError, check_number, check_strength
from meden.penalties.base import Number, Penalty, SparsePenalty, check_scalar_step, indicator, largest, tolerance, wide
from meden.penalties.sharding import whole


def as_matrix(name: str, w: Tensor) -> Tensor:
    """Return ``w`` as a matrix (out, rest) in float32 or wider.

    Raises:
        InputError: if ``w`` has fewer than two dimensions.
    """
    if w.ndim < 2:
        raise InputError(f"{name} needs a tensor of at least 2 dimensions, got shape {tuple(w.shape)}")
    return wide(whole(w)).flatten(1)


@dataclass(frozen=True)
class Nuclear(SparsePenalty):
    """strength * the sum of singular values: lowers the rank.

    Args:
        strength: multiplier, zero or more; a number or a 0-d tensor.

    Example:
        >>> import torch
        >>> Nuclear(1.0).prox(torch.diag(torch.tensor([3.0, 0.5])), step=1.0).abs()
        tensor([[2., 0.],
                [0., 0.]])

    Reference:
        J.-F. Cai, E. Candès and Z. Shen, A singular value thresholding algorithm for matrix completion, 2010.
    """

    strength: Number
    convex = has_prox = True
    separable = smooth = metric = is_constraint = False

    def __post_init__(self) -> None:
        check_strength("Nuclear strength", self.strength)

    def value(self, w: Tensor) -> Tensor:
        return (self.strength * _singular_values("Nuclear", w).sum()).to(w.dtype)

    def grad(self, w: Tensor) -> Tensor:
        u, s, vh = _factors(as_matrix("Nuclear", w))
        not_a_number_if_diverged = 0 * s.sum()
        return (self.strength * (u @ vh) + not_a_number_if_diverged).reshape(w.shape).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        check_scalar_step("Nuclear", step)
        u, s, vh = _factors(as_matrix("Nuclear", w))
        return (u * torch.relu(s - step * self.strength) @ vh).reshape(w.shape).to(w.dtype)

    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        return largest(_singular_values("Nuclear", gradient_at_zero)).to(gradient_at_zero.dtype)


@dataclass(frozen=True)
class Orthogonality(Penalty):
    """strength * sum (W W^T - I)^2 with W the rows, or W^T W where there are more rows than columns.

    Args:
        strength: multiplier, zero or more; a number or a 0-d tensor.

    It is 0 exactly when the rows (or the columns) are orthogonal and of length 1. It has no proximal operator: use it
    through the loss or the gradient.

    Example:
        >>> import torch
        >>> Orthogonality(1.0).value(torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
        tensor(9.)

    Reference:
        N. Bansal, X. Chen and Z. Wang, Can we gain more from orthogonality regularizations in training deep CNNs?,
        2018.
    """

    strength: Number
    smooth = True
    separable = convex = has_prox = metric = is_constraint = False

    def __post_init__(self) -> None:
        check_strength("Orthogonality strength", self.strength)

    def value(self, w: Tensor) -> Tensor:
        return (self.strength * _gram_error(_tall(as_matrix("Orthogonality", w))).square().sum()).to(w.dtype)

    def grad(self, w: Tensor) -> Tensor:
        matrix = as_matrix("Orthogonality", w)
        tall = _tall(matrix)
        grad = 4 * self.strength * (tall @ _gram_error(tall))
        return (grad if tall.shape == matrix.shape else grad.mT).reshape(w.shape).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:  # noqa: ARG002 - there is none
        raise InputError("Orthogonality has no proximal operator; use coupling 'loss' or 'gradient'")


@dataclass(frozen=True)
class SpectralNorm(Penalty):
    """The largest singular value is at most ``radius``; larger ones are clipped to it.

    Args:
        radius: above 0; a number or a 0-d tensor.

    Example:
        >>> import torch
        >>> SpectralNorm(1.0).prox(torch.diag(torch.tensor([3.0, 0.5])), step=1.0).abs()
        tensor([[1.0000, 0.0000],
                [0.0000, 0.5000]])

    Reference:
        H. Sedghi, V. Gupta and P. Long, The singular values of convolutional layers, 2019 (projection by clipping).
    """

    radius: Number
    convex = has_prox = is_constraint = True
    separable = smooth = metric = False

    def __post_init__(self) -> None:
        check_number("SpectralNorm radius", self.radius, low=0.0, low_open=True)

    def value(self, w: Tensor) -> Tensor:
        return indicator(_singular_values("SpectralNorm", w) <= self.radius * (1 + tolerance(w)), w)

    def grad(self, w: Tensor) -> Tensor:
        return torch.zeros_like(w)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        check_scalar_step("SpectralNorm", step)
        matrix = as_matrix("SpectralNorm", w)
        u, s, vh = _factors(matrix)
        excess = torch.relu(s - self.radius)
        return (matrix - u * excess @ vh).reshape(w.shape).to(w.dtype)


def _factors(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # The SVD raises on what is not finite, which would stop a whole population for one diverged member.
    finite = torch.isfinite(matrix).all()
    tall = _tall(torch.where(finite, matrix, 0.0))  # of a wide matrix it takes nearly twice the time
    u, s, vh = torch.linalg.svd(tall, full_matrices=False)
    s = torch.where(finite, s, torch.nan)
    return (u, s, vh) if tall.shape == matrix.shape else (vh.mT, s, u.mT)


def _singular_values(name: str, w: Tensor) -> Tensor:
    return _factors(as_matrix(name, w))[1]


def _tall(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] > matrix.shape[1] else matrix.mT


def _gram_error(tall: Tensor) -> Tensor:
    gram = tall.mT @ tall
    return gram - torch.ones_like(gram).tril().triu()
