"""What a model must be before it is trained: plain modules of real numbers, with shapes, and fit for small batches."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from meden._checks import InputError, one_line
from meden.axes import is_keras
from meden.data.batches import BatchSize
from meden.noise import find_other_draws, may_draw, seeded
from meden.objective import evaluating, in_mode

_SHARDED = {"FSDPModule", "FullyShardedDataParallel"}
"""What torch makes of a module that it shards, whose parameters may look whole after a forward pass."""


def check_plain(model: nn.Module) -> None:
    """Check that a model is a module of real numbers, all of them here, whose passes can be seen.

    Raises:
        InputError: if it is scripted or traced, holds layers of Keras's, or naming a parameter that is complex or a
            shard.
    """
    if keras := [name for name, layer in model.named_modules() if is_keras(layer)]:
        what = f"a Keras {type(model).__name__}" if "" in keras else f"one that holds a Keras layer, {keras[0]!r}"
        raise InputError(
            f"model must be a module whose layers follow train() and eval(), got {what}; "
            "meden.integrations.keras.as_module makes one of a Keras model"
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            f"model must be a torch.nn.Module in Python code, got a scripted or traced {type(model).__name__}; "
            "pass the original module"
        )
    shards = [name for name, param in model.named_parameters() if hasattr(param, "full_tensor")]
    if shards or any(kind.__name__ in _SHARDED for module in model.modules() for kind in type(module).__mro__):
        name = shards[0] if shards else next((name for name, _ in model.named_parameters()), "")
        raise InputError(
            f"model must be whole on one process to be trained here, got {name!r} sharded over several: use a "
            "training loop of your own, where meden.regularize acts on shards"
        )
    for name, param in model.named_parameters():
        if param.is_complex():
            raise InputError(
                f"model must have real parameters, got {name!r} of {param.dtype}; store its real and imaginary "
                "parts as real parameters (torch.view_as_complex in the forward pass)"
            )


def unwrapped(model: nn.Module) -> nn.Module:
    """Return a model without the wrappers of ``torch.compile``; those of its layers are taken off in place.

    What is traced for many models at once, or copied to other processes, is the code within.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> unwrapped(torch.compile(layer, backend="eager")) is layer
        True
    """
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if "_orig_mod" in child._modules:
                setattr(parent, name, child.get_submodule("_orig_mod"))
    return model.get_submodule("_orig_mod") if "_orig_mod" in model._modules else model


def give_shapes(model: nn.Module, x: Tensor) -> None:
    """Run rows through a model that has lazy layers, which get their shapes and weights by it; x is (B, ...)."""
    if any(map(is_lazy, (*model.parameters(), *model.buffers()))):
        with torch.no_grad(), evaluating(model):
            model(x[:2])


def check_trains(model: nn.Module, x: Tensor, batch_size: BatchSize, *, num_rows: int) -> None:
    """Check that a model trains on its smallest batch, by one pass in training mode; its buffers are put back.

    Batch norm, for one, cannot train on one row. Warns if the seed does not decide all that the model draws.

    Args:
        model: any module of one tensor argument.
        x: (B, ...) rows on its device.
        batch_size: of the recipe.
        num_rows: how many rows are fitted.

    Raises:
        InputError: with what the model raised.
    """
    least = 1 if batch_size == 1 else min(2, num_rows)

    def trial(tried: nn.Module) -> Any:
        before = {name: buffer.clone() for name, buffer in tried.named_buffers()}
        with torch.no_grad(), in_mode(tried, training=True), seeded(tried, "check"):
            outputs = tried(x[:least])
        for name, buffer in tried.named_buffers():
            if name in before:
                buffer.copy_(before[name])
        return outputs

    try:
        decided = find_other_draws(model, trial) if may_draw(model) else trial(model) is not None
    except Exception as error:
        rows = "1 row" if least == 1 else f"{least} rows"
        cause = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(
            f"batch_size must be one that the model can train on: with batch_size={batch_size!r} and {num_rows} "
            f"rows it gets batches of {rows}, and failed: {cause}"
        ) from error
    if not decided:
        warnings.warn(
            f"two training passes of a {type(model).__name__} over the same rows differ: it draws from a generator "
            "of its own, or counts its passes, so the seed alone does not determine the result",
            stacklevel=1,  # the same place for all models of a search: told once
        )
