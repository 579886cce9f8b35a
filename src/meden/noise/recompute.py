"""Calls of a layer that compute a part of a forward pass anew, as ``torch.utils.checkpoint`` has them.

They happen inside of a backward pass, and must draw what was drawn before. A layer keeps no history: the last step is
the one to repeat, which is certain as long as there was one call since the last that was repeated.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from meden._checks import InputError


class Calls:
    """What a layer remembers of its calls: how many there were that a backward pass may still ask for."""

    __slots__ = ("num", "repeated")

    def __init__(self) -> None:
        self.num, self.repeated = 0, False

    def is_repeated(self) -> bool:
        """Note a call; say whether it repeats the last one.

        Raises:
            InputError: if it repeats one of several.
        """
        if torch._C._current_graph_task_id() == -1:
            self.num, self.repeated = 1 if self.repeated else self.num + 1, False
            return False
        if not (self.num or torch.is_grad_enabled()):
            return False  # a hook of gradients, which uses a layer that the forward pass does not
        if self.num > 1:
            raise InputError(
                "a noise layer must be called once in each pass where torch.utils.checkpoint computes it again, got "
                f"{self.num} calls before the backward pass: which of them to repeat is not known. Use one layer a "
                "call; calls without a backward pass are forgotten by load_noise_state(model, noise_state(model))"
            )
        self.repeated = True
        return True


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
    """Forget all calls of a layer, compiled ones too: no backward pass will ask for them."""
    calls.num, calls.repeated = 0, False
    _COMPILED.pop(_memory(key), None)


def _memory(key: Tensor) -> StorageWeakRef:
    return StorageWeakRef(key.untyped_storage())  # type: ignore[no-untyped-call]


@torch.library.custom_op("meden::step_to_draw", mutates_args=())
def step_to_draw(step: Tensor, key: Tensor) -> Tensor:
    """Return the step a call draws with, where the code is compiled: whether it is repeated is known when it runs.

    The compiler neither sees through nor repeats it by itself, so that a backward pass cannot read the step after it
    was counted up.
    """
    repeated = _compiled(key).is_repeated()
    return step - 1 if repeated else step.clone()


@step_to_draw.register_fake
def _shaped(step: Tensor, _key: Tensor) -> Tensor:
    return torch.empty_like(step)


@step_to_draw.register_vmap
def _mapped(_info: Any, in_dims: tuple[int | None, ...], step: Tensor, key: Tensor) -> tuple[Tensor, int | None]:
    return step_to_draw(step, key), in_dims[0]
