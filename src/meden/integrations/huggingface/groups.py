"""Which tensors a Trainer's optimizer decays."""

from __future__ import annotations

from typing import Any

from torch import nn

from meden._checks import check_number
from meden.params import check_module, select_sites


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups that decay what multiplies inputs, and neither embeddings, norms nor biases.

    Trainer by itself leaves out biases and what is called a norm, and decays every embedding, whose rows shrink also
    where a batch does not use them. What is decayed here is ``on="weights"`` of :class:`meden.Regularizer`.

    Args:
        model: any module; frozen tensors are in no group.
        weight_decay: of the first group, zero or more.

    Returns:
        two groups for any torch optimizer, the second with a decay of 0; an empty one is left out.

    Raises:
        InputError: if ``model`` is no module, or the decay is out of range.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2))
        >>> optimizer = torch.optim.AdamW(decay_groups(model, 0.01), lr=2e-5)
        >>> [(group["weight_decay"], [p.ndim for p in group["params"]]) for group in optimizer.param_groups]
        [(0.01, [2]), (0.0, [2, 1])]

    Hand the optimizer to a Trainer as ``Trainer(..., optimizers=(optimizer, None))``.
    """
    check_module(model)
    check_number("weight_decay", weight_decay, low=0.0)
    trainable = [param for param in model.parameters() if param.requires_grad]
    meant = {id(source) for sites in select_sites(model, "weights").values() for source in sites[0].sources}
    groups = [
        {"params": [param for param in trainable if id(param) in meant], "weight_decay": weight_decay},
        {"params": [param for param in trainable if id(param) not in meant], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
