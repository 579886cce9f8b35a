"""Penalties at work in an optimizer.

What happens at ``optimizer.step()``, in this order::

    gradients are there (already averaged, accumulated, unscaled and clipped by the user's loop)
      gradient    g <- g + grad(w)          in place, before the step; with a closure after each of its evaluations
      decoupled   w <- w - lr grad(w)       before the step; with a closure after its first evaluation
    the optimizer's own update
      proximal    w <- prox(w, step)        after the step; the step is that of meden.optim.metric

A parameter without a gradient is not stepped, hence not penalised. Penalties on single tensors act before those on
groups that span tensors. Several proximal penalties of one handle on one
tensor act as their sum where its proximal operator is known, otherwise one after the other, as two handles do.

The steps done are kept in ``optimizer.param_groups``, under a key for each handle, so that they are in the optimizer's
state wherever it is saved. There they are brought up to date when the state is asked for: a compiled step must not see
a number that changes.
"""

from __future__ import annotations

import itertools
import warnings
import weakref
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from meden._checks import InputError
from meden._shown import Pair, Shown, text
from meden.optim.bound import Bound, bind
from meden.optim.held import are_same, check_held, check_present, groups_of, held_by, is_blank, scaler_leaves, steps_of
from meden.optim.inplace import add_grad_, decay_, joined, prox_
from meden.optim.metric import full_rate, is_adaptive, one_length, step_length
from meden.optim.one_pass import OnePass, can_take_over, is_worth_it
from meden.optim.operand import Joint, Of, Operand, Single, itself
from meden.optim.parts import OfPart, cut_out, tasks
from meden.optim.regularizer import Regularizer
from meden.optim.shards import Act, act_on_each
from meden.penalties import Number, Penalty
from meden.penalties.sharding import whole

COUNT = "meden_steps"
"""The key of the steps done in a parameter group; that of a second handle ends in ``_2``."""

Closure = Callable[[], Tensor | None]
Stepped = tuple[Operand, list[Penalty]]


