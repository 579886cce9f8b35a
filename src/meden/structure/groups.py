"""Groups that span tensors: the numbers of each lie in slices of several parameters.

Legend: G groups of S numbers each; a penalty sees them as a matrix (G, S), whose rows are the groups.
"""

from __future__ import annotations

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
        """Return the numbers of each group, (G, s), of a tensor of the parameter's shape."""
        moved = w.movedim(self.axis, 0)
        return moved[torch.tensor(self.positions, device=w.device)].flatten(1)

    def put(self, rows: Tensor, w: Tensor) -> None:
        """Write the numbers of each group, (G, s), into a tensor of the parameter's shape."""
        at = torch.tensor(self.positions, device=w.device)
        moved = w.movedim(self.axis, 0)
        moved[at] = rows.reshape(*at.shape, *moved.shape[1:])


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
        return torch.cat([piece.take(tensors[piece.name]) for piece in self.pieces], dim=1)

    def put(self, rows: Tensor, tensors: Mapping[str, Tensor]) -> None:
        """Write the matrix of the groups, (G, S), into tensors of the parameters' shapes."""
        sizes = [piece.take(tensors[piece.name]).shape[1] for piece in self.pieces]
        for piece, part in zip(self.pieces, rows.split(sizes, dim=1), strict=True):  # type: ignore[no-untyped-call]
            piece.put(part, tensors[piece.name])


@dataclass(frozen=True)
class ModelGroups:
    """The groups of one kind in one model; made by :func:`meden.groups_of`."""

    kind: Kind
    sets: tuple[GroupSet, ...]
