"""Layers that compute new channels and read others: products with weights, attention, embeddings."""

from __future__ import annotations

import string
from typing import Any

import torch
from torch import Tensor

from meden.structure.calls import Call, unknown
from meden.structure.contraction import MIXED, attend, contract, convolve
from meden.structure.marked import Marked, Notes
from meden.structure.pointwise import pointwise
from meden.structure.recurrence import recur, step


def linear(notes: Notes, call: Call) -> Marked:
    """Follow a linear layer."""
    return _affine(notes, call.args["input"], call.args["weight"], call.args["bias"], "oi", call.value)


def addmm(notes: Notes, call: Call) -> Any:
    """Follow a bias plus a product of matrices."""
    if call.args["beta"] != 1 or call.args["alpha"] != 1:
        return unknown(notes, call)
    return _affine(notes, call.args["mat1"], call.args["mat2"], call.args["self"], "io", call.value)


def _affine(notes: Notes, x: Marked, w: Marked, bias: Marked | None, of_w: str, value: Tensor) -> Marked:
    leading = _letters(x.value.ndim - 1)
    out = leading + of_w.replace("i", "") if w.value.ndim == 2 else leading
    of_w = of_w if w.value.ndim == 2 else "i"
    made = contract(notes, f"{leading}i,{of_w}->{out}", x, w, value)
    return made if bias is None else pointwise(notes, "add", [made, bias], value)


def baddbmm(notes: Notes, call: Call) -> Any:
    """Follow a tensor plus a product of matrices in batches."""
    if call.args["beta"] != 1 or call.args["alpha"] != 1:
        return unknown(notes, call)
    product = contract(notes, "bni,bio->bno", call.args["batch1"], call.args["batch2"], call.value)
    return pointwise(notes, "add", [product, call.args["self"]], call.value)


def matmul(notes: Notes, call: Call) -> Any:
    """Follow a product of matrices, in batches or not."""
    a, b = call.args["self"], call.args["other" if "other" in call.args else "mat2"]
    leading = _letters(max(a.value.ndim, b.value.ndim) - 2)

    def of(ndim: int, own: str) -> str:
        return "i" if ndim == 1 else leading[len(leading) - (ndim - 2) :] + own

    out = leading + ("n" if a.value.ndim > 1 else "") + ("o" if b.value.ndim > 1 else "")
    sizes: dict[str, int] = {}
    for letters, x in ((of(a.value.ndim, "ni"), a), (of(b.value.ndim, "io"), b)):
        for letter, size in zip(letters, x.value.shape, strict=True):
            if sizes.setdefault(letter, size) != size:  # broadcast
                return unknown(notes, call)
    return contract(notes, f"{of(a.value.ndim, 'ni')},{of(b.value.ndim, 'io')}->{out}", a, b, call.value)


def einsum(notes: Notes, call: Call) -> Any:
    """Follow a sum of products of two tensors."""
    equation, parts = call.args["equation"].replace(" ", ""), call.args["tensors"]
    inputs, arrow, out = equation.partition("->")
    operands = inputs.split(",")
    is_plain = arrow and "." not in equation and all(len(set(letters)) == len(letters) for letters in operands)
    if len(parts) != 2 or not is_plain or not set(out) <= set(inputs):
        return unknown(notes, call)
    first, second = parts
    return contract(notes, equation, first, second, call.value)


def convolution(notes: Notes, call: Call) -> Any:
    """Follow a convolution, transposed or not."""
    args = call.args
    x, w, bias = args["input"], args["weight"], args["bias"]
    transposed = args.get("transposed", "transpose" in call.name)
    padding = args["padding"]
    unbatched = x.value.ndim == w.value.ndim - 1
    if unbatched or x.sources or not w.sources:
        return unknown(notes, call)
    padded = any(padding) if isinstance(padding, (list, tuple)) else padding not in ("valid", 0)
    before = len(notes.attached)
    atoms = convolve(notes, x, w, call.value, transposed=transposed, groups=args["groups"], padded=padded).expand(
        call.value.shape
    )
    open_x, some_w = (~x.known).float(), torch.maximum(w.value.ne(0), ~w.known).float()
    known = call.target(**{**args, "input": open_x, "weight": some_w, "bias": None}) == 0
    made = Marked(call.value, atoms, known, readings=notes.readings_since(before))
    if bias is None:
        return made
    along = [-1 if d == 1 else 1 for d in range(call.value.ndim)]
    return pointwise(notes, "add", [made, bias.moved(lambda part: part.view(along))], call.value)


def attention(notes: Notes, call: Call) -> Any:
    """Follow scaled dot-product attention."""
    q, k, v = (call.args[name] for name in ("query", "key", "value"))
    if q.value.ndim < 3 or any(x.sources for x in (q, k, v)):
        return unknown(notes, call)
    atoms = attend(notes, q, k, v).expand(call.value.shape)
    mask: Marked | None = call.args["attn_mask"]
    if mask is not None:
        notes.join(atoms[..., :1, :1], notes.mix(mask.atoms, (-2, -1), MIXED))
        notes.meet(atoms[..., :1], mask)
    first = v.value[..., :1, :]
    same = (v.known & (v.value == first)).all(-2, keepdim=True)  # a mean of equal numbers, unless all are masked
    if mask is not None and not bool(mask.known.all()):
        same = same & (first == 0)
    times = q.value.shape[-3] // same.shape[-3]
    same, first = same.repeat_interleave(times, -3), first.repeat_interleave(times, -3)
    return Marked(torch.where(same, first, call.value), atoms, same.expand(call.value.shape))


def recurrent(notes: Notes, call: Call) -> Any:
    """Follow a recurrent layer."""
    found = recur(notes, call.name, call.args, call.value)
    return unknown(notes, call) if found is None else found


def recurrent_cell(notes: Notes, call: Call) -> Any:
    """Follow one step of a recurrent layer."""
    return step(notes, call.name, call.args, call.value)


def embedding(notes: Notes, call: Call) -> Any:
    """Follow a table of which rows are picked."""
    weight, index = call.args["weight"], call.args["indices"]
    if not weight.sources:
        return unknown(notes, call)
    if not bool(index.known.all()):
        notes.tables += [source.name for source in weight.sources if source.name not in notes.tables]
    atoms = notes.new(weight.value.shape[1])
    notes.attach(atoms.view(1, -1), weight)
    same = (weight.value == weight.value[:1]).all(0)
    known = index.known.unsqueeze(-1) | same
    return Marked(call.value, atoms.expand(call.value.shape), known.expand(call.value.shape))


def _letters(num: int) -> str:
    return "".join(letter for letter in string.ascii_letters if letter not in "ino")[:num]
