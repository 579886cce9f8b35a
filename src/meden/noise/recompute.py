"""Calls of a layer that compute a part of a forward pass anew, as ``torch.utils.checkpoint`` has them.

They happen inside of a backward pass, and must draw what was drawn before. A layer keeps no history: the last step is
the one to repeat, which is certain as long as there was one call since the last that was repeated.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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
        # hooks of gradients have gradients disabled, and may use a layer that the forward pass does not
        if torch._C._current_graph_task_id() == -1 or not (self.num or torch.is_grad_enabled()):
            self.num, self.repeated = 1 if self.repeated else self.num + 1, False
            return False
        if self.num > 1:
            raise InputError(
                "a noise layer must be called once in each pass where torch.utils.checkpoint computes it again, got "
                f"{self.num} calls before the backward pass: which of them to repeat is not known. Use one layer a "
                "call; calls without a backward pass are forgotten by load_noise_state(model, noise_state(model))"
            )
        self.repeated = True
        return True

    def forget(self) -> None:
        """Forget all calls: no backward pass will ask for them."""
        self.num, self.repeated = 0, False


_COMPILED: dict[int, Calls] = {}
"""Calls in compiled programs, by the place of the step in memory: all that such a program knows of its layer."""


@torch.library.custom_op("meden::step_to_draw", mutates_args=())
def step_to_draw(step: Tensor) -> Tensor:
    """Return the step a call draws with, where the code is compiled: whether it is repeated is known when it runs.

    The compiler neither sees through nor repeats it by itself, so that a backward pass cannot read the step after it
    was counted up.
    """
    repeated = _COMPILED.setdefault(step.data_ptr(), Calls()).is_repeated()
    return step - 1 if repeated else step.clone()


@step_to_draw.register_fake
def _shaped(step: Tensor) -> Tensor:
    return torch.empty_like(step)


@step_to_draw.register_vmap
def _mapped(_info: Any, in_dims: tuple[int | None], step: Tensor) -> tuple[Tensor, int | None]:
    return step_to_draw(step), in_dims[0]
