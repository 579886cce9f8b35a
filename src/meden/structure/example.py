"""An example that a model is run on: in any form of arguments, and outputs in any form that holds tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from meden._checks import InputError


def arguments(example: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return an example as arguments: a tensor is the only one, a tuple holds them, a mapping has them by name."""
    if isinstance(example, Mapping):
        return (), example
    return (example if isinstance(example, tuple) else (example,)), {}


def tensors(output: Any) -> Iterator[Tensor]:
    """Yield the tensors of an output."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (Mapping, list, tuple)):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from tensors(part)


@torch.no_grad()
def run_quietly(model: nn.Module, example: Any) -> Any:
    """Return the output in evaluation on an example in any form; modes are put back."""
    modes = {module: module.training for module in model.modules()}
    args, kwargs = arguments(example)
    try:
        return model.eval()(*args, **kwargs)
    finally:
        for module, mode in modes.items():
            module.training = mode


def try_example(model: nn.Module, example: Any) -> Any:
    """Return the output in evaluation on an input that the model may not take.

    Raises:
        InputError: if it does not.
    """
    try:
        return run_quietly(model, example)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"example must be an input of {type(model).__name__} (a tensor, a tuple of arguments or a mapping of "
            f"keyword arguments), got {type(example).__name__}: {reason(error)}"
        ) from error


def reason(error: Exception) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
