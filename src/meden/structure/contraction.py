"""Products that are summed up: linear layers, matrix products, convolutions, attention.

Where a weight is one of the two, it computes new channels along its own dimensions and reads those of the other along
what is summed. Where both are values of the run, as in attention, all that is summed is one channel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from meden.structure.marked import Foreign, Marked, Notes, Product, unlabelled

MADE = "a weight on it is made of other tensors"
MIXED = "it is mixed with numbers that stay"


def contract(notes: Notes, equation: str, a: Marked, b: Marked, value: Tensor) -> Marked:
    """Return the marks of ``einsum(equation, a, b)``, whose value is given.

    Args:
        notes: of the run.
        equation: of two operands, each letter once in an operand.
        a: one operand.
        b: the other.
        value: the product, of the shape that the equation says.
    """
    inputs, out = equation.split("->")
    of_a, of_b = inputs.split(",")
    known = _known(equation, a, b).expand(value.shape)
    if a.sources and b.sources:
        notes.use_up(a, MADE)
        notes.use_up(b, MADE)
        return unlabelled(value, known=True)
    if a.sources:
        a, b, of_a, of_b = b, a, of_b, of_a
    if b.sources:
        summed = (size for size, letter in zip(b.value.shape, of_b, strict=True) if letter not in out)
        notes.count(b, value.numel() * math.prod(summed))
        before = len(notes.attached)
        atoms = _by_weight(notes, (of_a, of_b, out), a, b)
        return Marked(value, atoms.expand(value.shape), known, readings=notes.readings_since(before))
    return Marked(value, _of_values(notes, (of_a, of_b, out), a, b).expand(value.shape), known)


def convolve(
    notes: Notes,
    x: Marked,
    w: Marked,
    value: Tensor,
    *,
    transposed: bool,
    groups: int,
    padded: bool,
) -> Tensor:
    """Return the atoms of a convolution, (1, channels, 1, ...)."""
    others = tuple(n for n in range(x.value.ndim) if n != 1)
    read = notes.mix(x.atoms, others, MIXED).flatten()
    atoms = notes.new(value.shape[1], "filter")
    notes.count(w, (x if transposed else unlabelled(value, known=False)).value.numel() * w.value[0].numel())
    if groups == 1:
        made, summed = (1, 0) if transposed else (0, 1)
        known, constant = (part.flatten() for part in constants(x, others))
        if padded or transposed:  # at a border, a constant counts less
            known = known & (constant == 0)
        notes.attach(_at(atoms, made, w), w)
        _read(notes, _at(read, summed, w), w, Product(made, None, _at(known, summed, w), _at(constant, summed, w)))
    else:
        of_groups = torch.cat([atoms.view(groups, -1), read.view(groups, -1)], 1)
        together = notes.mix(of_groups, (1,), MIXED)
        notes.attach(_at(together.expand(-1, len(w.value) // groups).flatten(), 0, w), w)
    return atoms.view(1, -1, *[1] * (value.ndim - 2))


def attend(notes: Notes, q: Marked, k: Marked, v: Marked) -> Tensor:
    """Return the atoms of scaled dot-product attention, one a head: (..., heads, 1, 1).

    Queries, keys and values of one head are one channel, with all queries that share a key and a value.
    """
    num_heads = q.value.shape[-3]
    parts = [notes.mix(x.atoms, (-2, -1), MIXED) for x in (q, k, v)]
    parts = [part.repeat_interleave(num_heads // part.shape[-3], -3) for part in parts]
    for part in parts:
        notes.join(parts[0], part)
        notes.mark(part, "head")
    if len({bool((part >= 0).any()) for part in parts}) > 1:
        for part in parts:
            notes.fix(part, MIXED)
    return torch.stack(torch.broadcast_tensors(*parts)).amax(0)  # type: ignore[no-untyped-call]


def constants(x: Marked, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return where all numbers along dimensions are one constant, and which; the dimensions are kept with size 1."""
    first = x.value
    for dim in dims:
        first = first.narrow(dim, 0, 1)
    same = x.known & (x.value == first)
    for dim in dims:
        same = same.all(dim, keepdim=True)
    return same, first


