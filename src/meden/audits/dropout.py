"""Dropout that is known to act on a layer's input, by where it sits: an adapter's, and what was put there."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from meden.noise import Dropout
from meden.noise.places import attached

_OF_ADAPTER, _FACTORS = "lora_dropout", ("lora_A",)
"""Names that PEFT gives to the dropouts of a layer's adapters, and to what they act on."""


def input_dropout(model: nn.Module) -> dict[int, float]:
    """Return the probability to drop of the inputs of weights and biases, by the ids of these, where it is above 0."""
    found = {
        id(param): p
        for layer in model.modules()
        for taking, dropout in _pairs(layer)
        if (p := float(dropout.p)) > 0
        for param in taking.parameters(recurse=False)
    }
    return found


def _pairs(layer: nn.Module) -> Iterator[tuple[nn.Module, nn.Dropout | Dropout]]:
    """Yield what takes dropped inputs, and what drops them."""
    noise = attached(layer, "input")
    if isinstance(noise, Dropout):
        yield layer, noise
    dropouts = getattr(layer, _OF_ADAPTER, None)
    if isinstance(dropouts, nn.ModuleDict):
        factors = [getattr(layer, name) for name in _FACTORS if isinstance(getattr(layer, name, None), nn.ModuleDict)]
        for name, dropout in dropouts.items():
            if isinstance(dropout, nn.Dropout | Dropout):
                yield from ((factor[name], dropout) for factor in factors if name in factor)
