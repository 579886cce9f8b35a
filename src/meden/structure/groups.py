"""Groups that span tensors: the numbers of each lie in slices of several parameters.

Legend: G groups of S numbers each; a penalty sees them as a matrix (G, S), whose rows are the groups.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["units", "filters", "heads", "inputs"]
"""What a group is: a unit of a network, a filter of a convolution, an attention head, or an input."""


@dataclass(frozen=True)
class Piece:
    """Slices of one parameter, the same number of them for each group.

    Args:
        name: the parameter, as ``model.named_parameters()`` has it.
        axis: along which it is sliced, from the front.
        positions: of the slices of each group along that axis, (G, number of slices); no position twice.
    """

    name: str
    axis: int
    positions: tuple[tuple[int, ...], ...]

    def take(self, w: Tensor) -> Tensor:
        """Return the numbers of each group, (G, s), of a tensor of the parameter's shape; a view where that can be."""
        moved = w.movedim(self.axis, 0)
        if self._are_all(len(moved)):
            return moved.reshape(len(self.positions), -1)
        return moved[self._at(w.device)].flatten(1)

    def put(self, rows: Tensor, w: Tensor) -> None:
        """Write the numbers of each group, (G, s), into a tensor of the parameter's shape."""
        moved = w.movedim(self.axis, 0)
        if self._are_all(len(moved)):
            moved.copy_(rows.reshape(moved.shape))
        else:
            at = self._at(w.device)
            moved[at] = rows.reshape(*at.shape, *moved.shape[1:]).to(w)

    def size(self, w: Tensor) -> int:
        """Return how many numbers of a tensor of the parameter's shape are in each group."""
        return len(self.positions[0]) * math.prod(w.shape) // max(w.shape[self.axis], 1)

    def _are_all(self, num: int) -> bool:
        """Say whether the groups share out all of ``num`` slices in their order."""
        return self._are_in_order and num == len(self.positions) * len(self.positions[0])

    @functools.cached_property
    def _are_in_order(self) -> bool:
        return all(place == i for i, place in enumerate(itertools.chain(*self.positions)))

    def _at(self, device: torch.device) -> Tensor:
        """Return the positions, (G, number of slices)."""
        if device not in self._kept:
            self._kept[device] = torch.tensor(self.positions, device=device)
        return self._kept[device]

    @functools.cached_property
    def _kept(self) -> dict[torch.device, Tensor]:
        return {}


@dataclass(frozen=True)
class GroupSet:
    """Groups of one size, which a penalty sees as the rows of one matrix.

    Args:
        label: what they are groups of, such as ``units of layers.0``.
        names: of each group, (G,), such as ``layers.0[3]`` or the name of a column.
        pieces: where their numbers lie; side by side they are the columns of the matrix.
    """

    label: str
    names: tuple[str, ...]
    pieces: tuple[Piece, ...]

    def take(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the matrix of the groups, (G, S), from tensors of the parameters' shapes by name; a copy."""
        parts = [piece.take(tensors[piece.name]) for piece in self.pieces]
        return torch.cat([part.to(parts[0].device) for part in parts], dim=1)

    def put(self, rows: Tensor, tensors: Mapping[str, Tensor]) -> None:
        """Write the matrix of the groups, (G, S), into tensors of the parameters' shapes."""
        start = 0
        for piece in self.pieces:
            w = tensors[piece.name]
            piece.put(rows[:, start : (start := start + piece.size(w))], w)


@dataclass(frozen=True)
class ModelGroups:
    """The groups of one kind in one model; made by :func:`meden.groups_of`.

    Attributes:
        kind: what the groups are.
        sets: the groups, those of one size together.
    """

    kind: Kind
    sets: tuple[GroupSet, ...]
