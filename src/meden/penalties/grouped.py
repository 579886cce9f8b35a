"""Penalties on the norms of groups: a group leaves as a whole.

Groups are slices along ``dim``: ``"units"`` of a weight is one group for each output unit, row or filter, ``"inputs"``
one for each input; with ``block=head_size`` one for each attention head (the units of the query, key and value
projections, the inputs of the output projection). A DTensor may be sharded along any axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import check_number, check_strength
from meden.penalties.base import Number, SparsePenalty, largest, wide
from meden.penalties.groups import Dim, Groups
from meden.penalties.separable import L1, MCP, soft_threshold

_BISECTIONS = 60
_ROOT_STEPS = 16  # to rounding took 12 at most for steps over eight decades


@dataclass(frozen=True)
class GroupLasso(SparsePenalty):
    """strength * sqrt(size) * sum over groups of norm(w_g), with size the number of coordinates in a group.

    The factor sqrt(size) makes one strength fit layers of different widths (a group of pure noise has a norm that
    grows with it). Tools without it use strength * sqrt(size) of ours: pass ``size_weighted=False`` for their scale.

    Args:
        strength: multiplier, zero or more; a number or a 0-d tensor.
        dim: what the groups are, ``"units"`` or ``"inputs"`` of any layer; or the axis along which they are counted.
        block: how many neighbours along ``dim`` make one group; it must divide the size of the axis.
        size_weighted: whether the factor sqrt(size) is there.

    With one step for all coordinates the proximal operator is block soft thresholding, in closed form; with a step
    for each coordinate it is found by Newton's method to rounding, and zeroed groups are exact zeros in both.

    Example:
        >>> import torch
        >>> GroupLasso(0.5, size_weighted=False).prox(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), step=2.0)
        tensor([[2.4000, 3.2000],
                [0.0000, 0.0000]])

    Reference:
        M. Yuan and Y. Lin, Model selection and estimation in regression with grouped variables, 2006.
    """

    strength: Number
    dim: Dim = "units"
    block: int = 1
    size_weighted: bool = True
    convex = has_prox = metric = True
    separable = smooth = is_constraint = False

    def __post_init__(self) -> None:
        check_strength("GroupLasso strength", self.strength)
        Groups(self.dim, self.block)

    @property
    def groups(self) -> Groups:
        """The slices whose norms are penalised."""
        return Groups(self.dim, self.block)

    def value(self, w: Tensor) -> Tensor:
        return (self.strength * self.factor(w) * self.groups.norm(w).sum()).to(w.dtype)

    def grad(self, w: Tensor) -> Tensor:
        norm = self.groups.norm(w)
        scale = self.strength * self.factor(w) / torch.where(norm == 0, 1.0, norm)
        return (w * self.groups.spread(scale, w)).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        if isinstance(step, Tensor) and step.ndim > 0:
            return self._weighted_prox(wide(w), step).to(w.dtype)
        threshold = step * self.strength * self.factor(w)
        norm = self.groups.norm(w).clamp(min=threshold)
        # a tensor above, too: a number over a tensor is a product with the reciprocal, which misses 1
        shrink = threshold * torch.ones_like(norm) / torch.where(norm == 0, 1.0, norm)
        return (w - w * self.groups.spread(shrink, w)).to(w.dtype)

    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        norm = largest(self.groups.norm(gradient_at_zero)) / self.factor(gradient_at_zero)
        return norm.to(gradient_at_zero.dtype)

    def _weighted_prox(self, w: Tensor, step: Tensor) -> Tensor:
        # The solution is w r / (a + r) with r its norm, that is norm(w / (a + r)) = 1; or 0 if norm(w / a) <= 1.
        smallest = torch.finfo(w.dtype).tiny ** 0.75
        a = (step * self.strength * self.factor(w)).expand_as(w).clamp(min=smallest)
        r = torch.where(self.groups.norm(w / a) <= 1, 0.0, self.groups.root(w, a, 1.0))
        return w - w * (a / (a + self.groups.spread(r, w)))

    def factor(self, w: Tensor) -> float:
        """Return what multiplies the strength: the square root of the size of a group, or 1."""
        return math.sqrt(self.groups.size(w)) if self.size_weighted else 1.0


@dataclass(frozen=True)
class SparseGroupLasso(SparsePenalty):
    """strength * (l1_ratio * sum abs(w) + (1 - l1_ratio) * sqrt(size) * sum over groups of norm(w_g)).

    Args:
        strength: multiplier, zero or more; a number or a 0-d tensor.
        l1_ratio: share of the L1 part, from 0 (GroupLasso alone) to 1 (L1 alone).
        dim: what the groups are, ``"units"`` or ``"inputs"`` of any layer; or the axis along which they are counted.
        block: how many neighbours along ``dim`` make one group; it must divide the size of the axis.
        size_weighted: whether the factor sqrt(size) is there.

    The proximal operator thresholds coordinates, then groups: exact for one step and for a step per coordinate.

    Example:
        >>> import torch
        >>> w = torch.tensor([[3.5, 4.5], [0.6, 0.1]])
        >>> SparseGroupLasso(1.0, l1_ratio=0.5, size_weighted=False).prox(w, step=1.0)
        tensor([[2.7000, 3.6000],
                [0.0000, 0.0000]])

    Reference:
        N. Simon, J. Friedman, T. Hastie and R. Tibshirani, A sparse-group lasso, 2013.
    """

    strength: Number
    l1_ratio: Number = 0.5
    dim: Dim = "units"
    block: int = 1
    size_weighted: bool = True
    convex = has_prox = metric = True
    separable = smooth = is_constraint = False

    def __post_init__(self) -> None:
        check_strength("SparseGroupLasso strength", self.strength)
        check_number("SparseGroupLasso l1_ratio", self.l1_ratio, low=0.0, high=1.0)
        Groups(self.dim, self.block)

    @property
    def groups(self) -> Groups:
        """The slices whose norms are penalised."""
        return Groups(self.dim, self.block)

    @property
    def parts(self) -> tuple[L1, GroupLasso]:
        """The two penalties of which this is the sum."""
        group = GroupLasso(self.strength * (1 - self.l1_ratio), self.dim, self.block, self.size_weighted)
        return L1(self.strength * self.l1_ratio), group

    def value(self, w: Tensor) -> Tensor:
        l1, group = self.parts
        return l1.value(w) + group.value(w)

    def grad(self, w: Tensor) -> Tensor:
        l1, group = self.parts
        return l1.grad(w) + group.grad(w)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        l1, group = self.parts
        return group.prox(l1.prox(w, step), step)

    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        """Return the smallest strength at which w = 0 is a solution, found for each group by bisection."""
        g, groups = wide(gradient_at_zero), Groups(self.dim, self.block)
        l1, group = self.replace({"strength": 1.0}).parts
        low = torch.zeros_like(groups.norm(g))
        high = 2 * groups.norm(g)  # enough: one of the two parts has at least half of the strength
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            kept = groups.norm(soft_threshold(g, groups.spread(middle * l1.strength, g)))
            too_weak = kept > middle * group.strength * group.factor(g)
            low, high = torch.where(too_weak, middle, low), torch.where(too_weak, high, middle)
        return largest(high).to(gradient_at_zero.dtype)


@dataclass(frozen=True)
class GroupMCP(SparsePenalty):
    """Minimax concave penalty on the norms of groups: GroupLasso near zero, and flat, so that large ones stay.

    Sum over groups of slope * norm(w_g) - norm(w_g)^2 / (2 gamma) where norm(w_g) <= gamma * slope, else
    gamma * slope^2 / 2, with slope = strength * sqrt(size).

    Args:
        strength: multiplier of the slope at zero, zero or more; a number or a 0-d tensor.
        gamma: above 0; the larger, the more like GroupLasso. The proximal problem is convex for steps shorter than
            gamma; from there on groups are kept as they are or zeroed (hard thresholding).
        dim: what the groups are, ``"units"`` or ``"inputs"`` of any layer; or the axis along which they are counted.
        block: how many neighbours along ``dim`` make one group; it must divide the size of the axis.
        size_weighted: whether the factor sqrt(size) is there.

    The proximal operator is firm thresholding of norms, in closed form for one step; for a step per coordinate, of
    any length, it is the best of the three points that can be: zero, the group as it is, and one between, the root of
    an equation of one unknown.

    Example:
        >>> import torch
        >>> w = torch.tensor([[3.0, 4.0], [0.9, 1.2], [0.3, 0.4]])
        >>> GroupMCP(1.0, gamma=3.0, size_weighted=False).prox(w, step=1.0)
        tensor([[3.0000, 4.0000],
                [0.4500, 0.6000],
                [0.0000, 0.0000]])

    Reference:
        P. Breheny and J. Huang, Group descent algorithms for nonconvex penalized linear and logistic regression models
        with grouped predictors, 2015; C.-H. Zhang, Nearly unbiased variable selection under minimax concave penalty,
        2010.
    """

    strength: Number
    gamma: Number = 3.0
    dim: Dim = "units"
    block: int = 1
    size_weighted: bool = True
    has_prox = metric = True
    separable = convex = smooth = is_constraint = False

    def __post_init__(self) -> None:
        check_strength("GroupMCP strength", self.strength)
        check_number("GroupMCP gamma", self.gamma, low=0.0, low_open=True)
        Groups(self.dim, self.block)

    @property
    def groups(self) -> Groups:
        """The slices whose norms are penalised."""
        return Groups(self.dim, self.block)

    def value(self, w: Tensor) -> Tensor:
        return self._of_norms(w).value(self.groups.norm(w)).to(w.dtype)

    def grad(self, w: Tensor) -> Tensor:
        norm = self.groups.norm(w)
        scale = self._of_norms(w).grad(norm) / torch.where(norm == 0, 1.0, norm)
        return (w * self.groups.spread(scale, w)).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        if isinstance(step, Tensor) and step.ndim > 0:
            return self._weighted_prox(wide(w), step).to(w.dtype)
        norm = self.groups.norm(w)
        shrink = (norm - self._of_norms(w).prox(norm, step)) / torch.where(norm == 0, 1.0, norm)
        return (w - w * self.groups.spread(shrink, w)).to(w.dtype)

    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        """Return the smallest strength at which w = 0 is a local minimum: the slope at zero is that of GroupLasso."""
        return self._like_lasso.strength_max(gradient_at_zero)

    @property
    def _like_lasso(self) -> GroupLasso:
        return GroupLasso(self.strength, self.dim, self.block, self.size_weighted)

    def _of_norms(self, w: Tensor) -> MCP:
        return MCP(self.strength * self._like_lasso.factor(w), self.gamma)

    def _weighted_prox(self, w: Tensor, step: Tensor) -> Tensor:
        # A point of norm r < gamma slope, where value and distance balance, is w / (1 + step m) with m = slope / r -
        # 1 / gamma, and has (m + 1 / gamma) norm(w / (1 + step m)) = slope. The left side, as a function of m, falls
        # and then rises: each term of the sum that its derivative has the sign of rises in m, if multiplied by
        # (m + 1 / gamma)^3. Minima are where it rises: there is one at most.
        groups, penalty = self.groups, self._of_norms(w)
        tiny = torch.finfo(w.dtype).tiny ** 0.25
        step = step.to(w.dtype).expand_as(w).clamp(min=tiny)
        slope = torch.as_tensor(penalty.strength, dtype=w.dtype, device=w.device).clamp(min=tiny)
        length = groups.norm(w)
        low, high = torch.zeros_like(length), torch.minimum(length, self.gamma * slope)
        r = high / 2
        for _ in range(_ROOT_STEPS):
            r = r.clamp(min=tiny)
            m = torch.relu(slope / r - 1 / self.gamma)
            shorter = 1 / (1 + step * groups.spread(m, w))
            terms = (w * shorter).square()
            squares, fall = groups.total(terms), (m + 1 / self.gamma) * groups.total(terms * step * shorter)
            side = (m + 1 / self.gamma) * squares.sqrt()
            is_short = (side > slope) & (squares >= fall)  # r is less than at the minimum
            low, high = torch.where(is_short, r, low), torch.where(is_short, high, r)
            # Newton's method on 1 / side, which is linear in r where all steps are alike
            change = (side / slope - 1) * side * squares.sqrt() * r.square() / (slope * (squares - fall))
            near = r + change
            r = torch.where((near >= low) & (near <= high), near, (low + high) / 2)
        m = torch.relu(slope / r.clamp(min=tiny) - 1 / self.gamma)
        between = w / (1 + step * groups.spread(m, w))
        nothing = w - w
        best = torch.stack([self._costs(z, w, step, penalty) for z in (nothing, w, between)]).argmin(0)
        best = groups.spread(best, w)
        return torch.where(best == 0, nothing, torch.where(best == 1, w, between))

    def _costs(self, z: Tensor, w: Tensor, step: Tensor, penalty: MCP) -> Tensor:
        """Return what is to be as small as can be, of each group."""
        distance = self.groups.total((z - w).square() / step) / 2
        return penalty.terms(self.groups.norm(z)) + distance
