"""A transformer and its rows as meden's own training takes them: a module of one tensor, items (x, y).

Legend: ``B`` rows, ``F`` inputs, ``T`` tokens, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from meden._checks import InputError

INPUTS = ("input_ids", "attention_mask")


def as_module(model: nn.Module, inputs: Sequence[str] = INPUTS) -> nn.Module:
    """Return a model of transformers as a module from one tensor to logits, which ``meden.fit`` and the rest take.

    Args:
        model: whose output has ``logits``; it is trained in place.
        inputs: the names of what it is given. One takes x (B, ...) as it is; several take (B, F, T), in this order.

    Raises:
        InputError: where it is called, if the output has no ``logits``.

    Example:
        >>> class Echo(nn.Module):
        ...     def forward(self, input_ids, attention_mask):
        ...         return {"logits": input_ids * attention_mask}
        >>> as_module(Echo())(torch.tensor([[[5, 6, 7], [1, 1, 0]]]))
        tensor([[5, 6, 0]])
    """
    return _Logits(model, _checked(inputs))


def as_pairs(dataset: Any, inputs: Sequence[str] = INPUTS, label: str = "labels") -> _Pairs:
    """Return a data set of dictionaries as one of pairs (x, y), for a model from :func:`as_module`.

    Args:
        dataset: map-style, such as one of ``datasets``; its items hold numbers of one shape (``padding="max_length"``).
        inputs: the names of what makes x: (...) as it is of one, (F, T) of several.
        label: the name of what makes y.

    Raises:
        InputError: when an item is read that lacks one of them, or whose inputs differ in shape.

    Example:
        >>> rows = [{"input_ids": [5, 6, 0], "attention_mask": [1, 1, 0], "labels": 1}]
        >>> as_pairs(rows)[0]
        (tensor([[5, 6, 0],
                [1, 1, 0]]), tensor(1))
    """
    return _Pairs(dataset, _checked(inputs), label)


class _Logits(nn.Module):
    def __init__(self, model: nn.Module, inputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, x: Tensor) -> Tensor:
        parts = (x,) if len(self.inputs) == 1 else x.unbind(1)
        output = self.model(**dict(zip(self.inputs, parts, strict=True)))
        logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
        if not isinstance(logits, Tensor):
            raise InputError(f"model must return logits, as models for a task do, got {type(output).__name__}")
        return logits


class _Pairs(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, dataset: Any, inputs: tuple[str, ...], label: str) -> None:
        self.dataset, self.inputs, self.label = dataset, inputs, label

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        item = self.dataset[row]
        if lacking := [name for name in (*self.inputs, self.label) if name not in item]:
            raise InputError(f"item {row} must have {lacking[0]!r}, got {', '.join(map(str, item))}")
        parts = [torch.as_tensor(item[name]) for name in self.inputs]
        if len({part.shape for part in parts}) > 1:
            shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in zip(self.inputs, parts, strict=True))
            raise InputError(f"inputs of item {row} must have one shape, got {shapes}")
        x = parts[0] if len(parts) == 1 else torch.stack(parts)
        return x, torch.as_tensor(item[self.label])


def _checked(inputs: Sequence[str]) -> tuple[str, ...]:
    if isinstance(inputs, str) or not inputs or not all(isinstance(name, str) for name in inputs):
        raise InputError(f"inputs must be names of model inputs, such as {INPUTS}, got {inputs!r}")
    return tuple(inputs)
