"""Operations that mix numbers along some dimensions, of which they make one channel; norms with their scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from meden.structure.calls import Call, each_output
from meden.structure.contraction import MADE, MIXED
from meden.structure.marked import Marked, Notes, unlabelled


def along(notes: Notes, call: Call) -> Any:
    """Follow what mixes numbers along the dimensions that it is given."""
    x = next(call.tensors())
    notes.use_up(x, MADE)
    dims = call.args.get("dim")
    dims = range(x.value.ndim) if dims in (None, []) else [dims] if isinstance(dims, int) else dims
    return mixed(notes, x, tuple(d % max(x.value.ndim, 1) for d in dims), call.value)


def spatial(notes: Notes, call: Call) -> Any:
    """Follow what mixes the places of images or series: pooling and its like."""
    x = next(call.tensors())
    return mixed(notes, x, tuple(range(2, x.value.ndim)), call.value)


def mixed(notes: Notes, x: Marked, dims: tuple[int, ...], value: Any) -> Any:
    """Return the marks of what mixes numbers along dimensions, which stay, have another size, or are gone."""
    atoms, known = notes.mix(x.atoms, dims, MIXED), x.known
    for dim in dims:
        known = known.all(dim, keepdim=True)

    def of(part: Tensor) -> Marked:
        if part.ndim == x.value.ndim:
            return Marked(part, atoms.expand(part.shape), known.expand(part.shape))
        kept = [size for d, size in enumerate(x.value.shape) if d not in dims]
        return Marked(part, atoms.reshape(kept), known.reshape(kept))

    return each_output(value, of)


def _scaled(notes: Notes, x: Marked, weights: Sequence[Marked | None], dims: tuple[int, ...], value: Tensor) -> Marked:
    """Return a normalised tensor with its scale, shift and moments, which have the dimensions ``dims`` of it."""
    known, at = x.known, [size if d in dims else 1 for d, size in enumerate(value.shape)]
    for weight in weights:
        if weight is not None:
            laid = weight.moved(lambda part: part.reshape(at))
            notes.attach(x.atoms, laid)
            notes.meet(x.atoms, laid)
            known = known & laid.known
    scale = weights[0]
    if scale is not None:
        known = known | (scale.known & (scale.value == 0)).reshape(at)
    return Marked(value, x.atoms, known.expand(value.shape))


def batch_norm(notes: Notes, call: Call) -> Any:
    """Follow a norm of each channel over rows and places."""
    args = call.args
    x: Marked = args["input"]
    weights = [args[name] for name in ("weight", "bias", "running_mean", "running_var")]
    if weights[2] is None:  # moments of the batch
        x = mixed(notes, x, tuple(d for d in range(x.value.ndim) if d != 1), x.value)
    if isinstance(call.value, Tensor):
        return _scaled(notes, x, weights, (1,), call.value)
    return [_scaled(notes, x, weights, (1,), call.value[0]), *(unlabelled(p, known=True) for p in call.value[1:])]


def layer_norm(notes: Notes, call: Call) -> Marked:
    """Follow a norm over the last dimensions."""
    x: Marked = call.args["input"]
    dims = tuple(range(x.value.ndim - len(call.args["normalized_shape"]), x.value.ndim))
    x = mixed(notes, x, dims, x.value)
    return _scaled(notes, x, [call.args["weight"], call.args.get("bias")], dims, call.value)


def group_norm(notes: Notes, call: Call) -> Marked:
    """Follow a norm over groups of channels, each of which is one channel then."""
    x: Marked = call.args["input"]
    num_groups, size = call.args["num_groups"], x.value.shape
    in_groups = (size[0], num_groups, -1, *size[2:])
    over = tuple(range(2, len(in_groups)))
    grouped = Marked(x.value.view(in_groups), x.atoms.reshape(in_groups), x.known.reshape(in_groups))
    x = mixed(notes, grouped, over, grouped.value).moved(lambda part: part.reshape(size))
    return _scaled(notes, x, [call.args["weight"], call.args["bias"]], (1,), call.value)


def instance_norm(notes: Notes, call: Call) -> Marked:
    """Follow a norm of each channel over its places."""
    x: Marked = call.args["input"]
    if call.args["use_input_stats"]:
        x = mixed(notes, x, tuple(range(2, x.value.ndim)), x.value)
    weights = [call.args[name] for name in ("weight", "bias", "running_mean", "running_var")]
    return _scaled(notes, x, weights, (1,), call.value)
