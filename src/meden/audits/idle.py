"""Tensors that no training moves: biases that a norm takes off again, and what the last backward pass did not reach."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_SHIFTS = (nn.Linear, nn.modules.conv._ConvNd)


def shifted_away(model: nn.Module) -> set[int]:
    """Return the ids of biases whose layer is followed by a norm that subtracts the mean of each of its outputs.

    Layers are taken in the order in which the model registers them.
    """
    layers = [layer for layer in model.modules() if not list(layer.children())]
    return {
        id(layer.bias)
        for layer, norm in pairwise(layers)
        if isinstance(layer, _SHIFTS) and layer.bias is not None and _takes(norm, len(layer.bias))
    }


def _takes(norm: nn.Module, num_outputs: int) -> bool:
    """Say whether it is batch norm or instance norm of so many outputs, in training."""
    measures = norm.training or getattr(norm, "running_mean", None) is None
    return isinstance(norm, _NormBase) and measures and norm.num_features == num_outputs


def unreached(model: nn.Module) -> set[int]:
    """Return the ids of trainable tensors without a gradient where others have one."""
    without = {id(param) for param in model.parameters() if param.requires_grad and param.grad is None}
    return without if any(param.grad is not None for param in model.parameters()) else set()
