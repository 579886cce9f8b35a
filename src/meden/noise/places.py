"""Where a noise layer sits on another layer: on its input, its output or its weight, without a new parameter name.

The noise becomes a submodule, so that copying, moving, seeding, ``functional_call`` and ``vmap`` see it; hooks that
are functions of the layer apply it. (A hook that held the noise itself would still hold the old one after a copy.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from meden._checks import InputError, check_choice
from meden.noise.base import Noise

_CHILD = {"input": "input_noise", "output": "output_noise", "weight": "weight_noise"}


def attach(layer: nn.Module, noise: Noise, place: str | None = None) -> nn.Module:
    """Put noise on a layer, in place.

    Args:
        layer: any module; for ``"weight"`` one that has a parameter ``weight``.
        noise: the noise, which becomes a submodule of the layer.
        place: ``"input"`` (the first argument), ``"output"`` (its first element if it is a tuple) or ``"weight"``;
            by default the usual one of this kind of noise.

    Returns:
        the layer.

    Raises:
        InputError: if the place is unknown, taken, or the layer has no such weight.

    Example:
        >>> from meden.noise import DropConnect
        >>> list(attach(nn.Linear(2, 2), DropConnect(0.5)).state_dict())
        ['weight', 'bias']
    """
    place = noise.place if place is None else place
    check_place(layer, place)
    noise.place = place
    layer.add_module(_CHILD[place], noise.train(layer.training).to(device_of(layer)))
    if place == "output":
        layer.register_forward_hook(_perturb_output)
    if place == "input":
        layer.register_forward_pre_hook(_perturb_input)
    if place == "weight":
        layer.register_forward_pre_hook(_perturb_weight)
        layer.register_forward_hook(_restore_weight, always_call=True)
    return layer


def check_place(layer: nn.Module, place: str) -> None:
    """Check that noise can be put at ``place`` of ``layer``.

    Raises:
        InputError: if the place is unknown, taken, or the layer has no such weight.
    """
    check_choice("place", place, _CHILD)
    if attached(layer, place) is not None:
        raise InputError(f"place must be free, but the {place} of this {type(layer).__name__} has noise already")
    if place == "weight" and "weight" not in dict(layer.named_parameters(recurse=False)):
        raise InputError(f'place "weight" needs a layer with a parameter named weight, got {type(layer).__name__}')


def device_of(module: nn.Module) -> torch.device:
    """Return the device of the first parameter, the CPU for a module without any."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))


def attached(layer: nn.Module, place: str) -> Noise | None:
    """Return the noise that sits at a place of the layer, or None."""
    child = dict(layer.named_children()).get(_CHILD[place])
    return child if isinstance(child, Noise) else None


def detach(layer: nn.Module, place: str) -> None:
    """Take the noise off a place of the layer, with its hooks."""
    vars(layer.get_submodule(_CHILD[place])).pop("place", None)
    delattr(layer, _CHILD[place])
    for hooks in (layer._forward_pre_hooks, layer._forward_hooks):
        for hook_id in [i for i, hook in hooks.items() if hook in _HOOKS[place]]:
            del hooks[hook_id]
    for hook_id in layer._forward_hooks_always_called.keys() - layer._forward_hooks.keys():
        del layer._forward_hooks_always_called[hook_id]


def split_name(name: str) -> tuple[str, str] | None:
    """Return (layer name, place) of an attached noise layer's qualified name, None for any other name."""
    owner, _, leaf = name.rpartition(".")
    return next(((owner, place) for place, child in _CHILD.items() if child == leaf), None)


def _perturb_input(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.get_submodule("input_noise")(args[0]), *args[1:])


def _perturb_output(layer: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
    noise = layer.get_submodule("output_noise")
    return noise(output) if isinstance(output, Tensor) else (noise(output[0]), *output[1:])


def _perturb_weight(layer: nn.Module, _args: tuple[Any, ...]) -> None:
    noise, weight = layer.get_submodule("weight_noise"), layer._parameters["weight"]
    noise.__dict__["clean"] = weight  # past nn.Module's registration: this lasts for one call
    layer._parameters["weight"] = noise(weight)


def _restore_weight(layer: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
    layer._parameters["weight"] = layer.get_submodule("weight_noise").__dict__.pop("clean")


_HOOKS: dict[str, set[Callable[..., Any]]] = {
    "input": {_perturb_input},
    "output": {_perturb_output},
    "weight": {_perturb_weight, _restore_weight},
}
