"""The optimizer's own metric: how far one unit of gradient, held constant, moves each coordinate.

A proximal step is consistent with an update only if it is as long as the update's answer to a constant gradient:
then, and only then, a fixed point of "update, prox" solves "gradient + subgradient of the penalty contains 0". That is
lr for plain SGD, lr (1 - dampening) / (1 - momentum) with momentum, and lr / (sqrt(v) + eps) per coordinate for Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import ASGD, LBFGS, SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from meden.penalties import Number

Group = Mapping[str, Any]
State = Mapping[str, Any]

_PLAIN = (SGD, ASGD, LBFGS)


def is_adaptive(optimizer: Optimizer) -> bool:
    """Say whether the optimizer divides the gradient by something of its own, coordinate by coordinate."""
    return not isinstance(optimizer, _PLAIN)


def knows_metric(optimizer: Optimizer) -> bool:
    """Say whether :func:`step_length` is the answer to a constant gradient, and not a guess."""
    return isinstance(optimizer, (*_PLAIN, *(kind for kind, _ in _LENGTHS)))


def step_length(optimizer: Optimizer, group: Group, param: nn.Parameter) -> Number:
    """Return the proximal step of a parameter: a number, or a tensor of its shape for adaptive optimizers.

    Adam, AdamW, RMSprop and Adagrad (and their subclasses) are answered per coordinate, from the state their last
    step left; SGD with its momentum; every other optimizer by its learning rate alone, which is right if it answers
    a constant gradient g by a step of lr g.
    """
    length = next((f for kind, f in _LENGTHS if isinstance(optimizer, kind)), _rate)
    return length(group, optimizer.state.get(param, {}))


def one_length(step: Number) -> Number:
    """Return one step for a whole tensor: the harmonic mean of its steps, which no single coordinate dominates.

    It is for penalties whose prox takes no step per coordinate (singular values). Under an adaptive optimizer their
    strength is then the nominal one on the average over the coordinates, and not for each of them.
    """
    return step.reciprocal().mean().reciprocal() if isinstance(step, Tensor) and step.ndim > 0 else step


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
    return adam_length(group["lr"], second, 1 - group["betas"][1] ** _count(state), group["eps"])


def _rmsprop(group: Group, state: State) -> Number:
    second = state["square_avg"]
    if group["centered"]:
        second = second - state["grad_avg"].square()
    return group["lr"] / (1 - group["momentum"]) / (second.sqrt() + group["eps"])  # type: ignore[no-any-return]


def _adagrad(group: Group, state: State) -> Number:
    rate = group["lr"] / (1 + (_count(state) - 1) * group["lr_decay"])
    return rate / (state["sum"].sqrt() + group["eps"])  # type: ignore[no-any-return]


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
