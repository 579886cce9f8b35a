"""Recurrent layers: a unit is its rows of all gates, in both weights and biases, and is read at the next step too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from meden.structure.contraction import MIXED, constants
from meden.structure.marked import Marked, Notes, Product

_GATES = {"gru": 3, "lstm": 4, "rnn_tanh": 1, "rnn_relu": 1}


def recur(notes: Notes, name: str, args: Mapping[str, Any], value: Any) -> list[Marked] | None:
    """Return the marks of a recurrent layer's outputs; None for one that is not understood."""
    gates = _GATES[name]
    starts = args["hx"] if isinstance(args["hx"], (list, tuple)) else [args["hx"]]
    weights: list[Marked] = args["params"]
    each = 4 if args["has_biases"] else 2
    directions = 2 if args["bidirectional"] else 1
    if len(weights) != each * directions * args["num_layers"] or "batch_first" not in args:
        return None  # projections, packed sequences
    x: Marked = args["input"]
    last: list[Tensor] = []
    for layer in range(args["num_layers"]):
        units, zeros = [], []
        for direction in range(directions):
            at = (layer * directions + direction) * each
            atoms, zero = _cell(notes, x, weights[at : at + each], gates)
            units.append(atoms)
            zeros.append(zero)
        last += units
        shape = (*x.value.shape[:-1], sum(map(len, units)))
        zero = torch.cat(zeros)
        x = Marked(zero.logical_not().to(x.value).expand(shape), torch.cat(units).expand(shape), zero.expand(shape))
    for start in starts:
        at_zero = bool((start.known & (start.value == 0)).all())
        notes.join(torch.stack(last).unsqueeze(1), start.atoms)
        if not at_zero and not start.is_labelled:
            notes.fix(torch.cat(last), "its first state comes from elsewhere")
    from_zero = all(bool((start.known & (start.value == 0)).all()) for start in starts)
    ends = torch.stack(last).unsqueeze(1)
    open_ = torch.full((), False)
    return [
        Marked(value[0], x.atoms, x.known if from_zero else open_.expand(value[0].shape)),
        *(Marked(part, ends.expand(part.shape), open_.expand(part.shape)) for part in value[1:]),
    ]


def step(notes: Notes, name: str, args: Mapping[str, Any], value: Any) -> Marked | list[Marked]:
    """Return the marks of the states after one step of a recurrent cell."""
    starts = args["hx"] if isinstance(args["hx"], (list, tuple)) else [args["hx"]]
    weights = [args[name] for name in ("w_ih", "w_hh", "b_ih", "b_hh") if args.get(name) is not None]
    atoms, _ = _cell(notes, args["input"], weights, _GATES[name.removesuffix("_cell")])
    for start in starts:
        notes.join(atoms, start.atoms)
        if not start.is_labelled and not bool((start.known & (start.value == 0)).all()):
            notes.fix(atoms, "its first state comes from elsewhere")

    def of(part: Tensor) -> Marked:
        return Marked(part, atoms.expand(part.shape), torch.full((), False).expand(part.shape))

    return of(value) if isinstance(value, Tensor) else [of(part) for part in value]


def _cell(notes: Notes, x: Marked, weights: list[Marked], gates: int) -> tuple[Tensor, Tensor]:
    """Return the atoms of one layer's units in one direction, and which of them stay at zero if they start there."""
    w_x, w_h, *biases = weights
    num = w_h.value.shape[1]
    atoms = notes.new(num)
    rows = atoms.repeat(gates)
    names = [bias.sources[0].name if bias.sources else None for bias in biases] or [None, None]
    others = tuple(range(x.value.ndim - 1))
    read = notes.mix(x.atoms, others, MIXED).view(1, -1)
    known, constant = (part.view(1, -1) for part in constants(x, others))
    silent = torch.ones(gates * num, dtype=torch.bool)
    notes.attach(rows.view(-1, 1), w_x)
    notes.attach(rows.view(-1, 1), w_h)
    for weight in (w_x, w_h):
        silent &= (weight.value == 0).all(1)
    for bias in biases:
        notes.attach(rows, bias)
        silent &= bias.value == 0
    silent = silent.view(gates, num).all(0)
    notes.attach(read, w_x, Product(0, names[0], known, constant))
    nothing = torch.zeros(1, num).to(constant)
    notes.attach(atoms.view(1, -1), w_h, Product(0, names[1], silent.view(1, -1), nothing))
    return atoms, silent
