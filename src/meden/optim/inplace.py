"""What a coupling does to a tensor, in place: a few passes over memory for the usual penalties.

Every penalty works through its own grad and prox; L1, L2 and ElasticNet have shorter ways to the same numbers, since
each fresh temporary of the size of the weights costs as much as the arithmetic of a whole penalty.
"""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor

from meden.optim.metric import STRIDES, within_reach
from meden.penalties import L1, L2, ElasticNet, Number, Penalty, Sum

_ZEROS = {dtype: torch.zeros((), dtype=dtype) for dtype in (torch.float32, torch.float64)}
"""Zero in the types that need no other for their intermediate results."""


def joined(penalties: list[Penalty]) -> list[Penalty]:
    """Return the sum of the penalties if its proximal operator is known, otherwise the penalties."""
    if len(penalties) == 1:
        return penalties
    joint = Sum(tuple(penalties))
    return [joint] if joint.has_prox else penalties


@singledispatch
def add_grad_(penalty: Penalty, grad: Tensor, w: Tensor, scale: Number) -> None:
    """Set grad <- grad + scale * penalty.grad(w)."""
    _add_multiple_(grad, penalty.grad(w), scale)


@singledispatch
def decay_(penalty: Penalty, w: Tensor, lr: Number) -> None:
    """Set w <- w - lr * penalty.grad(w)."""
    _add_multiple_(w, penalty.grad(w), -lr)


@singledispatch
def prox_(penalty: Penalty, w: Tensor, step: Number, rate: Number | None = None) -> None:
    """Set w <- penalty.prox(w, step), within reach of w at a rate: see :func:`meden.optim.within_reach`."""
    w.copy_(within_reach(penalty.prox(w, step), w, rate, penalty))


@add_grad_.register
def _(penalty: L1, grad: Tensor, w: Tensor, scale: Number) -> None:
    _add_multiple_(grad, w.sign(), scale * penalty.strength)


@add_grad_.register
def _(penalty: L2, grad: Tensor, w: Tensor, scale: Number) -> None:
    _add_multiple_(grad, w, scale * penalty.strength)


@add_grad_.register
def _(penalty: ElasticNet, grad: Tensor, w: Tensor, scale: Number) -> None:
    l1, l2 = _strengths(penalty)
    _add_multiple_(grad, w.sign(), scale * l1)
    _add_multiple_(grad, w, scale * l2)


@decay_.register
def _(penalty: L2, w: Tensor, lr: Number) -> None:
    w.mul_(1 - lr * penalty.strength)


@prox_.register
def _(penalty: L1, w: Tensor, step: Number, rate: Number | None = None) -> None:
    threshold = step * penalty.strength
    if rate is not None:
        threshold = torch.as_tensor(threshold).clamp(max=STRIDES * rate)
    _soften_(w, threshold, 0.0)


@prox_.register
def _(penalty: L2, w: Tensor, step: Number, rate: Number | None = None) -> None:
    if rate is None:
        _shrink_(w, step * penalty.strength)
    else:
        w.copy_(within_reach(penalty.prox(w, step), w, rate, penalty))


@prox_.register
def _(penalty: ElasticNet, w: Tensor, step: Number, rate: Number | None = None) -> None:
    before, (l1, l2) = None if rate is None else w.clone(), _strengths(penalty)
    _soften_(w, step * l1, step * l2)
    if before is not None:
        w.copy_(within_reach(w, before, rate, penalty))


def _strengths(penalty: ElasticNet) -> tuple[Number, Number]:
    return penalty.strength * penalty.l1_ratio, penalty.strength * (1 - penalty.l1_ratio)


def _soften_(w: Tensor, threshold: Number, ratio: Number) -> None:
    """Set w <- sign(w) max(abs(w) - threshold, 0) / (1 + ratio); zeros come out positive."""
    if isinstance(threshold, Tensor) or isinstance(ratio, Tensor) or w.dtype not in _ZEROS or threshold < 0:
        w.sub_(w.clamp(-threshold, threshold))  # type: ignore[arg-type]  # two numbers or two tensors
        _shrink_(w, ratio)
    else:  # the same numbers in two passes without a temporary; the sum makes -0 to 0
        torch.nn.functional.softshrink(w, threshold, out=w)  # type: ignore[call-arg]
        torch.add(_ZEROS[w.dtype], w, alpha=1 / (1 + ratio), out=w)


def _shrink_(w: Tensor, ratio: Number) -> None:
    if isinstance(ratio, Tensor):
        w.div_(ratio.add_(1))  # a product, ours to overwrite
    else:
        w.mul_(1 / (1 + ratio))  # on the CPU a division takes twice the time


def _add_multiple_(target: Tensor, x: Tensor, scale: Number) -> None:
    if isinstance(scale, Tensor):
        target.add_(x * scale.to(x.device))
    else:
        target.add_(x, alpha=scale)
