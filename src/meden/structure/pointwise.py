"""Operations on each number by itself: channels that they bring together are one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from meden.structure.calls import Call
from meden.structure.contraction import MADE
from meden.structure.marked import Marked, Notes, Source, Use, once

_COPIES = frozenset("clone _to_copy to type_as lift_fresh detach alias dropout feature_dropout contiguous".split())
_PRODUCTS = ("mul", "multiply")
_QUOTIENTS = ("div", "divide", "true_divide", "neg")


def each(notes: Notes, call: Call) -> Marked:
    """Follow what acts on each number by itself."""
    return pointwise(notes, call.name, list(call.tensors()), call.value)


def pointwise(notes: Notes, name: str, parts: Sequence[Marked], value: Tensor) -> Marked:
    """Return the marks of what is computed number by number."""
    shape = value.shape
    known = torch.full((), True)
    for part in parts:
        known = known & once(part.known)
    if name in _PRODUCTS:
        for part in parts:
            known = known | (once(part.known) & (part.value == 0)) if part.known.any() else known
    known = known.expand(shape)
    if not any(part.is_labelled for part in parts):
        return Marked(value, torch.full((), -1).expand(shape), known, _kept_sources(notes, name, parts, shape))
    if name == "add" and len(parts) == 2:
        for product, bias in (parts, parts[::-1]):
            if bias.sources:
                notes.add_bias(product, bias)
    atoms = torch.full((), -1)
    for part in parts:
        notes.join(atoms, part.atoms)
        atoms = torch.maximum(atoms, once(part.atoms))
    atoms = atoms.expand(shape)
    for part in parts:
        notes.attach(atoms, part)
        notes.meet(atoms, part)
    return Marked(value, atoms, known)


def _kept_sources(notes: Notes, name: str, parts: Sequence[Marked], shape: torch.Size) -> tuple[Source, ...]:
    if not any(part.sources for part in parts):
        return ()
    if any(not part.sources and part.value.numel() > 1 for part in parts):
        for part in parts:
            notes.use_up(part, MADE)
        return ()
    scaled = name in _PRODUCTS or (name in _QUOTIENTS and bool(parts[0].sources))
    use: Use = "as it is" if name in _COPIES else "scaled" if scaled else "changed"
    return tuple(
        source._replace(origin=source.origin.expand(shape), use=max(source.use, use, key=get_args(Use).index))
        for part in parts
        for source in part.sources
    )


def shaped_like(_notes: Notes, call: Call) -> Marked:
    """Follow what only takes the shape of a tensor."""
    x = next(call.tensors())
    return Marked(call.value, x.atoms, torch.full((), True).expand(call.value.shape))


def prelu(notes: Notes, call: Call) -> Marked:
    """Follow a rectifier with slopes of its own."""
    x, weight = call.args["self"], call.args["weight"]
    shape = [-1 if d == 1 else 1 for d in range(x.value.ndim)] if weight.value.numel() > 1 else [1] * x.value.ndim
    return pointwise(notes, "prelu", [x, weight.moved(lambda part: part.reshape(shape))], call.value)


def glu(notes: Notes, call: Call) -> Marked:
    """Follow a gate that is the other half of a tensor."""
    x, dim = call.args["self"], call.args["dim"]
    value, gate = (x.moved(lambda part, n=n: part.chunk(2, dim)[n]) for n in range(2))
    return pointwise(notes, "mul", [value, gate], call.value)
