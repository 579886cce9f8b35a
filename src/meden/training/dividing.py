"""Whether the steps of a training can be divided into parts of the batch that know nothing of each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meden._checks import InputError
from meden.data.batches import largest_batch
from meden.distributed import Sharding
from meden.distributed.wrapping import blocks_of
from meden.objective import evaluating, rows_are_independent
from meden.penalties import KLSparsity
from meden.training.one import Training

FEW = 4
"""Rows that are tried."""
TRIED = 2**26
"""Numbers of the largest models that are copied, to see whether they treat each row by itself."""


def leaves_tensors(model: nn.Module, x: Tensor) -> bool:
    """Say whether a model has trained tensors that its outputs for rows like ``x`` do not depend on.

    Example:
        >>> leaves_tensors(nn.Sequential(nn.Linear(2, 1)), torch.ones(1, 2))
        False
    """
    params = [param for param in model.parameters() if param.requires_grad]
    with torch.enable_grad(), evaluating(model):
        grads = torch.autograd.grad(model(x).sum(), params, allow_unused=True)
    return any(grad is None for grad in grads)


def check_divides(training: Training, num_processes: int, sharding: Sharding) -> None:
    """Check that a training can be spread over processes, and each step of it over parts of the batch.

    Args:
        training: whose model is whole.
        num_processes: on which it will be.
        sharding: how.

    Raises:
        InputError: naming what cannot.
    """
    model, recipe, rows = training.model, training.recipe, training.train
    blocks = blocks_of(model, sharding.blocks)
    if sharding.activation_checkpointing and not blocks:
        raise InputError(
            "blocks must select modules to checkpoint, got none: the model has no nn.ModuleList of identical modules"
        )
    if sharding.activation_checkpointing and recipe.rdrop is not None:
        raise InputError(
            f"activation_checkpointing must be off with rdrop, got rdrop={recipe.rdrop:g}: noise drawn again in "
            "the backward pass could not tell the two passes apart"
        )
    num_rows = largest_batch(len(rows), recipe.batch_size)
    if num_rows < num_processes:
        raise InputError(
            f"batch_size must be at least the number of processes, {num_processes}, so that each has rows, got "
            f"{num_rows}"
        )
    if num_processes == 1 and sharding.micro_batch_size is None:
        return
    how = f"{num_processes} processes" if num_processes > 1 else "parts (micro_batch_size)"
    if any(isinstance(activity.penalty, KLSparsity) for activity in recipe.activity):
        raise InputError(
            f"activity must not hold KLSparsity on {how}, since it is a function of the mean over the batch"
        )
    x = training.first_rows(FEW)
    small = sum(param.numel() for param in model.parameters()) <= TRIED
    if small and len(x) == FEW and not rows_are_independent(model, x):
        raise InputError(
            f"model must process each row independently on {how}, got a {type(model).__name__} that does not, such "
            "as one with batch norm; use group or layer norm"
        )
