"""Torch's own random functions, with the masks of :mod:`meden.noise.rng` in place of a generator's.

Each rule takes the draws of a forward pass first, and then what the function takes. The distributions are torch's, the
bits are ours: the same alone, under ``vmap`` and on every device.

Legend: ``B`` batch, ``C`` channels, ``T`` steps or queries, ``S`` keys, ``H`` units.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from meden._checks import InputError
from meden._shown import ShownFields
from meden.noise.dropout import keep_scale
from meden.noise.rng import Moment, derive
from meden.noise.shards import Shard, named, own_key, rows_of

ALPHA = 1.7580993408473766
"""What SELU tends to far below zero, without its sign."""

Rule = Callable[..., Any]


@dataclass(repr=False)
class PassDraws(ShownFields):
    """What one forward pass draws, call by call: the place of a call in the pass is its site."""

    key: Tensor | None
    """0-d, from :func:`meden.noise.stream`; None forbids random draws."""
    step: Tensor
    """0-d: number of the forward pass."""
    identifiers: tuple[int | str, ...] | None = None
    """Identifiers of the generators for functions without masks; None in a stack of members, which share a call."""
    shard: Shard = None
    """The part of the batch that the pass sees, see :func:`meden.noise.set_shard`."""
    least_p: float = 0.0
    """Lower bound: smaller dropout probabilities are raised to it."""
    num_calls: int = 0

    def again(self) -> PassDraws:
        """Return the draws of a second pass over the same rows in the same step, which are others."""
        key = None if self.key is None else self.key ^ (derive("second pass") & ~1)
        identifiers = None if self.identifiers is None else (*self.identifiers, "second pass")
        return dataclasses.replace(self, key=key, identifiers=identifiers, num_calls=0)

    def take(self, device: torch.device) -> Moment:
        """Return the moment of the next call."""
        self._count()
        if self.key is None:
            raise RuntimeError("random numbers are drawn in evaluation")
        key = self.key ^ (derive("call", self.num_calls) & ~1)  # an even word: an odd key stays odd
        return Moment(own_key(key, self.shard).to(device), self.step.to(device), rows_of(self.shard))

    def generator(self, name: str, device: torch.device) -> torch.Generator:
        """Return a generator for the next call."""
        self._count()
        if self.identifiers is None:
            raise RuntimeError(f"{name} draws random numbers")
        own = named(self.shard)
        return torch.Generator(device).manual_seed(derive(*self.identifiers, "call", self.num_calls, *own))

    def _count(self) -> None:
        # a backward pass has gradients enabled only where it computes a part of the forward pass anew
        if torch._C._current_graph_task_id() != -1 and torch.is_grad_enabled():
            raise InputError("model must not draw random numbers where torch.utils.checkpoint computes it twice")
        self.num_calls += 1


def dropout(draws: PassDraws, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability p."""
    return _dropped(draws, x, p, training, inplace, x.shape)


