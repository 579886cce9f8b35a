"""The groups of a path in one model, the penalty that acts on them, and what holds them at zero."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from meden.optim import Regularizer
from meden.penalties import Box, HierarchicalLasso, SparsePenalty
from meden.structure import GroupSet, ModelGroups, Piece


def penalised(penalty: SparsePenalty, groups: ModelGroups) -> tuple[Regularizer, ...]:
    """Return what puts a penalty on groups; of a network with a skip connection the penalty is told where that ends."""
    return tuple(_on(_fitting(penalty, own), replace(groups, sets=(own,))) for own in groups.sets)


def held(groups: ModelGroups, kept: Collection[str]) -> tuple[Regularizer, ...]:
    """Return what holds all groups but some at exact zeros."""
    left = [part for own in groups.sets if (part := _without(own, kept)).names]
    return tuple(Regularizer(Box(0.0, 0.0), groups=replace(groups, sets=(part,))) for part in left)


def names_of(groups: Iterable[ModelGroups]) -> tuple[str, ...]:
    """Return the names of all groups of some models once, in the order in which they come."""
    return tuple(dict.fromkeys(name for own in groups for part in own.sets for name in part.names))


def _fitting(penalty: SparsePenalty, own: GroupSet) -> SparsePenalty:
    if not isinstance(penalty, HierarchicalLasso):
        return penalty
    raise NotImplementedError


def _without(own: GroupSet, kept: Collection[str]) -> GroupSet:
    places = [place for place, name in enumerate(own.names) if name not in kept]
    pieces = [Piece(p.name, p.axis, tuple(p.positions[place] for place in places)) for p in own.pieces]
    return GroupSet(own.label, tuple(own.names[place] for place in places), tuple(pieces))


def _on(penalty: SparsePenalty, groups: ModelGroups) -> Regularizer:
    (own,) = groups.sets
    (piece,) = own.pieces
    if all(len(place) == 1 for place in piece.positions):
        dim = {"dim": piece.axis} if "dim" in penalty.settings() else {}
        return Regularizer(penalty.replace(dim), on=piece.name, coupling="proximal")
    return Regularizer(penalty, groups=groups, coupling="proximal")
