"""Calls of a layer that compute a part of a forward pass anew, as ``torch.utils.checkpoint`` has them.

They happen inside of a backward pass, and must draw what was drawn before. A layer keeps no history but where its
calls were: one can be repeated only if it was in a checkpointed part, and only while the graph of that part is there.
So calls without gradients, plain passes and passes that were thrown away are none to repeat. If one is left, it is it.
"""

from __future__ import annotations

import sys
import weakref
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.multiprocessing.reductions import StorageWeakRef

from meden._checks import InputError


class _Call(NamedTuple):
    """A call that may be repeated."""

    number: int
    """How many there were before, since the layer's steps were set."""
    part: weakref.ref[Any]
    """What lives as long as the graph of the part that it is in."""


class Calls:
    """What a layer remembers of its calls: how many there were, and which a backward pass may still ask for."""

    __slots__ = ("before", "num", "open", "repeated")

    def __init__(self) -> None:
        self.num, self.repeated = 0, False
        self.open: list[_Call] = []
        self.before: list[_Call] = []  # the steps were set: forgotten as soon as there is another

    def __reduce__(self) -> tuple[type[Calls], tuple[()]]:
        return Calls, ()  # a copy is in no graph

    def steps_back(self) -> int:
        """Note a call; say by how many steps to go back: 0 for a new one.

        Raises:
            InputError: if it repeats one of several.
        """
        if torch._C._current_graph_task_id() == -1:
            self._note()
            return 0
        alive = _alive(self.open) or _alive(self.before)[-1:]
        if not alive:
            return 0  # a hook of gradients, which uses a layer that the forward pass does not
        if len(alive) > 1:
            raise InputError(
                "a noise layer must be called only once per pass where torch.utils.checkpoint recomputes it, got "
                f"{len(alive)} calls before the backward pass: it is unknown which of them to repeat. Use one "
                "layer per call; load_noise_state(model, noise_state(model)) forgets calls without a backward pass"
            )
        self.repeated = True
        return self.num - alive[0].number

    def forget(self) -> None:
        """Forget all calls, as the steps are set; what is set is taken to be what there was after the last of them."""
        self.before = [_Call(-1, call.part) for call in (_alive(self.open) or _alive(self.before))[-1:]]
        self.num, self.repeated, self.open = 0, False, []

    def _note(self) -> None:
        part = _part()
        if part is not None:
            self.open = [] if self.repeated else _alive(self.open)
            self.open.append(_Call(self.num, part))
            self.repeated = False
        self.num += 1


def _alive(calls: list[_Call]) -> list[_Call]:
    return [call for call in calls if call.part() is not None]


def _part() -> weakref.ref[Any] | None:
    """Return what lives as long as the graph of the checkpointed part that runs; None outside of one.

    Such a part is run without gradients by a function that has a backward pass, whose context is in the stack (of
    nested ones the outermost is in the graph), or it says how tensors are kept for the backward pass.
    """
    context, frame = None, None if torch.is_grad_enabled() else sys._getframe(1)
    while frame is not None:
        context, frame = _context(frame) or context, frame.f_back
    if context is not None:
        return weakref.ref(context)
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
    return None if hooks is None else weakref.ref(hooks[1])


def _context(frame: FrameType) -> FunctionCtx | None:
    """Return the context of a frame that is the forward pass of a function; other frames' values are left alone."""
    code = frame.f_code
    if code.co_name != "forward" or not code.co_argcount or code.co_varnames[0] == "self":
        return None
    first = frame.f_locals.get(code.co_varnames[0])
    return first if isinstance(first, FunctionCtx) else None


_COMPILED: dict[StorageWeakRef, Calls] = {}
"""Calls in compiled programs, by the memory of the layer's key: all that such a program knows of its layer."""


def _compiled(key: Tensor) -> Calls:
    memory = _memory(key)
    if memory not in _COMPILED:
        for gone in [other for other in _COMPILED if other.expired()]:  # type: ignore[no-untyped-call]
            del _COMPILED[gone]
        _COMPILED[memory] = Calls()
    return _COMPILED[memory]


def forget(calls: Calls, key: Tensor) -> None:
    """Forget all calls of a layer, compiled ones too, as its steps are set."""
    calls.forget()
    if (memory := _memory(key)) in _COMPILED:
        _COMPILED[memory].forget()


def _memory(key: Tensor) -> StorageWeakRef:
    return StorageWeakRef(key.untyped_storage())  # type: ignore[no-untyped-call]


@torch.library.custom_op("meden::steps_to_draw", mutates_args=())
def steps_to_draw(step: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Return the step a call draws with and the next one, where the code is compiled: only then is it known which.

    The compiler neither sees through nor repeats it by itself, so that a backward pass cannot read the step after it
    was counted up.
    """
    back = _compiled(key).steps_back()
    return step - back, step + (back == 0)


@steps_to_draw.register_fake
def _shaped(step: Tensor, _key: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(step), torch.empty_like(step)


@steps_to_draw.register_vmap
def _mapped(_info: Any, in_dims: tuple[int | None, ...], step: Tensor, key: Tensor) -> tuple[Any, Any]:
    return steps_to_draw(step, key), (in_dims[0], in_dims[0])
