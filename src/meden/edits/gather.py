"""Inputs that are still read, picked in front of the layers that read them: a model then takes what it always took."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meden.edits.edit import Undo, set_attribute
from meden.edits.layers import is_a

_CHILD = "input_gather"


class Entrance(NamedTuple):
    """Where a layer's first argument meets its weight."""

    weight: str
    columns: int
    """The axis of the weight that counts inputs."""
    inputs: int
    """The axis of the argument that does, from behind."""


def entrance(layer: nn.Module) -> Entrance | None:
    """Return where a layer takes its inputs in; None for a type that is not known, and where groups share them out.

    A layer of one's own declares it as it does for penalties: ``weight_axes = {"units": 0, "inputs": 1}``, of a weight
    that multiplies the last axis of its argument.
    """
    if isinstance(layer, nn.modules.conv._ConvNd):
        columns = 0 if layer.transposed else 1
        return Entrance("weight", columns, -1 - len(layer.kernel_size)) if layer.groups == 1 else None
    declared = getattr(layer, "weight_axes", {}).get("inputs")
    if declared is not None:
        return Entrance("weight", declared, -1)
    return next((where for kinds, where in _ENTRANCES if is_a(layer, kinds)), None)


_ENTRANCES: tuple[tuple[Any, Entrance], ...] = (
    (nn.Linear, Entrance("weight", 1, -1)),
    ("transformers.Conv1D", Entrance("weight", 0, -1)),
    (nn.RNNBase, Entrance("weight_ih_l0", 1, -1)),
    (nn.RNNCellBase, Entrance("weight_ih", 1, -1)),
)


class Gather(nn.Module):
    """Picks positions along an axis of its input.

    Args:
        positions: which, from 0.
        axis: from behind.

    Example:
        >>> Gather((0, 2), axis=-1)(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[1., 3.]])
    """

    positions: Tensor

    def __init__(self, positions: tuple[int, ...], axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("positions", torch.tensor(positions), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is picked."""
        return x.index_select(self.axis, self.positions)

    def extra_repr(self) -> str:
        """Say how many are picked."""
        return f"{len(self.positions)} positions, axis={self.axis}"


def attach_gather(layer: nn.Module, positions: tuple[int, ...]) -> Undo:
    """Let a layer pick positions of its first argument, and return what takes that back."""
    where, before = entrance(layer), layer._modules.get(_CHILD)
    assert where is not None
    if isinstance(before, Gather):  # it picks already
        still = tuple(before.positions[list(positions)].tolist())
        return set_attribute(layer, _CHILD, _beside(layer, Gather(still, before.axis)))
    layer.add_module(_CHILD, _beside(layer, Gather(positions, where.inputs)))
    hook = layer.register_forward_pre_hook(_gather, with_kwargs=True)

    def undo() -> None:
        hook.remove()
        delattr(layer, _CHILD)

    return undo


def _beside(layer: nn.Module, gather: Gather) -> Gather:
    """Return it in the mode and on the device of a layer."""
    return gather.train(layer.training).to(next(layer.parameters()).device)


def _gather(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    pick = layer.get_submodule(_CHILD)
    if args:
        return (pick(args[0]), *args[1:]), kwargs
    first = next(iter(inspect.signature(layer.forward).parameters))
    return args, {**kwargs, first: pick(kwargs[first])}
