"""Groups that span tensors, in one model: which are meant, and where their numbers are."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence

from torch import nn

from meden._checks import InputError
from meden.optim.regularizer import Regularizer
from meden.params import Selector, Site, select_sites, tensors
from meden.structure import GroupSet, Kind, ModelGroups

Sites = dict[str, tuple[Site, ...]]
"""The places of each tensor, by its first name."""


def chosen_sets(
    model: nn.Module, label: str, groups: str | ModelGroups, on: Selector
) -> tuple[Sites, tuple[GroupSet, ...]]:
    """Choose the groups whose first piece lies in a selected tensor; ``"weights"`` stands for all groups.

    Args:
        model: in which they are.
        label: of the regularizer, for messages.
        groups: of a model like this.
        on: which tensors.

    Returns:
        the tensors that they lie in, and the groups, which have labels of their own and the first names of tensors.

    Raises:
        InputError: if they are not known yet, not this model's, none is chosen, or one lies in a tensor that a
            parametrisation makes others from.
    """
    if isinstance(groups, str):
        raise InputError(
            f"groups of {label} must be found with an example here, groups=meden.groups_of(model, example, "
            f"kind={groups!r}); got {groups!r}, which only meden.fit and fit_many resolve by themselves"
        )
    places = _places(model)
    selected = None if on == "weights" else select_sites(model, on)
    sets: list[GroupSet] = []
    for found in groups.sets:
        for piece in found.pieces:
            _check_piece(label, piece.name, piece.axis, max(map(max, piece.positions)), places)
        pieces = tuple(dataclasses.replace(piece, name=places[piece.name][0].name) for piece in found.pieces)
        if selected is None or pieces[0].name in selected:
            twins = Counter(own.label.partition(" #")[0] for own in sets)[found.label]
            sets.append(GroupSet(found.label + (f" #{twins + 1}" if twins else ""), found.names, pieces))
    if not sets:
        first = ", ".join(dict.fromkeys(found.pieces[0].name for found in groups.sets)) or "there are none"
        raise InputError(f"on of {label} must select the first tensor of a group ({first}), got {on!r}")
    names = dict.fromkeys(piece.name for found in sets for piece in found.pieces)
    return {name: places[name] for name in names}, tuple(sets)


def _places(model: nn.Module) -> Sites:
    """Return the places of each tensor by all of its names, those that ``named_parameters`` gives included."""
    found = tensors(model)
    by_id = {id(source): sites for sites in found for source in sites[0].sources}
    by_name = {site.name: sites for sites in found for site in sites}
    named = model.named_parameters(remove_duplicate=False)
    return by_name | {name: by_id[id(param)] for name, param in named if id(param) in by_id}


def _check_piece(label: str, name: str, axis: int, last: int, places: Sites) -> None:
    if name not in places:
        raise InputError(f"groups of {label} must belong to this model, got groups of {name}, which it does not have")
    site = places[name][0]
    if site.made is not None:
        raise InputError(
            f"groups of {label} must consist of parameters, got {name}, from which {site.made.kind} makes the "
            f"weight {site.name}"
        )
    shape = tuple(site.param.shape)
    if not axis < len(shape) or not last < shape[axis]:
        raise InputError(
            f"groups of {label} must belong to this model, whose {name} has shape {shape}, got position {last} of "
            f"axis {axis}"
        )


def with_groups(regularizers: Sequence[Regularizer], find: Callable[[Kind], ModelGroups]) -> list[Regularizer]:
    """Return regularizers with the groups of a model in the place of their kinds.

    Args:
        regularizers: which may name a kind.
        find: returns the model's groups of a kind; it is asked once for each.
    """
    kinds = dict.fromkeys(r.groups for r in regularizers if isinstance(r.groups, str))
    found = {kind: find(kind) for kind in kinds}
    return [dataclasses.replace(r, groups=found[r.groups]) if isinstance(r.groups, str) else r for r in regularizers]
