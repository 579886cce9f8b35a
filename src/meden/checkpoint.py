"""Tensors and plain values in one file, written whole or not at all; no pickle is ever loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from meden._checks import InputError
from meden._files import FORMAT, check_format, whole


def save(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able values; a crash leaves the file that was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    owned = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    with whole(path) as part:
        save_file(owned, part, metadata={"values": json.dumps(values), "meden_format": FORMAT})


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save` wrote.

    Raises:
        InputError: if the file is missing or damaged, or of a newer major version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            check_format(metadata.get("meden_format"), path)
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(metadata.get("values", "{}"))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise InputError(f"checkpoint {str(path)!r} cannot be read: {error}") from None


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and every buffer (those of noise layers too), by name; tied tensors once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of the tensors of a model's state dict, each with memory of its own."""
    state = {name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, Tensor)}
    return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}


def copy_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return detached copies."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def restore_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Write saved values into a model's parameters and buffers, in place."""
    for name, target in model_tensors(model).items():
        target.data.copy_(tensors[name])


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's per-parameter state, flat, as ``"3.exp_avg"``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value for index, slots in state.items() for key, value in slots.items() if value is not None
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put :func:`optimizer_tensors` back; the parameter groups stay as the recipe made them."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under names that start with ``prefix``."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
