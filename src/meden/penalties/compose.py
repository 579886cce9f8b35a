"""Penalties made of penalties: towards other weights, several at once, several times as strong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from meden._checks import InputError, check_number
from meden.penalties.base import Number, Penalty
from meden.penalties.constraints import MaxNorm, NonNegative
from meden.penalties.grouped import GroupLasso
from meden.penalties.separable import L1, L2, ElasticNet


@dataclass(frozen=True)
class PullTo(Penalty):
    """penalty(w - target): towards given weights, or towards the starting weights, for fine-tuning.

    Args:
        penalty: what measures the difference; ``L2`` is L2-SP, ``L1`` leaves most weights exactly as they were.
        target: a tensor of the shape of ``w`` or a number; None stands for the starting weights, which
            :meth:`bind` puts in where the penalty is attached to a tensor. A target once given stays.

    Raises:
        InputError: from ``value``, ``grad`` and ``prox`` as long as there is no target.

    Example:
        >>> import torch
        >>> start = torch.tensor([1.0, 2.0])
        >>> PullTo(L1(0.5)).bind(start).prox(torch.tensor([1.2, 4.0]), step=1.0)
        tensor([1.0000, 3.5000])

    Reference:
        X. Li, Y. Grandvalet and F. Davoine, Explicit inductive bias for transfer learning, 2018.
    """

    penalty: Penalty
    target: Number | None = None

    def __post_init__(self) -> None:
        _check_penalty("PullTo penalty", self.penalty)
        if self.target is not None:
            check_number("PullTo target", self.target)

    separable = property(lambda self: self.penalty.separable)
    convex = property(lambda self: self.penalty.convex)
    smooth = property(lambda self: self.penalty.smooth)
    has_prox = property(lambda self: self.penalty.has_prox)
    metric = property(lambda self: self.penalty.metric)
    is_constraint = property(lambda self: self.penalty.is_constraint)

    def value(self, w: Tensor) -> Tensor:
        return self.penalty.value(w - self._target(w))

    def grad(self, w: Tensor) -> Tensor:
        return self.penalty.grad(w - self._target(w))

    def prox(self, w: Tensor, step: Number) -> Tensor:
        target = self._target(w)
        return (target + self.penalty.prox(w - target, step)).to(w.dtype)

    def bind(self, w: Tensor) -> PullTo:
        """Return the same penalty with ``w`` (copied) as its target, unless it has one."""
        target = w.detach().clone() if self.target is None else self.target
        return PullTo(self.penalty.bind(w), target)

    def _target(self, w: Tensor) -> Number:
        if self.target is None:
            raise InputError("PullTo target must be a tensor or a number before use, got None: call bind(w) first")
        if isinstance(self.target, Tensor) and self.target.ndim > 0 and self.target.shape != w.shape:
            shape = tuple(self.target.shape)
            raise InputError(f"PullTo target must have the shape {tuple(w.shape)} of the weights, got {shape}")
        return self.target


@dataclass(frozen=True)
class Sum(Penalty):
    """The sum of several penalties.

    Args:
        parts: the penalties.

    The proximal operator of a sum is seldom known. It is, and ``has_prox`` says so, for any number of ``L2`` with
    either one other penalty that has a prox, or at most one each of ``L1``, ``NonNegative`` and (``GroupLasso`` or
    ``MaxNorm``), applied in this order.

    Example:
        >>> import torch
        >>> both = Sum((L1(0.5), NonNegative()))
        >>> both.prox(torch.tensor([2.0, -2.0]), step=1.0), both.has_prox
        (tensor([1.5000, 0.0000]), True)

    Reference:
        Y.-L. Yu, On decomposing the proximal map, 2013.
    """

    parts: tuple[Penalty, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Iterable):
            raise InputError(f"Sum parts must be a sequence of penalties, got {self.parts!r}")
        object.__setattr__(self, "parts", tuple(self.parts))
        if not self.parts:
            raise InputError("Sum parts must hold at least one penalty, got none")
        for part in self.parts:
            _check_penalty("Sum parts", part)

    separable = property(lambda self: all(p.separable for p in self.parts))
    convex = property(lambda self: all(p.convex for p in self.parts))
    smooth = property(lambda self: all(p.smooth for p in self.parts))

    @property
    def has_prox(self) -> bool:
        _, others = self._split()
        ranks = [_rank(p) for p in others]
        return all(p.has_prox for p in others) and (
            len(others) <= 1 or (None not in ranks and len(set(ranks)) == len(ranks))
        )

    metric = property(lambda self: all(p.metric for p in self.parts))
    is_constraint = property(lambda self: all(p.is_constraint for p in self.parts))

    def value(self, w: Tensor) -> Tensor:
        return torch.stack([p.value(w) for p in self.parts]).sum()

    def grad(self, w: Tensor) -> Tensor:
        return torch.stack([p.grad(w) for p in self.parts]).sum(dim=0)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        if not self.has_prox:
            names = " + ".join(type(p).__name__ for p in self.parts)
            raise InputError(f"Sum has no known proximal operator for {names}; attach the parts one by one")
        ridges, others = self._split()
        # Completing the square: strength / 2 z^2 joins (z - w)^2 / (2 step), with both w and step shrunk.
        shrink = 1 + step * sum((p.strength for p in ridges), start=0.0)
        z, shorter = (w / shrink).to(w.dtype), step / shrink
        for part in sorted(others, key=lambda p: _rank(p) or 0):
            z = part.prox(z, shorter)
        return z

    def hard_part(self) -> Penalty | None:
        hard = tuple(part for part in (p.hard_part() for p in self.parts) if part is not None)
        return Sum(hard) if hard else None

    def bind(self, w: Tensor) -> Sum:
        """Return the sum of the bound parts."""
        return Sum(tuple(p.bind(w) for p in self.parts))

    def _split(self) -> tuple[list[L2], list[Penalty]]:
        ridges = [p for p in self.parts if isinstance(p, L2)]
        return ridges, [p for p in self.parts if not isinstance(p, L2)]


@dataclass(frozen=True)
class Scaled(Penalty):
    """scale * penalty, for a whole family of strengths of a penalty that has several parts.

    Args:
        penalty: any penalty but a constraint, of which there is no multiple.
        scale: multiplier, zero or more; a number or a 0-d tensor.

    Example:
        >>> import torch
        >>> Scaled(L2(1.0), 0.1).grad(torch.tensor([2.0]))
        tensor([0.2000])
    """

    penalty: Penalty
    scale: Number

    def __post_init__(self) -> None:
        _check_penalty("Scaled penalty", self.penalty)
        check_number("Scaled scale", self.scale, low=0.0)
        if self.penalty.is_constraint:
            raise InputError(f"Scaled penalty must not be a constraint, got {self.penalty!r}")

    separable = property(lambda self: self.penalty.separable)
    convex = property(lambda self: self.penalty.convex)
    smooth = property(lambda self: self.penalty.smooth)
    has_prox = property(lambda self: self.penalty.has_prox)
    metric = property(lambda self: self.penalty.metric)
    is_constraint = False

    def value(self, w: Tensor) -> Tensor:
        return self.scale * self.penalty.value(w)

    def grad(self, w: Tensor) -> Tensor:
        return (self.scale * self.penalty.grad(w)).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        return self.penalty.prox(w, step * self.scale)

    def bind(self, w: Tensor) -> Scaled:
        """Return the same multiple of the bound penalty."""
        return Scaled(self.penalty.bind(w), self.scale)


@dataclass(frozen=True)
class AtScale(Penalty):
    """penalty(scale * w): of weights that the forward pass multiplies by a number.

    Args:
        penalty: any penalty.
        scale: what the weights are multiplied by, above zero; a number, or a tensor that broadcasts against ``w``,
            for penalties that take a step for each coordinate.

    Example:
        >>> import torch
        >>> AtScale(L1(1.0), 0.5).prox(torch.tensor([2.0, 0.25]), step=1.0)
        tensor([1.5000, 0.0000])
    """

    penalty: Penalty
    scale: Number

    def __post_init__(self) -> None:
        _check_penalty("AtScale penalty", self.penalty)
        check_number("AtScale scale", self.scale, low=0.0, low_open=True)

    separable = property(lambda self: self.penalty.separable)
    convex = property(lambda self: self.penalty.convex)
    smooth = property(lambda self: self.penalty.smooth)
    has_prox = property(lambda self: self.penalty.has_prox)
    metric = property(lambda self: self.penalty.metric)
    is_constraint = property(lambda self: self.penalty.is_constraint)

    def value(self, w: Tensor) -> Tensor:
        return self.penalty.value(self.scale * w)

    def grad(self, w: Tensor) -> Tensor:
        return (self.scale * self.penalty.grad(self.scale * w)).to(w.dtype)

    def prox(self, w: Tensor, step: Number) -> Tensor:
        return (self.penalty.prox(self.scale * w, step * self.scale**2) / self.scale).to(w.dtype)

    def bind(self, w: Tensor) -> AtScale:
        """Return the same of the penalty that is bound to the multiplied weights."""
        return AtScale(self.penalty.bind(self.scale * w), self.scale)


def at_scale(penalty: Penalty, scale: float | Tensor) -> Penalty:
    """Return penalty(scale * w) as a penalty on ``w``: in its own form where a strength can say it.

    A scale that is a tensor is one for each coordinate, or broadcasts to that.

    Example:
        >>> at_scale(L2(1.0), 0.5), at_scale(L1(1.0), 0.5)
        (L2(strength=0.25), L1(strength=0.5))
    """
    if isinstance(scale, Tensor):
        return AtScale(penalty, scale)
    if scale == 1.0 or isinstance(penalty, NonNegative):
        return penalty
    if isinstance(penalty, L1 | GroupLasso):
        return penalty.replace({"strength": penalty.strength * scale})
    if isinstance(penalty, L2):
        return penalty.replace({"strength": penalty.strength * scale**2})
    if isinstance(penalty, Sum | ElasticNet):
        return Sum(tuple(at_scale(part, scale) for part in penalty.parts))
    if isinstance(penalty, Scaled):
        return Scaled(at_scale(penalty.penalty, scale), penalty.scale)
    return AtScale(penalty, scale)


def _rank(penalty: Penalty) -> int | None:
    for rank, kind in enumerate(_COMMUTING):
        if isinstance(penalty, kind):
            return rank
    return None


def _check_penalty(name: str, penalty: object) -> None:
    if not isinstance(penalty, Penalty):
        raise InputError(f"{name} must be a penalty such as L2(1e-3), got {penalty!r}")


_COMMUTING: tuple[tuple[type[Penalty], ...], ...] = ((L1,), (NonNegative,), (GroupLasso, MaxNorm))
"""Kinds of which each may be applied after those before it: the prox of the sum is the composition, in any metric."""
