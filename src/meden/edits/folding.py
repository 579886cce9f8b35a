"""Constants that biases take over: what a channel that is always the same number adds to what reads it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set

import torch
from torch import Tensor

from meden.edits.layers import takes_bias
from meden.edits.names import Names, Place
from meden.structure import Channel, Read


@torch.no_grad()
def folded(
    channels: Sequence[Channel], names: Names, tensors: Mapping[str, Tensor], new: Sequence[str]
) -> dict[str, Tensor]:
    """Return the biases that take over what channels that leave have given.

    Args:
        channels: all that leaves: what computes them takes nothing over.
        names: of the model.
        tensors: of its shapes, by their first names.
        new: biases that come into being in any case, for a channel that gives nothing too.
    """
    values: dict[str, Tensor] = {}
    rows = computed_rows(names, channels)
    for read in (read for channel in channels for read in _distinct(channel.reads, names)):
        name, bias = names.first[read.weight.name], bias_name(read, names)
        added = _given(read, tensors[name])
        if added is None:
            continue
        added[list(rows[name, read.outputs])] = 0
        if bool(added.any()) or bias in new:
            old = values.get(bias, tensors.get(bias))
            values[bias] = added.to(tensors[name]) if old is None else (old.double() + added).to(old)
    return values


def why_not_folded(read: Read, channel: Channel, names: Names) -> str | None:
    """Say why a bias cannot take over what a constant channel gives; None if it can."""
    name = names.first[read.weight.name]
    module = names.owner(name)
    where = f"{name.rpartition('.')[0]} ({type(module).__name__})"
    assert read.constant is not None
    if not bool(read.constant.isfinite().all()):
        return "it is not a number"
    same = [r for r in channel.reads if names.place(r.weight) == names.place(read.weight)]
    if any(r.constant is None or not torch.equal(r.constant, read.constant) for r in same):
        return f"{where} reads it as several constants"
    if read.bias is None and (names.is_tied(name) or not takes_bias(module)):
        return f"it is a constant, but {where} takes no bias"
    if read.bias is not None:
        bias = names.first[read.bias]
        is_whole = len(names.tensors[bias]) == names.tensors[name].shape[read.outputs]
        if not is_whole or names.is_tied(bias):
            return f"it is a constant, but the bias of {where} is also used elsewhere"
    return None


def computed_rows(names: Names, channels: Iterable[Channel]) -> Mapping[Place, Set[int]]:
    """Return the positions of tensors that compute some channels."""
    rows: dict[Place, set[int]] = defaultdict(set)
    for channel in channels:
        for part in channel.slices:
            rows[names.place(part)].update(part.positions)
    return rows


def columns(weight: Tensor, axis: int, outputs: int) -> Tensor:
    """Return a weight as (inputs, outputs, all else)."""
    moved = weight.movedim((axis, outputs), (0, 1))
    return moved.reshape(*moved.shape[:2], -1)


def _distinct(reads: Iterable[Read], names: Names) -> list[Read]:
    """Return each read of a weight once: a module that is called twice reads by the same weights."""
    return list({(names.place(read.weight), read.weight.positions): read for read in reads}.values())


def _given(read: Read, weight: Tensor) -> Tensor | None:
    """Return what a constant channel adds to each output of an operation, in float64; None if it is no constant."""
    if read.constant is None:
        return None
    by_input = columns(weight.detach(), read.weight.axis, read.outputs)[list(read.weight.positions)]
    return torch.einsum("po,p->o", by_input.double().sum(-1), read.constant.to(weight.device).double())


def bias_name(read: Read, names: Names) -> str:
    """Return the name of the bias that an operation adds, or would add if it had one."""
    owner = names.first[read.weight.name].rpartition(".")[0]
    return f"{owner}.bias".lstrip(".") if read.bias is None else names.first[read.bias]
