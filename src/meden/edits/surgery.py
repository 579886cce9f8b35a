"""Cuts as edits of a model, one for each layer that changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from meden.edits.attention import FewerHeads
from meden.edits.cuts import Cuts
from meden.edits.edit import Edit, Undo, set_attribute
from meden.edits.gather import attach_gather
from meden.edits.layers import attributes, fewer_heads
from meden.edits.names import Names


def surgery(model: nn.Module, cuts: Cuts, values: Mapping[str, Tensor]) -> list[Edit]:
    """Plan the cuts of a model.

    Args:
        model: as it was built.
        cuts: what leaves.
        values: tensors whose numbers change too, of their shapes before; those that are to come into being with them.

    Raises:
        InputError: if the model is of another kind than what the cuts were made for.
    """
    names = Names(model)
    cuts.check_fits(names)
    new = _new_tensors(names, cuts, values)
    layers = list(model.named_modules())
    changes = {name: list(_changes(name, module, names, cuts, new)) for name, module in layers}
    return [
        _edit(name, module, names, changes[name], cuts.picked.get(name)) for name, module in layers if changes[name]
    ]


Change = tuple[nn.Module, str, Any]
"""A module, an attribute and its new value."""


@torch.no_grad()
def _new_tensors(names: Names, cuts: Cuts, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that take the place of others, by their first names; one for all places of a tied one."""
    new: dict[str, Tensor] = {}
    for name in dict.fromkeys([*cuts.shapes, *values]):
        old = names.tensors.get(name)
        made = cuts.cut(name, values.get(name, old)).detach().clone().contiguous()  # type: ignore[arg-type]
        if old is None:  # trained as the weight is that it stands beside
            weight = names.tensors[names.first[f"{name.rpartition('.')[0]}.weight".lstrip(".")]]
            new[name] = nn.Parameter(made, requires_grad=weight.requires_grad)
        else:
            new[name] = nn.Parameter(made, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else made
    return new


def _changes(name: str, module: nn.Module, names: Names, cuts: Cuts, new: Mapping[str, Tensor]) -> Iterator[Change]:
    prefix = f"{name}." if name else ""
    first = {leaf: names.first.get(prefix + leaf, prefix + leaf) for leaf in (*module._parameters, *module._buffers)}
    mine = {leaf: new[full] for leaf, full in first.items() if full in new}
    yield from ((module, leaf, tensor) for leaf, tensor in mine.items())
    if mine:
        now = attributes(module, lambda leaf, axis: cuts.lost(first.get(leaf, ""), axis))
        yield from ((module, leaf, value) for leaf, value in now.items() if getattr(module, leaf) != value)
    if isinstance(module, nn.TransformerEncoder) and any(layer.startswith(prefix) for layer in cuts.heads):
        yield module, "use_nested_tensor", False  # FewerHeads takes none
    if name in cuts.heads:
        counts = fewer_heads(module, *cuts.heads[name])
        yield from ((module, attribute, value) for attribute, value in counts.items())
        if isinstance(module, nn.MultiheadAttention):
            yield from _as_fewer_heads(module, first, cuts)


def _as_fewer_heads(module: nn.MultiheadAttention, first: Mapping[str, str], cuts: Cuts) -> Iterator[Change]:
    lost = set(cuts.lost(first["in_proj_weight"], 0) or cuts.lost(first["q_proj_weight"], 0))
    former = getattr(module, "heads", tuple(range(module.num_heads)))
    left = [h for h in range(module.num_heads) if h * module.head_dim not in lost]
    yield module, "heads", tuple(former[h] for h in left)
    yield module, "former_heads", getattr(module, "former_heads", module.num_heads)
    yield module, "_qkv_same_embed_dim", False
    yield module, "__class__", FewerHeads


def _apply(module: nn.Module, changes: list[Change], picked: tuple[int, ...] | None) -> Undo:
    undos = [_set(*change) for change in changes]
    if picked is not None:
        undos.append(attach_gather(module, picked))
    return partial(_undo, undos)


def _set(module: nn.Module, attribute: str, value: Any) -> Undo:
    if hasattr(module, attribute):
        return set_attribute(module, attribute, value)
    setattr(module, attribute, value)
    return partial(delattr, module, attribute)


def _undo(undos: list[Undo]) -> None:
    for undo in reversed(undos):
        undo()


def _edit(name: str, module: nn.Module, names: Names, changes: list[Change], picked: tuple[int, ...] | None) -> Edit:
    """Return the edit of one layer, with the shape of the largest tensor that changes."""
    made = [(leaf, value) for _, leaf, value in changes if isinstance(value, Tensor)]
    leaf, tensor = max(made, key=lambda each: each[1].numel(), default=("", None))
    before = names.tensors.get(names.first.get(f"{name}.{leaf}".lstrip("."), ""))
    shapes = ["-" if t is None else " x ".join(map(str, t.shape)) for t in (before, tensor)]
    return Edit(name, type(module).__name__, shapes[0], shapes[1], partial(_apply, module, changes, picked))
