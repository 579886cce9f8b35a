"""Operations that only move numbers: their marks are moved by the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from meden.structure.calls import Call, plain, unknown
from meden.structure.contraction import MADE, MIXED
from meden.structure.marked import Marked, Notes


def move(notes: Notes, call: Call) -> Any:
    """Follow what only moves numbers."""
    x, *others = call.tensors()
    if others:
        return unknown(notes, call)
    given = {arg: None if value is x else value for arg, value in call.args.items()}
    place = next(arg for arg, value in call.args.items() if value is x)

    def moved(part: Tensor) -> Any:
        if call.name in ("view", "_unsafe_view"):  # marks are not laid out in memory as values are
            return part.reshape(call.value.shape)
        return call.target(**{**given, place: part})

    if isinstance(call.value, Tensor):
        return x.moved(moved)
    parts = [moved(x.atoms), moved(x.known), *(moved(source.origin) for source in x.sources)]
    return [
        Marked(value, atoms, known, tuple(s._replace(origin=o) for s, o in zip(x.sources, origins, strict=True)))
        for value, atoms, known, *origins in zip(call.value, *parts, strict=True)
    ]


def cat(notes: Notes, call: Call) -> Marked:
    """Follow a concatenation."""
    parts: list[Marked] = call.args["tensors"]
    for part in parts:
        notes.use_up(part, MADE)

    def joined(of: Callable[[Marked], Tensor]) -> Tensor:
        given = {arg: value for arg, value in call.args.items() if arg != "tensors"}
        return call.target([of(part) for part in parts], **given)  # type: ignore[no-any-return]

    return Marked(call.value, joined(lambda part: part.atoms), joined(lambda part: part.known))


def pad(notes: Notes, call: Call) -> Marked:
    """Follow padding: places of a channel are its own; what is added to channels is none."""
    x: Marked = call.args["self"]
    notes.use_up(x, MADE)
    widths = call.args["pad"]
    padded = [x.value.ndim - 1 - n // 2 for n in range(len(widths)) if widths[n]]
    mixed = tuple(d for d in set(padded) if bool((x.atoms == x.atoms.amax(d, keepdim=True)).all()))
    shape = [call.value.shape[d] if d in mixed else size for d, size in enumerate(x.atoms.shape)]
    atoms = notes.mix(x.atoms, mixed, MIXED).expand(shape)
    rest = [0 if x.value.ndim - 1 - n // 2 in mixed else width for n, width in enumerate(widths)]
    known = torch.nn.functional.pad(x.known, widths, value=call.args.get("mode", "constant") == "constant")
    return Marked(call.value, torch.nn.functional.pad(atoms, rest, value=-1), known)


def index_by(notes: Notes, call: Call) -> Any:
    """Follow what picks numbers by their positions."""
    x, *indices = call.tensors()
    if x.sources or any(index.is_labelled for index in indices):
        return unknown(notes, call)
    dims = call.args.get("dim")
    given = call.args.get("indices")
    picked = [dims % x.value.ndim] if isinstance(dims, int) else [d for d, i in enumerate(given or []) if i is not None]
    settled = all(bool(index.known.all()) for index in indices)
    if not settled:
        atoms = notes.mix(x.atoms, tuple(picked), MIXED).expand(x.atoms.shape)
    else:
        atoms = x.atoms
    place = next(arg for arg, value in call.args.items() if value is x)
    unmarked = {arg: plain(value) for arg, value in call.args.items()}
    moved = call.target(**{**unmarked, place: atoms})
    known = call.target(**{**unmarked, place: x.known.clone()})
    return Marked(call.value, moved, known if settled else torch.zeros_like(known))
