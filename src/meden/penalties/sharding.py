"""Tensors that are spread over ranks: what a penalty needs of them as a whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def is_spread(x: Any) -> bool:
    """Say whether ``x`` is a DTensor."""
    return hasattr(x, "full_tensor")


def local(x: Any) -> Any:
    """Return this rank's shard of a DTensor, sharing its memory; anything else as it is."""
    return x.to_local() if is_spread(x) else x


def whole(x: Tensor) -> Tensor:
    """Return ``x`` with all of its entries on each rank; a tensor that is not distributed is returned as it is."""
    return _redistributed(x, keep_shards=False)


def reduced(x: Tensor) -> Tensor:
    """Return ``x`` with partial results of the ranks put together, sharded as it was.

    A distributed norm along a sharded axis is left partial, and a sum of partial norms would be wrong.
    """
    return _redistributed(x, keep_shards=True)


def spread_as(x: Tensor, like: Tensor) -> Tensor:
    """Return ``x`` with its entries on the ranks, and in the dtype and on the device, of ``like``.

    All ranks must call it, and each hold ``x`` if it is not distributed.
    """
    full: Tensor = local(whole(x))
    if not is_spread(like):
        return full.to(like)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    spread: Tensor = distribute_tensor(full.to(like.device, like.dtype), like.device_mesh, like.placements)
    return spread


def _redistributed(x: Tensor, *, keep_shards: bool) -> Tensor:
    if type(x) in (torch.Tensor, torch.nn.Parameter):
        return x
    from torch.distributed.tensor import DTensor, Replicate  # a slow import, done already where there are DTensors

    if not isinstance(x, DTensor):
        return x
    return x.redistribute(placements=[p if keep_shards and p.is_shard() else Replicate() for p in x.placements])
