"""Noise put into a finished model, without a change to its parameters, its state dictionary or its evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from meden._checks import InputError, check_number
from meden.noise.base import Noise
from meden.noise.dropout import Dropout, SpatialDropout

_REPLACED: dict[type[nn.Module], type[Noise]] = {
    nn.Dropout: Dropout,
    nn.Dropout1d: SpatialDropout,
    nn.Dropout2d: SpatialDropout,
    nn.Dropout3d: SpatialDropout,
}
_WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def set_dropout(model: nn.Module, p: float) -> list[str]:
    """Set the dropout probability of a model, in place; a model without dropout receives it.

    ``nn.Dropout``, ``Dropout1d``, ``2d`` and ``3d`` are replaced by ours, and probabilities that are attributes
    (``nn.MultiheadAttention.dropout``, ``attention_dropout`` and the like) are set. Where there is none of these,
    dropout acts on the input of every linear layer but the first weight layer, that is on hidden activations.

    Args:
        model: any module.
        p: probability to drop, in [0, 1).

    Returns:
        the names of the places that were set.

    Raises:
        InputError: if p is outside [0, 1), or the model has no place for it (a single layer).

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> set_dropout(model, 0.5), list(model.state_dict())
        (['2.noise'], ['0.weight', '0.bias', '2.weight', '2.bias'])
    """
    check_number("dropout", p, low=0.0, high=1.0, high_open=True)
    for parent, leaf, layer in list(_torch_dropouts(model)):
        setattr(parent, leaf, replacement(layer))
    names = _set_layers(model, p) + _set_attributes(model, p)
    if not names:
        for layer in _hidden_linears(model):
            add_noise_before(layer, Dropout(p))
        names = _set_layers(model, p)
    if not names:
        raise InputError(
            f"dropout must meet a model with a hidden layer or a dropout layer, got {type(model).__name__}"
        )
    return names


def replacement(layer: nn.Module) -> Noise:
    """Return our layer for one of torch's dropout layers, with its p and its mode."""
    p: Any = layer.p
    ours = _REPLACED[type(layer)](float(p))
    ours.train(layer.training)
    return ours


def add_noise_before(layer: nn.Module, noise: Noise) -> None:
    """Perturb the first input of ``layer`` while it trains; the noise becomes its submodule ``noise``."""
    layer.add_module("noise", noise.train(layer.training))
    layer.register_forward_pre_hook(_perturb_input)


def _perturb_input(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.get_submodule("noise")(args[0]), *args[1:])


def _torch_dropouts(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for parent in model.modules():
        for leaf, child in parent.named_children():
            if type(child) in _REPLACED:
                yield parent, leaf, child


def _set_layers(model: nn.Module, p: float) -> list[str]:
    layers = {n: m for n, m in model.named_modules() if isinstance(m, (Dropout, SpatialDropout))}
    for layer in layers.values():
        layer.set_level(p)
    return list(layers)


def _set_attributes(model: nn.Module, p: float) -> list[str]:
    places = [(n, m, a) for n, m in model.named_modules() for a, v in vars(m).items() if _is_probability(a, v)]
    for _, module, attribute in places:
        setattr(module, attribute, float(p))
    return [f"{name}.{attribute}".lstrip(".") for name, _, attribute in places]


def _is_probability(attribute: str, value: Any) -> bool:
    named = "dropout" in attribute or "pdrop" in attribute or "drop_prob" in attribute
    return named and isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def _hidden_linears(model: nn.Module) -> list[nn.Module]:
    layers = [m for m in model.modules() if isinstance(m, _WEIGHT_LAYERS)]
    return [m for m in layers[1:] if isinstance(m, nn.Linear)]
