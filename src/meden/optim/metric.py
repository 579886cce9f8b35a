"""The optimizer's own metric: how far one unit of gradient, held constant, moves each coordinate.

A proximal step is consistent with an update only if it is as long as the update's answer to a constant gradient:
then, and only then, a fixed point of "update, prox" solves "gradient + subgradient of the penalty contains 0". That is
lr for plain SGD, lr (1 - dampening) / (1 - momentum) with momentum, and lr / (sqrt(v) + eps) per coordinate for Adam.

Where the gradient vanishes that answer is endless, and one step would take all of a tensor that the data do not move
yet: every hidden layer, where the last one starts at zero. An update moves a coordinate by one rate at most, and what
is to balance it needs to move it no farther: :func:`within_reach` leaves a step a multiple of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import ASGD, LBFGS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from meden.optim.parts import Cut, everything
from meden.penalties import Number, Penalty
from meden.penalties.sharding import local

Group = Mapping[str, Any]
State = Mapping[str, Any]

STRIDES = 2.0
"""Rates by which a proximal step moves a coordinate, at most: more than one, which only stands against an update, and
not many, with which hidden layers are gone before the last has begun to tell them their use."""

_PLAIN = (SGD, ASGD, LBFGS)


def is_adaptive(optimizer: Optimizer) -> bool:
    """Say whether the optimizer divides the gradient by something of its own, coordinate by coordinate."""
    return not isinstance(optimizer, _PLAIN)


def knows_metric(optimizer: Optimizer) -> bool:
    """Say whether :func:`step_length` is the answer to a constant gradient, and not a guess."""
    return isinstance(optimizer, (*_PLAIN, *(kind for kind, _ in _LENGTHS)))


def step_length(optimizer: Optimizer, group: Group, param: nn.Parameter, cut: Cut = everything) -> Number:
    """Return the proximal step of (a part of) a parameter: a number, or a tensor of its shape for adaptive optimizers.

    Adam, AdamW, RMSprop and Adagrad (and their subclasses) are answered per coordinate, from the state their last
    step left; SGD with its momentum; every other optimizer by its learning rate alone, which is right if it answers
    a constant gradient g by a step of lr g. Of a sharded parameter they are the steps of this rank's shard.
    """
    length = next((f for kind, f in _LENGTHS if isinstance(optimizer, kind)), _rate)
    return length(group, {name: cut(local(value)) for name, value in optimizer.state.get(param, {}).items()})


def one_length(step: Number) -> Number:
    """Return one step for a whole tensor: the harmonic mean of its steps, which no single coordinate dominates.

    It is for penalties whose prox takes no step per coordinate (singular values). Under an adaptive optimizer their
    strength is then the nominal one on the average over the coordinates, and not for each of them.
    """
    return step.reciprocal().mean().reciprocal() if isinstance(step, Tensor) and step.ndim > 0 else step


def within_reach(shrunk: Tensor, w: Tensor, rate: Number | None, penalty: Penalty) -> Tensor:
    """Return what a proximal step made of weights ``w``, with no coordinate farther from them than ``STRIDES`` rates.

    Solutions are the same: where gradient and penalty balance, a step moves each coordinate by one rate at most, since
    an update does. Constraints are projections, and stay what they are.

    Args:
        shrunk: after the step.
        w: before it.
        rate: see :func:`full_rate`; None leaves the step as it is.
        penalty: whose step it was.

    Example:
        >>> from meden.penalties import L1
        >>> w = torch.tensor([0.01, 1.0])
        >>> within_reach(L1(0.1).prox(w, 1e8), w, 0.01, L1(0.1))
        tensor([0.0000, 0.9800])
    """
    if rate is None or penalty.is_constraint:
        return shrunk
    near, hard = torch.clamp(shrunk, w - STRIDES * rate, w + STRIDES * rate), penalty.hard_part()
    return near if hard is None else hard.prox(near, 1.0)


def full_rate(optimizer: Optimizer, group: Group) -> Number | None:
    """Return what a coordinate moves by in a step under a constant gradient of any size: lr / (1 - momentum).

    None for an optimizer that has no such number: whose moves grow with the gradient, or, as those of a centred
    RMSprop, with how little it varies. The momenta of Adam are means, and count as none.
    """
    known = isinstance(optimizer, tuple(kind for kind, _ in _LENGTHS)) and not isinstance(optimizer, SGD)
    if not known or group.get("centered"):
        return None
    rate: Number = group["lr"] / (1 - group.get("momentum", 0.0))
    return rate


def adam_length(lr: Number, second: Tensor, correction: Number, eps: Number) -> Tensor:
    """Return lr / (sqrt(v / (1 - beta2^t)) + eps); ``second`` is v, ``correction`` is 1 - beta2^t."""
    return second.sqrt().mul_(correction**-0.5).add_(eps).reciprocal_().mul_(lr)


def _rate(group: Group, _state: State) -> Number:
    rate: Number = group["lr"]
    return rate


def _sgd(group: Group, _state: State) -> Number:
    momentum = group["momentum"]
    rate: Number = group["lr"] * ((1 - group["dampening"]) / (1 - momentum) if momentum else 1.0)
    return rate


def _adam(group: Group, state: State) -> Number:
    second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    return adam_length(group["lr"], second, _correction(group["betas"][1], _count(state)), group["eps"])


def _rmsprop(group: Group, state: State) -> Number:
    second = state["square_avg"]
    if group["centered"]:
        second = second - state["grad_avg"].square()
    return group["lr"] / (1 - group["momentum"]) / (second.sqrt() + group["eps"])  # type: ignore[no-any-return]


def _adagrad(group: Group, state: State) -> Number:
    rate = group["lr"] / (1 + (_count(state) - 1) * group["lr_decay"])
    return rate / (state["sum"].sqrt() + group["eps"])  # type: ignore[no-any-return]


def _correction(beta: float, count: Number) -> Number:
    """Return 1 - beta^t; the count of an accelerator is in single precision, in which the difference loses digits."""
    if isinstance(count, Tensor):
        return -torch.expm1(count * (math.log(beta) if beta else -math.inf))
    return float(1 - beta**count)


def _count(state: State) -> Number:
    """Return the steps done (1 if the first was skipped for an overflow), without waiting for a device."""
    count: Tensor = state["step"]
    return max(count.item(), 1.0) if count.device.type == "cpu" else count


_LENGTHS: tuple[tuple[type[Optimizer], Callable[[Group, State], Number]], ...] = (
    (SGD, _sgd),
    (AdamW, _adam),
    (Adam, _adam),
    (RMSprop, _rmsprop),
    (Adagrad, _adagrad),
)
