"""Attach penalties to any torch optimizer, through its step hooks."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from meden._checks import InputError
from meden.optim.bound import Bound, bind
from meden.optim.handle import Handle, check_reached, handles_of
from meden.optim.held import steps_of
from meden.optim.metric import is_adaptive, knows_metric
from meden.optim.regularizer import Regularizer, nested
from meden.optim.wrapped import inner_optimizer
from meden.params import check_module
from meden.penalties import L2, ElasticNet


def regularize(optimizer: Optimizer, model: nn.Module, regularizers: Sequence[Regularizer]) -> Handle:
    """Make an optimizer apply penalties at each step, exactly.

    Args:
        optimizer: any torch optimizer, also inside of accelerate's or Lightning's wrapper; parameter groups added later
            are covered.
        model: the model whose parameters it steps. What the optimizer does not hold and what is frozen is left out, as
            long as that is so.
        regularizers: which penalties, where and how.

    Returns:
        A handle: ``values()`` reports the penalties, ``remove()`` detaches them, ``rebind(model)`` goes on with
        parameters that were put in the place of others, ``state_dict()`` saves the starting weights that a penalty
        pulls to. The steps that strength schedules have reached are in the optimizer's own state, in its parameter
        groups, and go on with it.

    Several optimizers may step one tensor: each needs a handle of its own, since each of its steps is to be followed.

    Under a closure, ``step`` returns the data loss plus the gradient-coupled penalties, which is what a line search
    needs. Under GradScaler a step that overflowed changes nothing, and is not counted.

    Raises:
        InputError: for ``coupling="loss"`` (the optimizer never sees the loss), for decoupled or proximal penalties
            under LBFGS, for an optimizer that maximises, if a regularizer selects nothing that is optimised, or if
            another handle of the optimizer does the same to a tensor.

    Example:
        >>> import torch, meden
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> handle = meden.regularize(optimizer, model, [meden.Regularizer(meden.penalties.L1(10.0))])
        >>> model(torch.ones(1, 2)).sum().backward()
        >>> _ = optimizer.step()
        >>> model.weight
        Parameter containing:
        tensor([[0., 0.]], requires_grad=True)
    """
    optimizer = inner_optimizer(optimizer)
    check_module(model)
    bound = bind(model, regularizers, adaptive=is_adaptive(optimizer), steps=steps_of(optimizer))
    _refuse_impossible(optimizer, bound)
    _refuse_twins(optimizer, bound)
    _warn_of_surprises(optimizer, bound)
    return Handle(optimizer, bound)


def _refuse_impossible(optimizer: Optimizer, bound: Sequence[Bound]) -> None:
    if "super" in inspect.unwrap(type(optimizer).step).__code__.co_names:
        raise InputError(
            f"optimizer must not call super().step() in its own step, as {type(optimizer).__name__} does: torch "
            "runs the hooks of both, so each penalty would act twice"
        )
    for b in bound:
        if b.coupling == "loss":
            raise InputError(
                f"coupling of {b.label} must be gradient, decoupled, proximal or auto here, since an optimizer "
                "never sees the loss, got 'loss' (use it in a Recipe, or add penalty.value(w) to your own loss)"
            )
        if b.coupling != "gradient" and isinstance(optimizer, LBFGS):
            raise InputError(f"coupling of {b.label} must be gradient under LBFGS (a line search), got {b.coupling!r}")
    check_reached(bound)
    if any(group.get("maximize") for group in optimizer.param_groups):
        raise InputError("optimizer must minimise to be regularised, got maximize=True")


def _warn_of_surprises(optimizer: Optimizer, bound: Sequence[Bound]) -> None:
    kind = type(optimizer).__name__
    decay = {param: group.get("weight_decay") for group in optimizer.param_groups for param in group["params"]}
    for b in bound:
        is_l2 = any(isinstance(p, L2 | ElasticNet) for p in nested(b.regularizer.penalty))
        twice = [name for name, param in b.params.items() if decay.get(param)]
        if is_l2 and twice:
            more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
            own = f"weight_decay={decay[b.params[twice[0]]]:g} of {kind}"
            warnings.warn(f"{b.label} and the {own} both shrink {twice[0]}{more}; set one to 0", stacklevel=3)
        is_constraint = b.regularizer.penalty.is_constraint
        if b.coupling == "proximal" and not is_constraint and not knows_metric(optimizer):
            warnings.warn(
                f"the proximal step of {b.label} uses the learning rate, since no formula for {kind} is known: its "
                "strength is exact with SGD, Adam, AdamW, RMSprop and Adagrad",
                stacklevel=3,
            )


def _refuse_twins(optimizer: Optimizer, bound: Sequence[Bound]) -> None:
    for b in bound:
        names = {operand.key: name for name, operand in b.operands.items()}
        for other in (other for handle in handles_of(optimizer) for other in handle.bound):
            own, its = b.regularizer, other.regularizer
            if (b.coupling, own.schedule) != (other.coupling, its.schedule):
                continue
            for place, operand in other.operands.items():
                alike, name = _alike(own.penalty, its.penalty), names.get(operand.key)
                if name is not None and (alike or _alike(b.updates[name], other.updates[place])):
                    raise InputError(
                        f"{b.label} must not act twice on {name}, on which a handle of this optimizer already "
                        "acts: call remove() of that one first, or keep it and attach only once"
                    )


def _alike(a: Any, b: Any) -> bool:
    """Say whether two settings are equal, tensors by their numbers."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and bool((a.to(b) == b).all())
    if type(a) is type(b) and is_dataclass(a):
        return all(_alike(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    return bool(a == b)