def _by_weight(notes: Notes, letters: tuple[str, str, str], x: Marked, w: Marked) -> Tensor:
    of_x, of_w, out = letters
    own = tuple(n for n, letter in enumerate(of_x) if letter not in of_w)
    shared = tuple(n for n, letter in enumerate(of_w) if letter in of_x and letter in out)
    summed = tuple(n for n, letter in enumerate(of_w) if letter not in out)
    made = [n for n, letter in enumerate(of_w) if letter in out and letter not in of_x]
    read = _laid(notes.mix(x.atoms, own, MIXED), of_x, of_w)
    sizes = [1 if n in summed else size for n, size in enumerate(w.value.shape)]
    atoms = notes.new(math.prod(sizes)).view(sizes)
    notes.attach(atoms, w)
    if shared and bool((read != read.amax(shared, keepdim=True)).any()):  # each by itself, as in a grouped convolution
        notes.join(atoms, notes.mix(read, summed, MIXED))
    else:
        known, constant = (_laid(part, of_x, of_w) for part in constants(x, own))
        _read(notes, read, w, Product(made[0] if made else 0, None, known, constant))
    return _laid(atoms, of_w, out)


def _of_values(notes: Notes, letters: tuple[str, str, str], a: Marked, b: Marked) -> Tensor:
    of_a, of_b, out = letters
    parts = []
    for of_x, x, of_y, y in ((of_a, a, of_b, b), (of_b, b, of_a, a)):
        if not x.is_labelled:
            continue
        if not y.is_labelled:
            common = tuple(n for n, letter in enumerate(of_x) if letter in of_y and x.value.shape[n] > 1)
            why = MADE if bool(y.known.all()) else MIXED
            notes.foreign.append(Foreign(x.atoms, x.atoms >= 0, common, why))
        summed = tuple(n for n, letter in enumerate(of_x) if letter not in out)
        parts.append(_laid(notes.mix(x.atoms, summed, MIXED), of_x, out))
    if len(parts) == 2:
        notes.join(*parts)
        for part in parts:
            notes.mark(part, "head")
        return torch.maximum(*parts)
    return parts[0] if parts else torch.full((), -1)


def _read(notes: Notes, atoms: Tensor, w: Marked, read: Product) -> None:
    if any(source.use == "changed" for source in w.sources):
        notes.fix(atoms, MADE)
    if any(source.use != "as it is" for source in w.sources):
        read = read.of_zeros()
    notes.attach(atoms, w, read)


def _known(equation: str, a: Marked, b: Marked) -> Tensor:
    """Return which sums do not depend on the input: those of constants, and of what is multiplied by zeros."""
    open_a, open_b = (~a.known).float(), (~b.known).float()
    some_a, some_b = torch.maximum(a.value.ne(0).float(), open_a), torch.maximum(b.value.ne(0).float(), open_b)
    unknown = torch.einsum(equation, open_a, some_b) + torch.einsum(equation, some_a, open_b)
    return unknown == 0


def _laid(x: Tensor, letters: str, wanted: str) -> Tensor:
    """Return a tensor with dimensions in another order: what is not wanted has size 1, what it lacks gets that."""
    kept = [letter for letter in letters if letter in wanted]
    for n in reversed(range(len(letters))):
        if letters[n] not in wanted:
            x = x.squeeze(n)
    x = x.permute([kept.index(letter) for letter in wanted if letter in kept])
    for n, letter in enumerate(wanted):
        if letter not in kept:
            x = x.unsqueeze(n)
    return x


def _at(x: Tensor, dim: int, w: Marked) -> Tensor:
    return x.view([-1 if n == dim else 1 for n in range(w.value.ndim)])
