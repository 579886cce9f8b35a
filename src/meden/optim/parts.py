"""Large tensors part by part, so that all that happens to a part happens while it is in a processor's cache."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from meden.optim.operand import Of, Operand
from meden.optim.shards import Task, held
from meden.penalties import Penalty
from meden.penalties.sharding import is_spread

PART = 2**17
"""Numbers of a part for each thread. Weights, gradient and momentum of so many are 1.5 MB of float32, for a second-
level cache of 2 MB, and an operation on one takes ten times as long as its call."""

Cut = Callable[[Any], Any]
"""Returns a part of what has the shape of a tensor, or broadcasts to it; what is one number stays that."""


OfPart = Callable[..., Any]
"""Is called with a parameter and ``cut=``: what is asked of a part of it."""


def everything(x: Any) -> Any:
    """Return what is given: the cut of a tensor with a single part."""
    return x


def cuts(target: Tensor, penalties: Sequence[Penalty]) -> Iterator[Cut]:
    """Yield what cuts each part out of a tensor, and out of what belongs to it; one part, if it must not be divided.

    Parts are slices along the axis whose neighbours lie farthest apart in memory: each is one piece of it, whatever the
    layout. A penalty that sees coordinates together, or turns steps into one, must see all of a tensor.

    Example:
        >>> from meden.penalties import L1
        >>> w = torch.zeros(2000, 100)
        >>> sum(cut(w).shape[0] for cut in cuts(w, [L1(0.1)]))
        2000
    """
    if not (is_large(target) and all(p.separable and p.metric for p in penalties)):
        yield everything
        return
    shape = target.shape
    axis = max(range(target.ndim), key=target.stride)
    length = max(1, PART * torch.get_num_threads() * shape[axis] // target.numel())
    for start in range(0, shape[axis], length):
        size = min(length, shape[axis] - start)

        def cut(x: Any, start: int = start, size: int = size) -> Any:
            if not isinstance(x, Tensor) or not x.ndim:
                return x
            return (x if x.shape == shape else x.expand(shape)).narrow(axis, start, size)

        yield cut


def is_large(x: Tensor) -> bool:
    """Say whether a tensor is worth cutting: accelerators want few large operations, shards know their own parts."""
    return x.device.type == "cpu" and x.layout is torch.strided and not is_spread(x) and x.numel() > PART


def cut_out(param: nn.Parameter, cut: Cut) -> Tensor:
    """Return a part of a parameter."""
    part: Tensor = cut(param)
    return part


def on_parts(penalties: Sequence[Penalty]) -> Callable[[Cut], Sequence[Penalty]]:
    """Return what gives the penalties on a part: the same, unless they hold tensors."""
    if not held(penalties):
        return lambda _: penalties
    return lambda cut: [penalty.changed(lambda _, x: cut(x)) for penalty in penalties]


def tasks(
    stepped: Iterable[tuple[Operand, Sequence[Penalty]]], changed: Of, others: Sequence[OfPart]
) -> Iterator[Task]:
    """Yield what is to be done to what ``changed`` says of each operand, part by part, given what the others say."""
    for operand, penalties in stepped:
        target, on_part = operand.take(changed), on_parts(penalties)
        for cut in cuts(target, penalties):
            depends_on = tuple(operand.take(functools.partial(of, cut=cut)) for of in others)
            yield Task(on_part(cut), cut(target), depends_on)
        operand.put(target, changed)  # what spans tensors is acted on at once: it is no shard
