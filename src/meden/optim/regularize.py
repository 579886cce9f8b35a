"""Attach penalties to any torch optimizer, through its step hooks.

What happens at ``optimizer.step()``, in this order::

    gradients are there (already averaged, accumulated, unscaled and clipped by the user's loop)
      gradient    g <- g + grad(w)          in place, before the step; with a closure after each of its evaluations
      decoupled   w <- w - lr grad(w)       before the step; with a closure after its first evaluation
    the optimizer's own update
      proximal    w <- prox(w, step)        after the step; the step is that of meden.optim.metric

A parameter without a gradient is not stepped, hence not penalised. Several proximal penalties of one handle on one
tensor act as their sum where its proximal operator is known, otherwise one after the other, as two handles do.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from meden._checks import InputError
from meden._shown import Pair, Shown, text
from meden.optim.inplace import add_grad_, decay_, prox_
from meden.optim.metric import Group, full_rate, is_adaptive, knows_metric, one_length, step_length
from meden.optim.regularizer import Bound, Regularizer, bind, nested
from meden.penalties import L2, ElasticNet, Penalty, Sum

Closure = Callable[[], Tensor | None]
Stepped = tuple[nn.Parameter, list[Penalty], Group]


def regularize(optimizer: Optimizer, model: nn.Module, regularizers: Sequence[Regularizer]) -> Handle:
    """Make an optimizer apply penalties at each step, exactly.

    Args:
        optimizer: any torch optimizer; parameter groups added later are covered.
        model: the model whose parameters it steps.
        regularizers: which penalties, where and how.

    Returns:
        A handle: ``values()`` reports the penalties, ``remove()`` detaches them, ``state_dict()`` saves the step
        that strength schedules have reached and the starting weights that a penalty pulls to.

    Under a closure, ``step`` returns the data loss plus the gradient-coupled penalties, which is what a line search
    needs. Under GradScaler a step that overflowed changes nothing, and is not counted.

    Raises:
        InputError: for ``coupling="loss"`` (the optimizer never sees the loss), for decoupled or proximal penalties
            under LBFGS, for an optimizer that maximises, or if a regularizer selects nothing that is optimised.

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
    if not isinstance(optimizer, Optimizer):
        raise InputError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    bound = bind(model, regularizers, adaptive=is_adaptive(optimizer))
    _refuse_impossible(optimizer, bound)
    _warn_of_surprises(optimizer, bound)
    return Handle(optimizer, bound)


