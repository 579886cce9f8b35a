"""Tensors and plain values in one file, written whole or not at all, with their checksum; no pickle is ever loaded."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from meden._checks import Damaged, parse_json
from meden._checksums import CHECKSUM
from meden._files import FORMAT, check_format, whole

ERRNO = re.compile(r"os error (\d+)")
"""How safetensors says which error of the system it met."""


def save(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able values; a crash leaves the file that was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    owned = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(values)
    metadata = {"values": text, "meden_format": FORMAT, CHECKSUM: _checksum(owned, text)}
    with whole(path) as part:
        part.touch()
        mode = part.stat().st_mode
        try:
            save_file(owned, part, metadata=metadata)
        except SafetensorError as error:
            if (found := ERRNO.search(str(error))) is None:
                raise
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(path)) from error
        _sort_metadata(part)
        part.chmod(mode)  # safetensors puts a file there that nobody else may read


def _sort_metadata(path: Path) -> None:
    """Put the metadata of a file in order, in place: safetensors writes them in another order in each process."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= size:
            file.seek(8)
            file.write(text.ljust(size))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save` wrote.

    Raises:
        Damaged: if the file is missing, or was changed since.
        InputError: if it is of another major version.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            check_format(metadata.get("meden_format"), path)
            tensors, text = {name: file.get_tensor(name) for name in file.keys()}, metadata.get("values", "{}")
        values = parse_json(text)
    except (OSError, SafetensorError, ValueError) as error:
        raise Damaged(f"checkpoint {str(path)!r} cannot be read: {error}") from None
    if metadata.get(CHECKSUM) != _checksum(tensors, text):
        raise Damaged(
            f"checkpoint {str(path)!r} must be unchanged since meden wrote it, but does not match its {CHECKSUM}"
        )
    return tensors, values


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    """Return the SHA-256 of tensors, with their names, types and shapes, and of a text."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
