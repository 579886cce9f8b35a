"""What a layer knows of its own size, by its type: attributes that follow when its tensors are cut.

Legend: C channels in G groups of C / G each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from torch import nn

Lost = Callable[[str, int], Collection[int]]
"""Returns the positions that a layer's own tensor loses along an axis."""
Attributes = dict[str, Any]
Stays = Iterator[tuple[str, int, Collection[int], str]]
"""Tensors, axes and positions that cannot leave a layer as it is built, and why."""

_GROUPS = "loses whole groups, or as much of each, alone"
_LINEAR = (nn.Linear, nn.modules.conv._ConvNd)
HEADS = (
    *("num_heads", "n_heads", "num_attention_heads", "num_key_value_heads", "n_kv_heads"),
    *("split_size", "all_head_size", "inner_dim"),
)
"""Attributes that count heads, or what all of them compute together, in models of transformers."""


def attributes(layer: nn.Module, lost: Lost) -> Attributes:
    """Return the attributes of a layer that are others once its tensors are cut, with their new values.

    Those of a layer of unknown type stay.

    Example:
        >>> attributes(nn.Linear(5, 3), lambda leaf, axis: [4] if (leaf, axis) == ("weight", 1) else [])
        {'in_features': 4, 'out_features': 3}
    """
    return next((of(layer, lost) for kinds, of, _ in _TABLE if is_a(layer, kinds)), {})


def must_stay(layer: nn.Module, lost: Lost) -> Stays:
    """Yield what a layer has to keep of what it would lose."""
    yield from next((of(layer, lost) for kinds, _, of in _TABLE if of is not None and is_a(layer, kinds)), ())


def is_known(layer: nn.Module) -> bool:
    """Say whether it is known what a layer of this type knows of its own size."""
    return any(is_a(layer, kinds) for kinds, _, _ in _TABLE)


def takes_bias(layer: nn.Module) -> bool:
    """Say whether a layer without a bias works with one."""
    return isinstance(layer, _LINEAR) and "bias" in layer._parameters


def is_a(layer: nn.Module, kinds: Any) -> bool:
    """Say whether a layer is of some types, or of one of another library, such as ``transformers.Conv1D``."""
    if isinstance(kinds, str):
        library, _, kind = kinds.partition(".")
        return any(c.__name__ == kind and c.__module__.startswith(f"{library}.") for c in type(layer).__mro__)
    return isinstance(layer, kinds)


def _linear(layer: Any, lost: Lost) -> Attributes:
    return {
        "in_features": layer.in_features - len(lost("weight", 1)),
        "out_features": layer.out_features - len(lost("weight", 0)),
    }


def _bilinear(layer: Any, lost: Lost) -> Attributes:
    sizes = {"out_features": 0, "in1_features": 1, "in2_features": 2}
    return {name: getattr(layer, name) - len(lost("weight", axis)) for name, axis in sizes.items()}


def _conv1d_of_transformers(layer: Any, lost: Lost) -> Attributes:
    return {"nx": layer.nx - len(lost("weight", 0)), "nf": layer.nf - len(lost("weight", 1))}


def _convolution(layer: Any, lost: Lost) -> Attributes:
    """Rows are shared out over the groups, columns are counted within one."""
    return _grouped(layer, lost, rows="out_channels", columns="in_channels")


def _transposed(layer: Any, lost: Lost) -> Attributes:
    return _grouped(layer, lost, rows="in_channels", columns="out_channels")


def _grouped(layer: Any, lost: Lost, *, rows: str, columns: str) -> Attributes:
    whole, _ = _by_group(lost("weight", 0), getattr(layer, rows), layer.groups)
    groups = layer.groups - len(whole)
    width = getattr(layer, columns) // layer.groups - len(lost("weight", 1))
    return {"groups": groups, columns: groups * width, rows: getattr(layer, rows) - len(lost("weight", 0))}


