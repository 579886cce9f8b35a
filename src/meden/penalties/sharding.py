"""Tensors that are spread over ranks: what a penalty needs of them as a whole."""

from __future__ import annotations

import torch
from torch import Tensor


def whole(x: Tensor) -> Tensor:
    """Return ``x`` with all of its entries on each rank; a tensor that is not distributed is returned as it is."""
    if type(x) in (torch.Tensor, torch.nn.Parameter):
        return x
    from torch.distributed.tensor import DTensor, Replicate  # a slow import, done already where there are DTensors

    if not isinstance(x, DTensor):
        return x
    return x.redistribute(placements=[Replicate()] * x.device_mesh.ndim)
