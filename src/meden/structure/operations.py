"""What each torch operation does to the marks of tensors.

Operations that only move numbers move marks alike; those that act on each number by itself join the channels that
they bring together; those that mix numbers along some dimensions make one channel of them. What is not known makes all
channels stay that it meets.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from meden.structure.calls import Call, Rule, each_output, plain, unknown
from meden.structure.layers import (
    addmm,
    attention,
    baddbmm,
    convolution,
    einsum,
    embedding,
    linear,
    matmul,
    recurrent,
    recurrent_cell,
)
from meden.structure.marked import Notes, unlabelled
from meden.structure.mixing import along, batch_norm, group_norm, instance_norm, layer_norm, spatial
from meden.structure.moving import cat, index_by, move, pad
from meden.structure.pointwise import each, glu, prelu, shaped_like

_MOVES = frozenset(
    """view _unsafe_view reshape permute transpose t unsqueeze squeeze expand slice select unbind split
    split_with_sizes chunk narrow flatten unflatten movedim swapaxes alias detach lift_fresh_copy diagonal repeat
    repeat_interleave roll flip unfold contiguous numpy_T mT pixel_shuffle pixel_unshuffle
    channel_shuffle""".split()
)
_EACH = frozenset(
    """where subtract multiply divide true_divide dropout prelu hardswish hardsigmoid to _to_copy relu6 selu rrelu
    masked_fill""".split()
)
_ALONG = frozenset(
    """sum mean amax amin max min prod std var norm linalg_vector_norm logsumexp all any argmax argmin softmax
    _softmax log_softmax _log_softmax cumsum cumprod sort var_mean std_mean median topk""".split()
)
_SPATIAL = frozenset(
    """max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d _adaptive_avg_pool2d
    upsample_nearest1d upsample_nearest2d upsample_bilinear2d upsample_linear1d""".split()
)
_SHAPED_LIKE = frozenset("zeros_like ones_like empty_like full_like rand_like randn_like".split())


def mark(notes: Notes, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run one operation on marked tensors.

    Args:
        notes: of the run, which are added to.
        target: a function of the graph.
        args: its arguments; tensors are marked.
        kwargs: the same, by name.

    Returns:
        What it gives, with tensors marked.
    """
    if target is operator.getitem:
        return args[0][args[1]]
    value = target(*plain(args), **plain(kwargs))
    if not isinstance(target, torch._ops.OpOverload):
        return unknown(notes, Call(target, dict(enumerate(args)) | dict(kwargs), value))  # type: ignore[arg-type]
    schema = target._schema.arguments
    named = {arg.name: arg.default_value for arg in schema if arg.has_default_value()}
    named |= {arg.name: given for arg, given in zip(schema, args, strict=False)} | dict(kwargs)
    call = Call(target, named, value)
    if value is None:  # an assertion
        return value
    if call.is_drawn and call.name not in _RULES:
        return unknown(notes, call)
    if not any(True for _ in call.tensors()):
        return each_output(value, lambda part: unlabelled(part, known=True))
    return _rule(call)(notes, call)


def _rule(call: Call) -> Rule:
    name = call.name
    if name in _RULES:
        return _RULES[name]
    if name in _MOVES:
        return move
    if name in _ALONG:
        return along
    if name in _SPATIAL:
        return spatial
    if name in _SHAPED_LIKE:
        return shaped_like
    if name in _EACH or torch.Tag.pointwise in call.target.tags:
        return each
    return unknown


_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_RULES: dict[str, Rule] = {
    "linear": linear,
    "addmm": addmm,
    "mm": matmul,
    "bmm": matmul,
    "baddbmm": baddbmm,
    "matmul": matmul,
    "einsum": einsum,
    "scaled_dot_product_attention": attention,
    "embedding": embedding,
    "cat": cat,
    "stack": cat,
    "pad": pad,
    "constant_pad_nd": pad,
    "batch_norm": batch_norm,
    "_native_batch_norm_legit_no_training": batch_norm,
    "layer_norm": layer_norm,
    "rms_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "prelu": prelu,
    "glu": glu,
    "gru": recurrent,
    "lstm": recurrent,
    "rnn_tanh": recurrent,
    "rnn_relu": recurrent,
    **dict.fromkeys(("gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell"), recurrent_cell),
    "index": index_by,
    "index_select": index_by,
    "gather": index_by,
    "convolution": convolution,
    **dict.fromkeys(_CONVOLUTIONS, convolution),
}
"""Operations that are neither moves nor act number by number."""