def feature_dropout(
    draws: PassDraws, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (B, C, ...) with probability p."""
    return _dropped(draws, x, p, training, inplace, _channels(x, 2))


def alpha_dropout(draws: PassDraws, x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Set elements to the value of a silent SELU with probability p, keeping mean and variance.

    Reference:
        G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, Self-normalizing neural networks, 2017.
    """
    return _silenced(draws, x, p, training, inplace, x.shape)


def feature_alpha_dropout(
    draws: PassDraws, x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Do as :func:`alpha_dropout` with whole channels of (B, C, ...)."""
    return _silenced(draws, x, p, training, inplace, _channels(x, 2))


def rrelu(
    draws: PassDraws,
    x: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Multiply what is negative by a slope of its own, uniform between two bounds."""
    if not training:
        return F.leaky_relu(x, (lower + upper) / 2, inplace)
    slopes = draws.take(x.device).uniform(x.shape).to(x.dtype) * (upper - lower) + lower
    return _written(x, torch.where(x > 0, x, x * slopes), inplace)


def attention(
    draws: PassDraws,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attend (..., T, D) to (..., S, D) with dropout of the weights, which torch's fused kernels draw inside."""
    if dropout_p == 0:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = (part.repeat_interleave(times, -3) for part in (key, value))
    scores = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        masks = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -math.inf) if masks else scores + attn_mask
    return dropout(draws, scores.softmax(-1), dropout_p) @ value


def recurrent(function: Rule, draws: PassDraws, x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    """Call torch's recurrent function once for each layer, with dropout in between.

    Its arguments are ``(x, start, params, has_biases, num_layers, dropout, training, bidirectional, batch_first)``, or
    those of a packed sequence, ``(x, batch_sizes, start, params, ..., bidirectional)``.
    """
    with warnings.catch_warnings() if x.is_cuda else contextlib.nullcontext():
        if x.is_cuda:  # cuDNN wants the weights in one piece of memory, and copies those that are a copy's or a layer's
            warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        return _recurrent(function, draws, x, *arguments)


def _recurrent(function: Rule, draws: PassDraws, x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    num_sizes = 0 if isinstance(arguments[2], bool) else 1
    sizes, (start, params, has_biases, num_layers, p, training, *rest) = arguments[:num_sizes], arguments[num_sizes:]
    if not (p and training and num_layers > 1):
        return function(x, *arguments)  # type: ignore[no-any-return]
    lasts: list[Sequence[Tensor]] = []
    for layer in range(num_layers):
        x = dropout(draws, x, p) if layer else x
        share = functools.partial(_share, layer=layer, num_layers=num_layers)
        own = share(start) if isinstance(start, Tensor) else [share(part) for part in start]
        x, *last = function(x, *sizes, own, share(params), has_biases, 1, 0.0, training, *rest)
        lasts.append(last)
    return x, *(torch.cat(part) for part in zip(*lasts, strict=True))


def _share(whole: Any, layer: int, num_layers: int) -> Any:
    """Return the part of a tensor or list that is one layer's."""
    size = len(whole) // num_layers
    return whole[layer * size : (layer + 1) * size]


def _channels(x: Tensor, outer: int) -> torch.Size:
    return torch.Size((*x.shape[:outer], *(1 for _ in x.shape[outer:])))


def _unbatched(num_dims: int) -> Rule:
    """Return dropout of channels that takes (C, ...) of so many dimensions for one row without its batch."""

    def rule(draws: PassDraws, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return _dropped(draws, x, p, training, inplace, _channels(x, 1 if x.ndim == num_dims else 2))

    return rule


def _dropped(draws: PassDraws, x: Tensor, p: float, training: bool, inplace: bool, shape: torch.Size) -> Tensor:
    _check_probability(p)
    if not training:
        return x
    return x.mul_(_scale(draws, x, p, shape)) if inplace else x * _scale(draws, x, p, shape)


def _silenced(draws: PassDraws, x: Tensor, p: float, training: bool, inplace: bool, shape: torch.Size) -> Tensor:
    _check_probability(p)
    if not training:
        return x
    if p == 1:
        return _written(x, torch.zeros_like(x), inplace)
    keeps = _scale(draws, x, p, shape) > 0
    spread = 1 / math.sqrt((ALPHA**2 * p + 1) * (1 - p))
    return _written(x, torch.where(keeps, x, -ALPHA) * spread + ALPHA * spread * p, inplace)


def _scale(draws: PassDraws, x: Tensor, p: float, shape: torch.Size) -> Tensor:
    """Return 0 or 1 / (1 - p); a probability of 0 or 1 draws nothing."""
    if p in (0, 1):
        return x.new_full(shape, 1.0 - p)
    return keep_scale(draws.take(x.device), torch.as_tensor(max(p, draws.least_p)), shape, x.dtype)


def _written(x: Tensor, result: Tensor, inplace: bool) -> Tensor:
    return x.copy_(result) if inplace else result


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability must be between 0 and 1, got {p}")


MASKED: dict[Any, Rule] = {
    F.dropout: dropout,
    F.dropout1d: _unbatched(2),
    F.dropout2d: feature_dropout,
    F.dropout3d: _unbatched(4),
    F.alpha_dropout: alpha_dropout,
    F.feature_alpha_dropout: feature_alpha_dropout,
    F.rrelu: rrelu,
    F.scaled_dot_product_attention: attention,
    torch.rrelu: rrelu,
    torch.rrelu_: functools.partial(rrelu, inplace=True),
}
MASKED |= {
    getattr(torch, rule.__name__ + ending): functools.partial(rule, inplace=ending == "_")
    for rule in (dropout, feature_dropout, alpha_dropout, feature_alpha_dropout)
    for ending in ("", "_")
}
MASKED |= {
    function: functools.partial(recurrent, function)
    for function in (torch._VF.lstm, torch._VF.gru, torch._VF.rnn_tanh, torch._VF.rnn_relu)
}
"""The rules by torch's functions."""