def _by_group(lost: Collection[int], channels: int, groups: int) -> tuple[set[int], set[int]]:
    """Return the groups that are lost whole, and those that lose a part."""
    if groups == 1:
        return set(), set()
    counts = [0] * groups
    for position in lost:
        counts[position // (channels // groups)] += 1
    whole = {group for group, count in enumerate(counts) if count == channels // groups}
    return whole, {group for group, count in enumerate(counts) if count and group not in whole}


def _rows_of_groups(layer: Any, lost: Lost) -> Stays:
    """Yield the rows of a convolution's groups that lose a part, unless all groups lose as many."""
    channels = layer.in_channels if layer.transposed else layer.out_channels
    rows = lost("weight", 0)
    whole, torn = _by_group(rows, channels, layer.groups)
    size = channels // layer.groups
    counts = {sum(row // size == group for row in rows) for group in range(layer.groups)} if torn else set()
    if torn and (whole or len(counts) > 1):
        yield "weight", 0, [row for row in rows if row // size in torn], _GROUPS


def _norm(layer: Any, lost: Lost) -> Attributes:
    return {"num_features": layer.num_features - len(lost(_first_tensor(layer), 0))}


def _group_norm(layer: Any, lost: Lost) -> Attributes:
    whole, _ = _by_group(lost("weight", 0), layer.num_channels, layer.num_groups)
    return {"num_channels": layer.num_channels - len(lost("weight", 0)), "num_groups": layer.num_groups - len(whole)}


def _parts_of_groups(layer: Any, lost: Lost) -> Stays:
    size = layer.num_channels // layer.num_groups
    rows = lost("weight", 0)
    torn = [row for row in rows if sum(other // size == row // size for other in rows) < size]
    if torn:
        yield "weight", 0, torn, _GROUPS


def _prelu(layer: Any, lost: Lost) -> Attributes:
    return {"num_parameters": layer.num_parameters - len(lost("weight", 0))}


def _embedding(layer: Any, lost: Lost) -> Attributes:
    return {
        "num_embeddings": layer.num_embeddings - len(lost("weight", 0)),
        "embedding_dim": layer.embedding_dim - len(lost("weight", 1)),
    }


def _recurrent(layer: Any, lost: Lost) -> Attributes:
    return {
        "input_size": layer.input_size - len(lost("weight_ih_l0", 1)),
        "hidden_size": layer.hidden_size - len(lost("weight_hh_l0", 1)),
    }


def _cell(layer: Any, lost: Lost) -> Attributes:
    return {
        "input_size": layer.input_size - len(lost("weight_ih", 1)),
        "hidden_size": layer.hidden_size - len(lost("weight_hh", 1)),
    }


def _more_of_one_layer(layer: Any, lost: Lost) -> Stays:
    """Yield what one layer or direction of a recurrent network would lose more than another: one size is for all."""
    weights = [leaf for leaf in layer._parameters if leaf.startswith("weight_hh")]
    hidden = {leaf: sorted(lost(leaf, 1)) for leaf in weights}
    least = 0 if layer.proj_size else min(map(len, hidden.values()))
    for leaf, positions in hidden.items():
        if positions[least:]:
            yield leaf, 1, positions[least:], "loses as many units of each layer and direction alone"


def _columns_of_attention(_layer: nn.Module, lost: Lost) -> Stays:
    for leaf in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
        if columns := lost(leaf, 1):
            yield leaf, 1, columns, "takes inputs of one width"


def _none(_layer: nn.Module, _lost: Lost) -> Attributes:
    return {}


def _all_of_keras(layer: nn.Module, lost: Lost) -> Stays:
    for leaf, tensor in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
        for axis in range(tensor.ndim):
            if positions := lost(leaf, axis):
                yield leaf, axis, positions, "is a layer of Keras, whose variables keep their shapes"


def _first_tensor(layer: nn.Module) -> str:
    return next(leaf for leaf, tensor in {**layer._parameters, **layer._buffers}.items() if tensor is not None)


_TABLE: tuple[tuple[Any, Callable[[Any, Lost], Attributes], Callable[[Any, Lost], Stays] | None], ...] = (
    (nn.Linear, _linear, None),
    (nn.Bilinear, _bilinear, None),
    ("transformers.Conv1D", _conv1d_of_transformers, None),
    (nn.modules.conv._ConvTransposeNd, _transposed, _rows_of_groups),
    (nn.modules.conv._ConvNd, _convolution, _rows_of_groups),
    (nn.modules.batchnorm._NormBase, _norm, None),
    (nn.GroupNorm, _group_norm, _parts_of_groups),
    (nn.PReLU, _prelu, None),
    ((nn.Embedding, nn.EmbeddingBag), _embedding, None),
    (nn.RNNBase, _recurrent, _more_of_one_layer),
    (nn.RNNCellBase, _cell, None),
    (nn.MultiheadAttention, _none, _columns_of_attention),
    ("meden.KerasLayer", _none, _all_of_keras),
)
"""Types of layers, the attributes that follow, and what cannot leave; the first type that fits counts."""


def fewer_heads(layer: nn.Module, left: int, before: int) -> Mapping[str, int]:
    """Return the attributes of a layer that count heads, for ``left`` heads (or groups of heads) of ``before``."""
    counts = {name: getattr(layer, name, None) for name in HEADS}
    return {n: v * left // before for n, v in counts.items() if isinstance(v, int) and v % before == 0}
