"""What is cut out of a model, as plain values: enough to make a fresh model of the same kind as small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from meden._checks import InputError
from meden.edits.names import Names, Place


@dataclass(frozen=True)
class Cuts:
    """The positions that are removed from the tensors of a model, and what goes with them."""

    gone: Mapping[Place, tuple[int, ...]]
    """Positions that are removed, by tensor and axis."""
    shapes: Mapping[str, tuple[int, ...]]
    """Shapes, before the cuts, of the tensors that are cut and of the biases that are created."""
    heads: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Number of heads (or groups of heads) that remain and that there were, by attention layer."""
    picked: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Positions of its input that a layer selects by itself, by layer."""
    biases: tuple[str, ...] = ()
    """Biases that are created."""

    def lost(self, name: str, axis: int) -> tuple[int, ...]:
        """Return the positions that a tensor loses along an axis."""
        return self.gone.get((name, axis), ())

    def cut(self, name: str, tensor: Tensor) -> Tensor:
        """Return what is left of a tensor that goes by a name of the model: itself, or numbers that belong to it.

        Along an axis of one entry, where that of the model has several, it stays: a statistic of rows or columns.

        Raises:
            InputError: if it does not fit.
        """
        if name not in self.shapes:
            return tensor
        shape = self.shapes[name]
        if tensor.ndim != len(shape) or any(a not in (1, b) for a, b in zip(tensor.shape, shape, strict=True)):
            raise InputError(f"{name} must have shape {shape}, like the tensor that is cut, got {tuple(tensor.shape)}")
        for axis, size in enumerate(shape):
            if tensor.shape[axis] == size and self.lost(name, axis):
                left = sorted(set(range(size)) - set(self.lost(name, axis)))
                tensor = tensor.index_select(axis, torch.tensor(left, device=tensor.device))
        return tensor

    def as_values(self) -> dict[str, Any]:
        """Return the cuts as JSON can hold them."""
        tensors = {
            name: {
                "shape": list(shape),
                "gone": {str(axis): list(self.lost(name, axis)) for axis in range(len(shape)) if self.lost(name, axis)},
            }
            for name, shape in self.shapes.items()
        }
        heads = {name: list(counts) for name, counts in self.heads.items()}
        picked = {name: list(positions) for name, positions in self.picked.items()}
        return {"tensors": tensors, "heads": heads, "picked": picked, "biases": list(self.biases)}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Return what :meth:`as_values` returned."""
        tensors = values["tensors"]
        return cls(
            gone={(n, int(axis)): tuple(at) for n, tensor in tensors.items() for axis, at in tensor["gone"].items()},
            shapes={name: tuple(tensor["shape"]) for name, tensor in tensors.items()},
            heads={name: (left, before) for name, (left, before) in values["heads"].items()},
            picked={name: tuple(positions) for name, positions in values["picked"].items()},
            biases=tuple(values["biases"]),
        )

    def check_fits(self, names: Names) -> None:
        """Check that a model is of the kind that the cuts were made for.

        Raises:
            InputError: naming a tensor that is another.
        """
        for name, shape in self.shapes.items():
            wanted = "none" if name in self.biases else shape
            found = tuple(names.tensors[name].shape) if name in names.tensors else "none"
            if found != wanted:
                raise InputError(
                    f"model must be built like the one that was compacted: {name} of {wanted}, got {found} (a "
                    "model compacted twice is loaded step by step, from the folder of each step)"
                )
