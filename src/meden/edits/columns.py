"""The inputs that a smaller model takes, where it takes fewer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from meden._checks import InputError
from meden.edits.leaving import Leaving
from meden.structure import Structure
from meden.structure.example import arguments


class Columns(NamedTuple):
    """Positions that are left along an axis of the one tensor of inputs."""

    axis: int
    """From behind."""
    left: tuple[int, ...]

    def of(self, example: Any) -> Any:
        """Return an example, in any form, with what is left of its inputs."""
        if isinstance(example, Mapping):
            return {name: self._part(x) for name, x in example.items()}
        return tuple(map(self._part, example)) if isinstance(example, tuple) else self._part(example)

    def _part(self, x: Any) -> Any:
        return x.index_select(x.ndim + self.axis, torch.tensor(self.left, device=x.device)) if _holds_inputs(x) else x


def left_columns(structure: Structure, leaving: Leaving, example: Any) -> Columns:
    """Return which inputs are left.

    Raises:
        InputError: if the example does not hold one tensor of inputs that are counted along one of its axes.
    """
    args, kwargs = arguments(example)
    holding = [x for x in (*args, *kwargs.values()) if _holds_inputs(x)]
    inputs = [channel.label for channel in structure.channels if channel.kind == "input"]
    numbers = [int(found[1]) for label in inputs if (found := re.fullmatch(r"input\[(\d+)\]", label))]
    if len(holding) == 1 and len(numbers) == len(inputs):
        shape = tuple(holding[0].shape[1:])
        places = np.stack(np.unravel_index(np.array(numbers, dtype=np.int64), shape))
        for axis, size in enumerate(shape):
            if sorted(places[axis].tolist()) == list(range(size)):
                gone = {channel.label for channel in leaving.channels}
                left = [int(at) for label, at in zip(inputs, places[axis], strict=True) if label not in gone]
                return Columns(axis - len(shape), tuple(sorted(left)))
    raise InputError(
        f'inputs must be "gather" or "keep" for an example that is not one tensor of inputs along one axis, got '
        f'"columns" and {len(holding)} tensors with {len(inputs)} inputs'
    )


def _holds_inputs(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point() and x.ndim > 1
