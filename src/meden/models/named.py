"""Models by name: what a file says about the function that made a model, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from meden import models
from meden._checks import InputError, check_choice
from meden.models.placed import Placed


def model_name(make_model: Callable[..., Any]) -> str | None:
    """Return the name under which a file can say who made a model; None for what is not one of meden's own models.

    Args:
        make_model: a function or class, or a ``functools.partial`` of one; one with positional arguments has no name,
            since :func:`fixed_arguments` cannot name them.

    Example:
        >>> from meden.models import MLP
        >>> model_name(functools.partial(MLP, depth=0)), model_name(lambda: None)
        ('MLP', None)
    """
    make_model = wherever(make_model)
    while isinstance(make_model, functools.partial) and not make_model.args:
        make_model = make_model.func
    return next((name for name in models.__all__ if getattr(models, name) is make_model), None)


def fixed_arguments(make_model: Callable[..., Any]) -> dict[str, Any]:
    """Return the keyword arguments that a ``functools.partial`` has fixed, outermost last; none for other functions.

    Example:
        >>> from meden.models import MLP
        >>> fixed_arguments(functools.partial(MLP, depth=0))
        {'depth': 0}
    """
    make_model = wherever(make_model)
    if not isinstance(make_model, functools.partial):
        return {}
    return {**fixed_arguments(make_model.func), **make_model.keywords}


def find_model(name: str) -> Callable[..., nn.Module]:
    """Return the model that :func:`model_name` named.

    Raises:
        InputError: if there is none of this name.
    """
    check_choice("model", name, models.__all__)
    found: Callable[..., nn.Module] = getattr(models, name)
    return found


def check_size(make_model: Callable[..., nn.Module], arguments: Mapping[str, Any], saved: Mapping[str, Tensor]) -> None:
    """Check, before memory is taken, that a model has no more parameters than were saved of it.

    A file of a few bytes can ask for any depth and width; the weights beside it say how large the model was. The model
    is made without memory (torch's meta device), up to the first parameter that is too many.

    Raises:
        InputError: if it has more numbers, or more tensors, than ``saved``.

    Example:
        >>> from meden.models import MLP
        >>> check_size(MLP, {"num_inputs": 2, "num_outputs": 1, "depth": 0}, MLP(2, 1, depth=0).state_dict())
    """
    num_saved = sum(tensor.numel() for tensor in saved.values())
    shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    refusal = f"model must have at most the {num_saved:,} numbers that were saved, got {shown:.200}"
    check_within(make_model, arguments, len(saved), num_saved, refusal)


def check_within(
    make_model: Callable[..., nn.Module], arguments: Mapping[str, Any], num_tensors: int, num_numbers: int, refusal: str
) -> None:
    """Check that a model has no more parameters, as tensors and in all; it is made without memory, up to the first.

    Raises:
        InputError: with the text of ``refusal``, if it has.
    """
    seen = [0, 0]

    def count(_module: nn.Module, _name: str, param: nn.Parameter | None) -> None:
        if param is not None:
            seen[0] += 1
            seen[1] += param.numel()
        if seen[0] > num_tensors or seen[1] > num_numbers:
            raise InputError(refusal)

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            wherever(make_model)(**arguments)
    finally:
        hook.remove()


def wherever(make_model: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes a model, without the device that it is made on: a file opens on any machine."""
    return make_model.make_model if isinstance(make_model, Placed) else make_model