class Handle(Shown):
    """Penalties attached to an optimizer; made by :func:`meden.regularize`."""

    def __init__(self, optimizer: Optimizer, bound: Sequence[Bound]) -> None:
        self.optimizer = optimizer
        others = _HANDLES.setdefault(optimizer, weakref.WeakKeyDictionary())
        self._key: str = _free_key({other._key for other in others})
        others[self] = None
        self.num_steps = 0
        self._resumed = False
        self._blank = False
        self._one_pass: OnePass | None = None
        self._held = held_by(optimizer)
        self._set(bound)
        # A compiled step calls the hooks as they are: traced, they would be compiled anew at each count of steps.
        disable: Callable[..., Any] = torch.compiler.disable
        before, after = disable(self._before_step), disable(self._after_step)
        self._hooks = [
            optimizer.register_step_pre_hook(before),
            optimizer.register_step_post_hook(after),
            optimizer.register_state_dict_pre_hook(self._write_count),
            optimizer.register_load_state_dict_post_hook(self._read_count),
        ]
        self._read_count(optimizer)

    @property
    def bound(self) -> tuple[Bound, ...]:
        """The regularizers with the tensors that the optimizer steps now.

        Raises:
            InputError: if a tensor was replaced since: see :meth:`rebind`.
        """
        self._follow()
        return self._bound

    def values(self) -> dict[str, float]:
        """Return the value of each penalty now, by label, times its strength; of what the optimizer steps.

        Raises:
            InputError: if a tensor was replaced since: see :meth:`rebind`.
        """
        with torch.no_grad():
            return {b.label: float(b.value(self.num_steps)) for b in self.bound}

    def num_zero_groups(self) -> dict[str, int]:
        """Return how many groups that span tensors are exactly zero now, by label of what penalises them.

        Raises:
            InputError: if a tensor was replaced since: see :meth:`rebind`.
        """
        with torch.no_grad():
            return {b.label: num for b in self.bound if (num := b.num_zero_groups()) is not None}

    def remove(self) -> None:
        """Detach; the optimizer steps as before."""
        self._end_pass()
        for hook in self._hooks:
            hook.remove()
        for group in self.optimizer.param_groups:
            group.pop(self._key, None)
        _HANDLES.get(self.optimizer, weakref.WeakKeyDictionary()).pop(self, None)

    def rebind(
        self,
        model: nn.Module,
        *,
        regularizers: Sequence[Regularizer] | None = None,
        starts: Mapping[str, Mapping[str, Tensor]] | None = None,
    ) -> None:
        """Act on a model's present parameters, found by name; the count of steps and the starting weights stay.

        It is for parameters that were replaced since the handle was made: by sharding (``fully_shard``, accelerate's
        ``prepare``), by tying or untying, by a move to a device that makes new ones. The optimizer must step the
        present parameters already. A tensor with a new name pulls to what it is now. Where tensors are sharded, all
        ranks must call it.

        Args:
            model: whose parameters the optimizer steps; names are those of the model that was regularised.
            regularizers: in the place of the present ones, in their order: of the same penalties, and of groups that
                are those of this model.
            starts: starting weights in the place of the present ones, ``{label: {name: tensor}}``, for a model whose
                tensors have other shapes now.

        Raises:
            InputError: if the optimizer steps none of a regularizer's tensors, or starting weights have no tensor.
        """
        steps = steps_of(self.optimizer)
        regularizers = [b.regularizer for b in self._bound] if regularizers is None else regularizers
        new = bind(model, regularizers, adaptive=is_adaptive(self.optimizer), steps=steps)
        check_reached(new)
        kept = []
        for old, b in zip(self._bound, new, strict=True):
            if missing := old.starts.keys() - b.chosen.keys():
                raise InputError(
                    f"model must have all tensors that {old.label} pulls to their starts, got one without "
                    f"{', '.join(sorted(missing))}"
                )
            before = old.starts if starts is None else starts.get(old.label, {})
            kept.append(b.restart({**b.starts, **before}) if old.starts else b)
        self._held = held_by(self.optimizer)
        self._set(kept)

    def state_dict(self) -> dict[str, Any]:
        """Return the state: the optimizer steps done, and starting weights ``{label: {name: tensor}}``.

        The optimizer's own state holds the steps too; the starts are to be saved beside it. Those of sharded tensors
        are sharded alike.
        """
        return {"num_steps": self.num_steps, "starts": {b.label: dict(b.starts) for b in self._bound if b.starts}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state; without ``starts`` in it the present ones stay.

        Raises:
            InputError: if the starting weights are those of other regularizers or tensors.
        """
        starts = state.get("starts", {})
        if set(starts) - {b.label for b in self._bound}:
            raise InputError(
                "regularizers must be those that the state was saved with, whose starting weights are those of "
                f"{', '.join(sorted(starts))}, got {', '.join(b.label for b in self._bound)}"
            )
        self._set([b.restart(starts[b.label]) if b.label in starts else b for b in self._bound])
        self.num_steps = int(state["num_steps"])
        self._write_count(self.optimizer)

    def _set(self, bound: Sequence[Bound]) -> None:
        self._bound = tuple(bound)
        self._sites = {coupling: _sites(bound, coupling) for coupling in ("gradient", "decoupled", "proximal")}

    def _write_count(self, optimizer: Optimizer) -> None:
        for group in optimizer.param_groups:
            group[self._key] = self.num_steps

    def _read_count(self, optimizer: Optimizer) -> None:
        """Take the steps over that a loaded state brought; one that knows of none leaves them as they are."""
        counts = [group[self._key] for group in optimizer.param_groups if self._key in group]
        if counts:
            self.num_steps = int(max(counts))
            self._resumed = self.num_steps > 0
        self._write_count(optimizer)

    def _follow(self) -> None:
        """See what the optimizer steps now.

        Raises:
            InputError: if a tensor is no longer what its name stands for.
        """
        held = held_by(self.optimizer)
        if not are_same(held, self._held):
            check_held(self._bound, held, self._held)
            self._held = held
            self._set([b.among(steps_of(self.optimizer)) for b in self._bound])
        check_present(self._bound)

    def _tell_resumed(self) -> None:
        """Warn of starting weights that are those with which an optimizer goes on."""
        self._resumed = False
        for b in self._bound:
            now = {name: target.start() for name, target in b.targets.items() if name in b.starts}
            if now and all(bool(whole((b.starts[name] == own).all())) for name, own in now.items()):
                warnings.warn(
                    f"{b.label} pulls to the weights of step {self.num_steps}, where the optimizer resumes, and "
                    "not to the initial ones: save handle.state_dict() with the checkpoint, and restore it with "
                    "handle.load_state_dict",
                    stacklevel=2,
                )

    def _pairs(self) -> Iterable[Pair]:
        yield "optimizer", type(self.optimizer).__name__
        for b in self._bound:
            counted = f"tensors: {len({**b.params, **b.made})}"
            if b.sets:
                counted += f", groups: {sum(len(groups.names) for groups in b.sets)}"
            yield b.label, f"{text(b.regularizer.penalty)}, {b.coupling}, {counted}"
        yield "steps", self.num_steps

    def _before_step(
        self, _optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._end_pass()  # of a step that was broken off
        self._follow()
        if self._resumed:
            self._tell_resumed()
        if len(args) > 1 and args[1] is not None:
            return (args[0], self._penalised(args[1]), *args[2:]), kwargs
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._penalised(kwargs["closure"])}
        self._blank = is_blank(self.optimizer)
        if not self._blank and (self._sites["gradient"] or self._sites["decoupled"]):
            with torch.no_grad():
                self._add_gradients()
                self._decay()
        if not self._blank and self._sites["proximal"] and len(handles_of(self.optimizer)) == 1:
            self._begin_pass()
        return None

    def _after_step(self, _optimizer: Optimizer, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        done = self._end_pass()
        if self._blank:
            self._blank = False
            return
        if self._sites["proximal"]:
            with torch.no_grad():
                self._shrink(done)
        overflow = scaler_leaves(self.optimizer, "found_inf")
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
                    loss = loss + sum(b.value(self.num_steps) for b in self._bound if b.coupling == "gradient")
                if is_first:
                    self._decay()
            is_first = False
            return loss

        return penalised

    def _add_gradients(self) -> None:
        scale = scaler_leaves(self.optimizer, "grad_scale")
        factor = 1.0 if scale is None else scale
        stepped = self._stepped("gradient")
        self._act(stepped, _add_gradients, lambda param: param.grad, cut_out, lambda *_, **__: factor)

    def _decay(self) -> None:
        stepped, groups = self._stepped("decoupled"), groups_of(self.optimizer)
        with self._unless_skipped(stepped):
            self._act(stepped, _decay, itself, lambda param, **_: groups[param]["lr"])

    def _shrink(self, done: Container[nn.Parameter]) -> None:
        stepped = [(o, penalties) for o, penalties in self._stepped("proximal") if not _is_done(o, done)]
        groups = groups_of(self.optimizer)
        with self._unless_skipped(stepped):
            self._act(
                [(operand, joined(penalties)) for operand, penalties in stepped],
                _shrink,
                itself,
                lambda param, cut: step_length(self.optimizer, groups[param], param, cut),
                lambda param, **_: full_rate(self.optimizer, groups[param]),
            )

    def _begin_pass(self) -> None:
        """See to it that large parameters are shrunk part by part, as they are updated, where that is possible."""
        if can_take_over(self.optimizer):
            stepped = self._stepped("proximal")
            large = {o.param: joined(p) for o, p in stepped if isinstance(o, Single) and is_worth_it(o.param)}
            self._one_pass = OnePass(self.optimizer, large, _shrink) if large else None

    def _end_pass(self) -> Container[nn.Parameter]:
        """Return which parameters were shrunk already."""
        one_pass, self._one_pass = self._one_pass, None
        return () if one_pass is None else one_pass.end()

    def _act(self, stepped: Sequence[Stepped], act: Act, changed: Of, *others: OfPart) -> None:
        """Do to each tensor, and then to groups that span tensors, what ``act`` does to a target, given the others."""
        for spans in (False, True):
            act_on_each(tasks([each for each in stepped if isinstance(each[0], Joint) is spans], changed, others), act)

    @contextmanager
    def _unless_skipped(self, stepped: Sequence[Stepped]) -> Iterator[None]:
        """Undo what happens to parameters if GradScaler makes a fused optimizer skip this step for an overflow."""
        overflow = scaler_leaves(self.optimizer, "found_inf")
        params = [] if overflow is None else [param for operand, _ in stepped for param in operand.params.values()]
        before = [param.clone() for param in params]
        yield
        if overflow is not None:
            for param, start in zip(params, before, strict=True):
                param.copy_(torch.where(overflow.to(param.device) > 0, start, param))

    def _stepped(self, coupling: str) -> list[Stepped]:
        """Return what is stepped of each operand, and its penalties of one coupling."""
        groups = groups_of(self.optimizer)  # anew at each step: loading a state dict or adding a group replaces them

        def is_stepped(param: nn.Parameter) -> bool:
            return param.grad is not None and param in groups

        partly: dict[int, Bound] = {}
        found: list[Stepped] = []
        for whole_of_it, sites in self._sites[coupling]:
            operand = whole_of_it.among(is_stepped)
            if operand is None:
                continue
            if operand is not whole_of_it:  # penalties may hold tensors of its shape
                partly |= {id(b): b.among(is_stepped) for b, _ in sites if id(b) not in partly}
                sites = [(partly[id(b)], name) for b, name in sites]
            found.append((operand, [b.update(name, self.num_steps) for b, name in sites]))
        return found


def _add_gradients(penalties: Sequence[Penalty], grad: Tensor, w: Tensor, scale: Number) -> None:
    for penalty in penalties:
        add_grad_(penalty, grad, w, scale)


def _decay(penalties: Sequence[Penalty], w: Tensor, lr: Number) -> None:
    for penalty in penalties:
        decay_(penalty, w, lr)


def _shrink(penalties: Sequence[Penalty], w: Tensor, step: Number, rate: Number | None) -> None:
    for penalty in penalties:
        prox_(penalty, w, step if penalty.metric else one_length(step), rate)


def _is_done(operand: Operand, done: Container[nn.Parameter]) -> bool:
    return isinstance(operand, Single) and operand.param in done


def _sites(bound: Sequence[Bound], coupling: str) -> list[tuple[Operand, list[tuple[Bound, str]]]]:
    """Return each operand with the regularizers of one coupling, and the name under which they know it."""
    sites: dict[Hashable, tuple[Operand, list[tuple[Bound, str]]]] = {}
    for b in bound:
        for name, operand in b.operands.items():
            if b.coupling == coupling:
                sites.setdefault(operand.key, (operand, []))[1].append((b, name))
    return list(sites.values())


def check_reached(bound: Sequence[Bound]) -> None:
    """Check that each regularizer has a tensor to act on.

    Raises:
        InputError: naming one that has none.
    """
    for b in bound:
        if not b.operands:
            raise InputError(
                f"on of {b.label} must select a parameter that the optimizer steps, got {list(b.chosen)}, which are "
                "frozen or not in it"
            )


def handles_of(optimizer: Optimizer) -> list[Handle]:
    """Return what is attached to an optimizer, in the order in which it was."""
    return list(_HANDLES.get(optimizer, ()))


def _free_key(keys: set[str]) -> str:
    """Return the first key of a count that is not among those in use."""
    numbered = (f"{COUNT}_{number}" for number in itertools.count(2))
    return next(key for key in itertools.chain([COUNT], numbered) if key not in keys)


_HANDLES: weakref.WeakKeyDictionary[Optimizer, weakref.WeakKeyDictionary[Handle, None]] = weakref.WeakKeyDictionary()
"""What is attached to each optimizer, in order, to be found as long as both are alive."""
