"""The groups of a path in one model, the penalty that acts on them, and what holds them at zero."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from meden._checks import InputError
from meden.optim import Regularizer
from meden.penalties import Box, HierarchicalLasso, SparsePenalty
from meden.structure import GroupSet, ModelGroups, Piece


def penalised(penalty: SparsePenalty, groups: ModelGroups, num_outputs: int) -> tuple[Regularizer, ...]:
    """Return what puts a penalty on groups; of a network with a skip connection the penalty is told where that ends."""
    return tuple(
        Regularizer(
            _fitting(penalty, own, num_outputs), on="all", groups=replace(groups, sets=(own,)), coupling="proximal"
        )
        for own in groups.sets
    )


def held(groups: ModelGroups, kept: Collection[str]) -> tuple[Regularizer, ...]:
    """Return what holds all groups but some at exact zeros."""
    left = [part for own in groups.sets if (part := _without(own, kept)).names]
    return tuple(Regularizer(Box(0.0, 0.0), on="all", groups=replace(groups, sets=(part,))) for part in left)


def names_of(groups: Iterable[ModelGroups]) -> tuple[str, ...]:
    """Return the names of all groups of some models once, in the order in which they come."""
    return tuple(dict.fromkeys(name for own in groups for part in own.sets for name in part.names))


def _fitting(penalty: SparsePenalty, own: GroupSet, num_outputs: int) -> SparsePenalty:
    if not isinstance(penalty, HierarchicalLasso):
        return penalty
    first, *others = own.pieces
    if _layer(first.name) != "skip" or any(_layer(piece.name) == "skip" for piece in others):
        raise InputError(
            "make_model must return a network with a layer named skip for HierarchicalLasso, such as models.MLP "
            f"with skip=True, got one whose {own.label} start with {first.name}"
        )
    return penalty.replace({"num_skip": num_outputs * len(first.positions[0])})


def _layer(name: str) -> str:
    return name.split(".")[-2] if "." in name else ""


def _without(own: GroupSet, kept: Collection[str]) -> GroupSet:
    places = [place for place, name in enumerate(own.names) if name not in kept]
    pieces = [Piece(p.name, p.axis, tuple(p.positions[place] for place in places)) for p in own.pieces]
    return GroupSet(own.label, tuple(own.names[place] for place in places), tuple(pieces))
