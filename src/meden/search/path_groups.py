"""The groups of a path in one model, and the penalty that acts on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from meden._checks import InputError
from meden.optim import Regularizer
from meden.penalties import Box, SparsePenalty
from meden.structure.groups import GroupSet, Kind, ModelGroups, Piece


def groups_in(model: nn.Module, kind: Kind, columns: Sequence[str]) -> ModelGroups:
    """Return the groups of a model.

    Args:
        model: that reads the inputs.
        kind: of groups.
        columns: (D,) name of the original column of each input.

    Raises:
        InputError: if they cannot be found.
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(columns):
        places.setdefault(name, []).append(place)
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    skips = [name for name in linear if name.rpartition(".")[2] == "skip"]
    first = [name for name in linear if name not in skips][:1]
    if kind != "inputs" or any(linear[name].in_features != len(columns) for name in first):
        raise InputError(f"kind must be of groups of a model whose first layer is linear, got {kind!r}")
    sets = []
    for size in sorted({len(own) for own in places.values()}):
        alike = {name: tuple(own) for name, own in places.items() if len(own) == size}
        pieces = tuple(Piece(f"{name}.weight", 1, tuple(alike.values())) for name in (*skips, *first))
        sets.append(GroupSet(f"inputs of {size}", tuple(alike), pieces))
    return ModelGroups("inputs", tuple(sets))


def penalised(penalty: SparsePenalty, groups: ModelGroups) -> tuple[Regularizer, ...]:
    """Return what puts a penalty on groups."""
    (own,) = groups.sets
    settings = {"dim": "inputs"} if hasattr(penalty, "dim") else {}
    return (Regularizer(penalty.replace(settings), on=own.pieces[0].name, coupling="proximal"),)


def held(groups: ModelGroups, kept: Sequence[str], state: Mapping[str, Tensor]) -> tuple[Regularizer, ...]:
    """Return what holds all groups but some at exact zeros."""
    found = []
    for own in groups.sets:
        for piece in own.pieces:
            high = state[piece.name].new_full(state[piece.name].shape, float("inf"))
            rows = piece.take(high)
            for number, name in enumerate(own.names):
                if name not in kept:
                    rows[number] = 0.0
            piece.put(rows, high)
            found.append(Regularizer(Box(-high, high), on=piece.name, coupling="proximal"))
    return tuple(found)