class Handle(Shown):
    """Penalties attached to an optimizer; made by :func:`regularize`."""

    def __init__(self, optimizer: Optimizer, bound: Sequence[Bound]) -> None:
        self.optimizer = optimizer
        self.bound = tuple(bound)
        self.num_steps = 0
        self._sites = {coupling: _sites(self.bound, coupling) for coupling in ("gradient", "decoupled", "proximal")}
        # A compiled step calls the hooks as they are: traced, they would be compiled anew at each count of steps.
        disable: Callable[..., Any] = torch.compiler.disable
        before, after = disable(self._before_step), disable(self._after_step)
        self._hooks = [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]

    def values(self) -> dict[str, float]:
        """Return the value of each penalty now, by label, times its strength."""
        with torch.no_grad():
            return {b.label: float(b.value(self.num_steps)) for b in self.bound}

    def remove(self) -> None:
        """Detach; the optimizer steps as before."""
        for hook in self._hooks:
            hook.remove()

    def state_dict(self) -> dict[str, Any]:
        """Return the state: the optimizer steps done, and starting weights ``{label: {name: tensor}}``."""
        return {"num_steps": self.num_steps, "starts": {b.label: dict(b.starts) for b in self.bound if b.starts}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; without ``starts`` in it the present ones stay.

        Raises:
            InputError: if the starting weights are those of other regularizers or tensors.
        """
        starts = state.get("starts", {})
        if unknown := set(starts) - {b.label for b in self.bound}:
            raise InputError(f"starts must be of {[b.label for b in self.bound]}, got {sorted(unknown)}")
        self.bound = tuple(b.restart(starts[b.label]) if b.label in starts else b for b in self.bound)
        self._sites = {coupling: _sites(self.bound, coupling) for coupling in self._sites}
        self.num_steps = int(state["num_steps"])

    def _pairs(self) -> Iterable[Pair]:
        yield "optimizer", type(self.optimizer).__name__
        for b in self.bound:
            tensors = [*b.params, *b.made]
            yield b.label, f"{text(b.regularizer.penalty)}, {b.coupling}, tensors: {len(tensors)}"
        yield "steps", self.num_steps

    def _before_step(
        self, _optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if len(args) > 1 and args[1] is not None:
            return (args[0], self._penalised(args[1]), *args[2:]), kwargs
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._penalised(kwargs["closure"])}
        self._before_update()
        return None

    def _before_update(self) -> None:
        if self._sites["gradient"] or self._sites["decoupled"]:
            with torch.no_grad():
                self._add_gradients()
                self._decay()

    def _after_step(self, _optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        if self._sites["proximal"]:
            with torch.no_grad():
                self._shrink()
        overflow = _scaler_leaves(self.optimizer, "found_inf")
        self.num_steps += int(overflow is None or not overflow > 0)

    def _penalised(self, closure: Closure) -> Closure:
        """Return the closure of the data loss plus the gradient-coupled penalties; its first call also decays."""
        is_first = True

        def penalised() -> Tensor | None:
            nonlocal is_first
            loss = closure()
            with torch.no_grad():
                self._add_gradients()
                if loss is not None:
                    loss = loss + sum(b.value(self.num_steps) for b in self.bound if b.coupling == "gradient")
                if is_first:
                    self._decay()
            is_first = False
            return loss

        return penalised

    def _add_gradients(self) -> None:
        scale = _scaler_leaves(self.optimizer, "grad_scale")
        for param, penalties, _ in self._stepped("gradient"):
            assert param.grad is not None
            for penalty in penalties:
                add_grad_(penalty, param.grad, param, 1.0 if scale is None else scale)

    def _decay(self) -> None:
        stepped = self._stepped("decoupled")
        with self._unless_skipped(stepped):
            for param, penalties, group in stepped:
                for penalty in penalties:
                    decay_(penalty, param, group["lr"])

    def _shrink(self) -> None:
        stepped = self._stepped("proximal")
        with self._unless_skipped(stepped):
            for param, penalties, group in stepped:
                step, rate = step_length(self.optimizer, group, param), full_rate(self.optimizer, group)
                for penalty in joined(penalties):
                    prox_(penalty, param, step if penalty.metric else one_length(step), rate)

    @contextmanager
    def _unless_skipped(self, stepped: Sequence[Stepped]) -> Iterator[None]:
        """Undo what happens to parameters if GradScaler makes a fused optimizer skip this step for an overflow."""
        overflow = _scaler_leaves(self.optimizer, "found_inf")
        before = [] if overflow is None else [param.clone() for param, _, _ in stepped]
        yield
        if overflow is not None:
            for (param, _, _), start in zip(stepped, before, strict=True):
                param.copy_(torch.where(overflow.to(param.device) > 0, start, param))

    def _stepped(self, coupling: str) -> list[Stepped]:
        """Return each tensor that is stepped, its penalties of one coupling, and its group."""
        groups = _groups(self.optimizer)  # anew at each step: loading a state dict or adding a group replaces them
        return [
            (param, [b.update(name, self.num_steps) for b, name in sites], groups[param])
            for param, sites in self._sites[coupling].items()
            if param.grad is not None and param in groups
        ]


def _sites(bound: Sequence[Bound], coupling: str) -> dict[nn.Parameter, list[tuple[Bound, str]]]:
    """Return for each tensor the regularizers of one coupling, with the name under which they know it."""
    sites: dict[nn.Parameter, list[tuple[Bound, str]]] = {}
    for b in bound:
        for name, param in b.params.items():
            if b.coupling == coupling:
                sites.setdefault(param, []).append((b, name))
    return sites


def joined(penalties: list[Penalty]) -> list[Penalty]:
    """Return the sum of the penalties if its proximal operator is known, otherwise the penalties."""
    if len(penalties) == 1:
        return penalties
    joint = Sum(tuple(penalties))
    return [joint] if joint.has_prox else penalties


def _scaler_leaves(optimizer: Optimizer, name: str) -> Tensor | None:
    """Return what GradScaler leaves on a fused optimizer for the length of one step."""
    value: Tensor | None = getattr(optimizer, name, None)
    return value


def _refuse_impossible(optimizer: Optimizer, bound: Sequence[Bound]) -> None:
    optimised = _groups(optimizer)
    if "super" in inspect.unwrap(type(optimizer).step).__code__.co_names:
        raise InputError(
            f"optimizer must not call super().step() in its own step, as {type(optimizer).__name__} does: torch runs "
            "the hooks of both, so that each penalty would act twice"
        )
    for b in bound:
        if b.coupling == "loss":
            raise InputError(
                f"coupling of {b.label} must be gradient, decoupled, proximal or auto here: an optimizer never sees "
                "the loss; got 'loss' (use it in a Recipe, or add penalty.value(w) to your own loss)"
            )
        if b.coupling != "gradient" and isinstance(optimizer, LBFGS):
            raise InputError(f"coupling of {b.label} must be gradient under LBFGS (a line search), got {b.coupling!r}")
        if not any(param in optimised for param in b.params.values()):
            raise InputError(f"on of {b.label} must select a parameter that the optimizer steps, got {list(b.params)}")
    if any(group.get("maximize") for group in optimizer.param_groups):
        raise InputError("optimizer must minimise to be regularised, got maximize=True")


def _warn_of_surprises(optimizer: Optimizer, bound: Sequence[Bound]) -> None:
    kind = type(optimizer).__name__
    decay = {param: group.get("weight_decay") for param, group in _groups(optimizer).items()}
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
                f"the proximal step of {b.label} is the learning rate, for want of a formula for {kind}: its strength "
                "is exact with SGD, Adam, AdamW, RMSprop and Adagrad",
                stacklevel=3,
            )


def _groups(optimizer: Optimizer) -> dict[nn.Parameter, Group]:
    return {param: group for group in optimizer.param_groups for param in group["params"]}
