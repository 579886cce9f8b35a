"""A group penalty whose groups have a linear part, which bounds the rest: an input leaves a network as a whole.

Legend: G groups of S numbers each, the rows of ``w``: first K skip weights, from an input straight to the outputs,
then the weights by which the input enters the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import check_count, check_number, check_strength
from meden.penalties.base import Number, SparsePenalty, largest, tolerance, wide
from meden.penalties.groups import Groups
from meden.penalties.sharding import whole

_ONE, _EACH = 14, 28
"""Steps of Newton's method: for one length of the proximal step 12 were enough to rounding, for lengths that differ by
up to a factor of 10,000 within a group 24."""
_HARD = 1e-12


@dataclass(frozen=True)
class HierarchicalLasso(SparsePenalty):
    """strength * sqrt(K) * sum over groups of norm(skip_g), where no other weight of g exceeds bound * norm(skip_g).

    An input whose skip weights are zero is out of the network too. With ``bound`` 0 the model is linear, and this
    is its group lasso; the larger it is, the less an input's part in the network costs.

    Args:
        strength: multiplier, zero or more; a number or a 0-d tensor.
        num_skip: K, how many of the numbers of a group are skip weights: the first ones. A smaller group has no others.
        bound: largest size of the others, as a multiple of the norm of the skip weights; zero or more.
        size_weighted: whether the factor sqrt(K) is there.

    The value is infinite where a bound is exceeded, so the coupling must be proximal. In the norm of the skip weights
    the proximal step is a convex problem of one dimension, also with a step for each coordinate; Newton's method, kept
    between bounds, solves it to rounding, and zeroed groups are exact zeros.

    Example:
        >>> import torch
        >>> w = torch.tensor([[2.0, 9.0, -0.5], [0.3, 0.1, 0.2]])
        >>> HierarchicalLasso(1.0, bound=1.0).prox(w, step=1.0)
        tensor([[ 5.0000,  5.0000, -0.5000],
                [ 0.0000,  0.0000,  0.0000]])

    Reference:
        I. Lemhadri, F. Ruan, L. Abraham and R. Tibshirani, LassoNet: a neural network with feature sparsity, 2021 (the
        constraint, and its proximal operator for one step).
    """

    strength: Number
    num_skip: int = 1
    bound: float = 10.0
    size_weighted: bool = True
    has_prox = metric = True
    separable = convex = smooth = is_constraint = False

    def __post_init__(self) -> None:
        check_strength("HierarchicalLasso strength", self.strength)
        check_count("HierarchicalLasso num_skip", self.num_skip)
        check_number("HierarchicalLasso bound", self.bound, low=0.0)

    @property
    def groups(self) -> Groups:
        """The rows."""
        return Groups(0)

    @property
    def factor(self) -> float:
        """What multiplies the strength: the square root of the number of skip weights, or 1."""
        return math.sqrt(self.num_skip) if self.size_weighted else 1.0

    @property
    def weight(self) -> Number:
        """What multiplies the norms."""
        return self.strength * self.factor

    def hard_part(self) -> HierarchicalLasso:
        return self.replace({"strength": 0.0})

    def value(self, w: Tensor) -> Tensor:
        skip, others = self._parts(w)
        norm = torch.linalg.vector_norm(skip, dim=1)
        allowed = self.bound * norm.detach() * (1 + tolerance(w))
        over = largest(torch.relu(others.detach().abs() - allowed[:, None]))
        total: Tensor = self.weight * norm.sum() + torch.where(over > 0, torch.inf, over)
        return total.to(w.dtype)

    def grad(self, w: Tensor) -> Tensor:
        skip, others = self._parts(w)
        norm = torch.linalg.vector_norm(skip, dim=1, keepdim=True)
        slope = self.weight * skip / torch.where(norm == 0, 1.0, norm)
        return torch.cat([slope, torch.zeros_like(others)], dim=1).reshape(w.shape).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        if w.numel() == 0:
            return w
        has_each = isinstance(step, Tensor) and step.ndim > 0
        (v, u), (a, b) = self._parts(w), self._parts(torch.ones_like(w) * step)
        skip = self._skip(v, u, a, b, _EACH if has_each else _ONE)
        most = self.bound * torch.linalg.vector_norm(skip, dim=1, keepdim=True)
        others = torch.where(most == 0, 0.0, torch.clamp(u, -most, most))
        return torch.cat([skip, others], dim=1).reshape(w.shape).to(w.dtype)

    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        skip, others = self._parts(gradient_at_zero)
        pull = torch.linalg.vector_norm(skip, dim=1) + self.bound * others.abs().sum(dim=1)
        return (largest(pull) / self.factor).to(gradient_at_zero.dtype)

    def _parts(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return skip weights and others, (G, K) and (G, S - K)."""
        rows = wide(whole(w)).flatten(1)
        return rows[:, : self.num_skip], rows[:, self.num_skip :]

    def _skip(self, v: Tensor, u: Tensor, a: Tensor, b: Tensor, num: int) -> Tensor:
        """Return the skip weights after the step.

        At norm r the skip weights are v / (1 + mu a), where mu, from -1 / max(a) on, makes that their norm. The slope
        of the objective in r is

            strength - mu r - bound * sum of max(abs(u) - bound * r, 0) / b,

        and rises with r. The unknown is t = 1 / (1 + mu max(a)), which grows with r from 0 at r = 0.
        """
        sizes, longest = u.abs(), a.amax(dim=1, keepdim=True)
        relative, rates = a / longest, 1 / b
        v = self._tilted(v, sizes, relative)
        pull = torch.linalg.vector_norm(v / a, dim=1, keepdim=True) + self.bound * _dot(sizes, rates)
        low, high = torch.zeros_like(longest), self._highest(v, sizes, relative)
        t = torch.relu(1 - self.weight * longest / self._norm(v))
        for _ in range(num):
            q = relative + (1 - relative) * t
            y = v / q
            n = self._norm(y)
            n_slope = -(y.square() * (1 - relative) / q).sum(1, keepdim=True) / n
            over = torch.relu(sizes - self.bound * t * n)
            active = _dot(torch.sign(over), rates)
            left = (1 - t) / longest * n + self.bound * _dot(over, rates)
            bend = (n + (t - 1) * n_slope) / longest + self.bound**2 * active * (n + t * n_slope)
            low, high = torch.where(left >= self.weight, t, low), torch.where(left <= self.weight, t, high)
            newton = (left - self.weight) / bend
            inside = (t + newton >= low) & (t + newton <= high)
            middle = torch.where(low > 0, (low * high).sqrt(), high / 2)
            t = torch.where(inside, t + newton, middle)
        return torch.where(pull <= self.weight, 0.0, v * t / (relative + (1 - relative) * t))

    def _norm(self, v: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(v, dim=1, keepdim=True)
        return norm.clamp(min=torch.finfo(v.dtype).tiny ** 0.75)

    def _widest(self, sizes: Tensor, v: Tensor) -> Tensor:
        return sizes.amax(dim=1, keepdim=True) if sizes.shape[1] else torch.zeros_like(v[:, :1])

    def _tilted(self, v: Tensor, sizes: Tensor, relative: Tensor) -> Tensor:
        """Return skip weights whose largest steps have somewhere to go, where the others may call for a longer norm."""
        widest = self._widest(sizes, v)
        least = _HARD * (self._norm(v) + self.bound * widest)
        return torch.where((relative == 1) & (v.abs() < least), least, v)

    def _highest(self, v: Tensor, sizes: Tensor, relative: Tensor) -> Tensor:
        """Return a t from which on the slope is positive: no bound holds there any more."""
        top = torch.where(relative == 1, v.abs(), 0.0).amax(dim=1, keepdim=True)
        widest = self._widest(sizes, v)
        return (widest / (self.bound * top).clamp(min=torch.finfo(v.dtype).tiny ** 0.75)).clamp(min=1.0)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each row, (G, 1)."""
    return (a[:, None] @ b[:, :, None])[:, :, 0]
