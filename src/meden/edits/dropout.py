"""One number for the dropout of a whole model, whether it was built with dropout or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from meden._checks import InputError, check_choice, check_number
from meden.edits.edit import Edit, Edits, apply_edits, replace_module, set_attribute
from meden.edits.noise import insertions, retunings
from meden.noise import Dropout, Noise, SpatialDropout
from meden.noise.places import device_of
from meden.noise.schedules import DEPTH_SHAPES
from meden.params import check_module

_REPLACED: dict[type[nn.Module], type[Noise]] = {
    nn.Dropout: Dropout,
    nn.Dropout1d: SpatialDropout,
    nn.Dropout2d: SpatialDropout,
    nn.Dropout3d: SpatialDropout,
}
_WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def own_dropouts(model: nn.Module) -> Edits:
    """Replace torch's dropout layers by ours, in place, each with the p it has: all their randomness is then seeded.

    Returns:
        the changes, none for a model without such layers; the way back is its ``undo``.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3))
        >>> own_dropouts(model).names, model[1]
        (['1'], Dropout(p=0.3))
    """
    return apply_edits(model, list(_replacements(model, None)))


def set_dropout(
    model: nn.Module, p: float, *, shape: str = "constant", dry_run: bool = False, example: Any = None
) -> Edits:
    """Set the dropout probability of a model, in place; a model without dropout receives it.

    ``nn.Dropout``, ``Dropout1d``, ``2d`` and ``3d`` are replaced by ours, and probabilities that are attributes of
    a layer (``nn.MultiheadAttention.dropout``, ``attention_dropout`` of Hugging Face models) are set. Where there
    is none of these, dropout acts on the input of every linear layer but the first weight layer, that is on hidden
    activations.

    Args:
        model: any module.
        p: probability to drop, in [0, 1); the largest where it changes over the depth.
        shape: over the places in the order of the model's layers: ``"constant"``, ``"linear"`` (little at the first,
            p at the last), ``"funnel"`` (the reverse) or ``"diamond"`` (p in the middle), see
            :mod:`meden.noise.schedules`.
        dry_run: only plan.
        example: an input on which the output in evaluation is proven to be unchanged.

    Returns:
        the changes; print it for a table, call its ``undo`` for the way back.

    Raises:
        InputError: if p is outside [0, 1), the shape unknown, or the model has no place for it (a single layer).

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> set_dropout(model, 0.5).names, list(model.state_dict())
        (['2'], ['0.weight', '0.bias', '2.weight', '2.bias'])
    """
    check_module(model)
    check_number("dropout", p, low=0.0, high=1.0, high_open=True)
    check_choice("dropout_shape", shape, DEPTH_SHAPES)
    rates = _rates(shape, p, list(_places(model)))
    edits = [*_replacements(model, rates), *_retunings(model, rates), *_settings(model, rates)]
    if not edits:
        hidden = _hidden_linears(model)
        for name, rate in _rates(shape, p, list(hidden)).items():
            edits += insertions({name: hidden[name]}, Dropout(rate), "input")
    if not edits:
        raise InputError(f"dropout needs a model with a dropout or a hidden layer, got {type(model).__name__}")
    return apply_edits(model, edits, dry_run=dry_run, example=example)


def takes_dropout(model: nn.Module) -> bool:
    """Say whether :func:`set_dropout` finds a place in a model.

    Example:
        >>> takes_dropout(nn.Linear(2, 2)), takes_dropout(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)))
        (False, True)
    """
    return any(True for _ in _places(model)) or bool(_hidden_linears(model))


def _rates(shape: str, p: float, names: Sequence[str]) -> dict[str, float]:
    """Return the probability of each place, first place first."""
    return dict(zip(names, DEPTH_SHAPES[shape](p, len(names)), strict=True)) if names else {}


def _places(model: nn.Module) -> Iterator[str]:
    """Return the names of dropout layers, and of attributes that are probabilities, in the order of the modules."""
    for name, module in model.named_modules(remove_duplicate=False):
        if (type(module) in _REPLACED and name) or isinstance(module, (Dropout, SpatialDropout)):
            yield name
        yield from (full for full, _, _ in _probabilities(name, module))


def _replacements(model: nn.Module, rates: Mapping[str, float] | None) -> Iterator[Edit]:
    for name, layer in model.named_modules(remove_duplicate=False):
        if type(layer) in _REPLACED and name:
            ours = _REPLACED[type(layer)](layer.p if rates is None else rates[name]).to(device_of(model))
            change = partial(replace_module, model, name, ours)
            yield Edit(name, type(layer).__name__, f"p={layer.p:g}", str(ours), change)


def _retunings(model: nn.Module, rates: Mapping[str, float]) -> list[Edit]:
    layers = {n: m for n, m in model.named_modules() if isinstance(m, (Dropout, SpatialDropout))}
    return retunings(layers, [rates[name] for name in layers])


def _settings(model: nn.Module, rates: Mapping[str, float]) -> Iterator[Edit]:
    for name, module in model.named_modules():
        for full, attribute, value in _probabilities(name, module):
            change = partial(set_attribute, module, attribute, float(rates[full]))
            yield Edit(full, type(module).__name__, f"{value:g}", f"{rates[full]:g}", change)


def _probabilities(name: str, module: nn.Module) -> Iterator[tuple[str, str, float]]:
    """Return full name, name and value of a layer's attributes that are probabilities."""
    for attribute, value in vars(module).items():
        if _is_probability(module, attribute, value):
            yield (f"{name}.{attribute}" if name else attribute), attribute, value


def _is_probability(module: nn.Module, attribute: str, value: Any) -> bool:
    if isinstance(module, nn.RNNBase) and module.num_layers == 1:
        return False  # its dropout acts between layers
    named = "dropout" in attribute or "pdrop" in attribute
    return named and isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1


def _hidden_linears(model: nn.Module) -> dict[str, nn.Module]:
    layers = {n: m for n, m in model.named_modules() if isinstance(m, _WEIGHT_LAYERS)}
    return {n: m for n, m in list(layers.items())[1:] if isinstance(m, nn.Linear)}
