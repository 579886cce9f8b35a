"""Optimizers that other libraries wrap into their own."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer

from meden._checks import InputError

_LIGHTNING = ("lightning.", "pytorch_lightning.", "lightning_fabric.")
_WRAPPERS = {
    "AcceleratedOptimizer": ("accelerate.",),
    "LightningOptimizer": _LIGHTNING,
    "_FabricOptimizer": _LIGHTNING,
}
"""The classes that hand each step on to their ``optimizer``, and where they come from."""


def inner_optimizer(optimizer: Any) -> Optimizer:
    """Return the optimizer that steps: the one inside of accelerate's and Lightning's wrappers.

    Raises:
        InputError: if there is none.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> inner_optimizer(optimizer) is optimizer
        True
    """
    while any(
        kind.__name__ in _WRAPPERS and kind.__module__.startswith(_WRAPPERS[kind.__name__])
        for kind in type(optimizer).__mro__
    ):
        optimizer = optimizer.optimizer
    if not isinstance(optimizer, Optimizer):
        kind, library = type(optimizer).__name__, type(optimizer).__module__.partition(".")[0]
        whose = "" if library in ("builtins", "torch", "__main__") else f"{library}'s "
        raise InputError(f"optimizer must be a torch.optim.Optimizer, got {whose}{kind}")
    return optimizer
