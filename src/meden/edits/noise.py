"""Noise put into a finished model, retuned or taken out.

Nothing here changes a parameter, a name in the state dictionary or the output in evaluation.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from meden._checks import InputError
from meden.edits.edit import Edit, Edits, Undo, apply_edits
from meden.noise import Noise, attach, detach
from meden.noise.places import check_place, split_name
from meden.params import Selector, select_modules


def insert(
    model: nn.Module,
    on: Selector,
    noise: Noise,
    *,
    place: str | None = None,
    dry_run: bool = False,
    example: Any = None,
) -> Edits:
    """Put a copy of ``noise`` on every selected layer.

    Args:
        model: any module, changed in place.
        on: which layers, see :data:`meden.params.Selector`.
        noise: the noise; each layer gets its own copy (give them their streams with ``seed_noise``).
        place: ``"input"``, ``"output"`` or ``"weight"``; by default the usual one of this kind of noise.
        dry_run: only plan.
        example: an input (a tensor, a tuple of arguments or a mapping of keyword arguments) on which the output in
            evaluation is proven to be unchanged.

    Returns:
        the changes; print it for a table, call its ``undo`` for the way back.

    Raises:
        InputError: if nothing is selected, a place is taken or does not exist, or the output on ``example`` changed.

    Example:
        >>> from meden.noise import Dropout
        >>> print(insert(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), -1, Dropout(0.5), dry_run=True))
        name  layer   before  after
        1     Linear  -       Dropout(p=0.5) on input
    """
    where = noise.place if place is None else place
    layers = select_modules(model, on, without=(Noise,))
    for layer in layers.values():
        check_place(layer, where)
    return apply_edits(model, insertions(layers, noise, where), dry_run=dry_run, example=example)


def retune(
    model: nn.Module,
    level: float | Sequence[float],
    on: Selector = "*",
    *,
    dry_run: bool = False,
) -> Edits:
    """Change the level of the noise layers that a model has: one for all, or one for each (a depth schedule).

    Args:
        model: any module, changed in place.
        level: the new level, or as many as noise layers are selected, in the model's order.
        on: which noise layers, see :data:`meden.params.Selector`; a position is one among them.
        dry_run: only plan.

    Raises:
        InputError: if nothing is selected, the number of levels is another, or a level is out of range.
    """
    layers = select_modules(model, on, kind=Noise)
    levels = list(level) if isinstance(level, Sequence) else [level] * len(layers)
    if len(levels) != len(layers):
        raise InputError(f"level must be one number or one for each of {len(layers)} noise layers, got {len(levels)}")
    return apply_edits(model, retunings(layers, levels), dry_run=dry_run)


def remove(model: nn.Module, on: Selector = "*", *, dry_run: bool = False, example: Any = None) -> Edits:
    """Remove noise: inserted layers are removed, those that the model was built with get the level zero.

    Args:
        model: any module, changed in place.
        on: which noise layers, see :data:`meden.params.Selector`; a position is one among them.
        dry_run: only plan.
        example: as in :func:`insert`.

    Raises:
        InputError: if nothing is selected, or the output on ``example`` changed.
    """
    layers = select_modules(model, on, kind=Noise)
    edits = [_removal(model, name, layer) for name, layer in layers.items()]
    return apply_edits(model, edits, dry_run=dry_run, example=example)


def insertions(layers: Mapping[str, nn.Module], noise: Noise, place: str) -> list[Edit]:
    """Plan a copy of ``noise`` at a place of every layer."""
    after = f"{noise} on {place}"
    return [
        Edit(name, type(layer).__name__, "-", after, partial(_attach, layer, copy.deepcopy(noise), place))
        for name, layer in layers.items()
    ]


def retunings(layers: Mapping[str, Noise], levels: Sequence[float]) -> list[Edit]:
    """Plan another level for every noise layer; a level out of range is an error now."""
    for layer, level in zip(layers.values(), levels, strict=True):
        layer.check_level(level)
    return [
        Edit(
            name,
            type(layer).__name__,
            layer.extra_repr(),
            f"{layer.level_name}={new:g}",
            partial(_set_level, layer, new),
        )
        for (name, layer), new in zip(layers.items(), levels, strict=True)
    ]


def _attach(layer: nn.Module, noise: Noise, place: str) -> Undo:
    attach(layer, noise, place)
    return partial(detach, layer, place)


def _set_level(layer: Noise, level: float) -> Undo:
    before = layer.level.clone()
    layer.set_level(level)
    return partial(layer.set_level, before)


def _removal(model: nn.Module, name: str, layer: Noise) -> Edit:
    site = split_name(name)
    if site is None:
        return retunings({name: layer}, [0.0])[0]
    owner = next(iter(select_modules(model, site[0]).values())) if site[0] else model  # whatever wraps the model
    return Edit(site[0], type(owner).__name__, f"{layer} on {site[1]}", "-", partial(_detach, owner, layer, site[1]))


def _detach(layer: nn.Module, noise: Noise, place: str) -> Undo:
    detach(layer, place)
    return partial(_reattach, layer, noise, place)


def _reattach(layer: nn.Module, noise: Noise, place: str) -> None:
    attach(layer, noise, place)
