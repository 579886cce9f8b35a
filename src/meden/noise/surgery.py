"""Noise put into a finished model, retuned or taken out: planned as a table, applied, undone.

Nothing here changes a parameter, a name in the state dictionary or the output in evaluation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from meden._checks import InputError, nearest
from meden.noise.base import Noise, noise_layers
from meden.noise.places import attach, check_place, detach, split_name

Selector = str | type[nn.Module] | int | Sequence["Selector"]
"""A name glob, a layer type, a position among the layers with a weight (negative: from the end), or several."""

Undo = Callable[[], None]
_NEVER_CALLED = nn.modules.linear.NonDynamicallyQuantizableLinear
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Edit:
    """One change of a model."""

    name: str
    """Qualified name of the layer."""
    layer: str
    """Its type."""
    before: str
    after: str
    apply: Callable[[], Undo] = field(repr=False)
    """Make the change and return what takes it back."""


@dataclass(frozen=True)
class Surgery:
    """Changes of a model: a table, and (unless it was a dry run) the way back, also as a context manager."""

    edits: tuple[Edit, ...]
    undos: list[Undo] = field(default_factory=list, repr=False)

    @property
    def names(self) -> list[str]:
        """The names of the layers that are changed."""
        return [edit.name for edit in self.edits]

    def undo(self) -> None:
        """Take all changes back, the last first; a second call does nothing."""
        while self.undos:
            self.undos.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()

    def __str__(self) -> str:
        rows = [("name", "layer", "before", "after"), *((e.name, e.layer, e.before, e.after) for e in self.edits)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def insert(
    model: nn.Module,
    on: Selector,
    noise: Noise,
    *,
    place: str | None = None,
    dry_run: bool = False,
    example: Any = None,
) -> Surgery:
    """Put a copy of ``noise`` on every selected layer.

    Args:
        model: any module, changed in place.
        on: which layers: a name glob, a layer type, a position, or several of these.
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
    layers = select_layers(model, on)
    for layer in layers.values():
        check_place(layer, where)
    return operate(model, insertions(layers, noise, where), dry_run=dry_run, example=example)


def retune(
    model: nn.Module,
    level: float | Sequence[float],
    on: Selector = "*",
    *,
    dry_run: bool = False,
) -> Surgery:
    """Change the level of the noise layers that a model has: one for all, or one for each (a depth schedule).

    Args:
        model: any module, changed in place.
        level: the new level, or as many as noise layers are selected, in the model's order.
        on: which noise layers: a name glob, a noise type, a position among them, or several of these.
        dry_run: only plan.

    Raises:
        InputError: if nothing is selected, the number of levels is another, or a level is out of range.
    """
    layers = _choose(dict(noise_layers(model)), list(noise_layers(model)), on, "noise layer")
    levels = list(level) if isinstance(level, Sequence) else [level] * len(layers)
    if len(levels) != len(layers):
        raise InputError(f"level must be one number or one for each of {len(layers)} noise layers, got {len(levels)}")
    return operate(model, retunings(layers, levels), dry_run=dry_run)


def remove(model: nn.Module, on: Selector = "*", *, dry_run: bool = False, example: Any = None) -> Surgery:
    """Take noise out: what was inserted is taken off, what the model was built with gets the level zero.

    Args:
        model: any module, changed in place.
        on: which noise layers: a name glob, a noise type, a position among them, or several of these.
        dry_run: only plan.
        example: as in :func:`insert`.

    Raises:
        InputError: if nothing is selected, or the output on ``example`` changed.
    """
    layers = _choose(dict(noise_layers(model)), list(noise_layers(model)), on, "noise layer")
    edits = [_removal(model, name, layer) for name, layer in layers.items()]
    return operate(model, edits, dry_run=dry_run, example=example)


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


def operate(model: nn.Module, edits: Iterable[Edit], *, dry_run: bool = False, example: Any = None) -> Surgery:
    """Apply edits in their order, and prove on ``example`` that evaluation did not change."""
    surgery = Surgery(tuple(edits))
    if dry_run:
        return surgery
    before = None if example is None else _evaluate(model, example)
    for edit in surgery.edits:
        surgery.undos.append(edit.apply())
    if before is not None and not all(map(torch.equal, before, _evaluate(model, example))):
        surgery.undo()
        raise InputError("noise must leave the output in evaluation as it is; on this example it did not (undone)")
    return surgery


def select_layers(model: nn.Module, on: Selector) -> dict[str, nn.Module]:
    """Return the selected layers by name; a position counts the layers that own a parameter ``weight``.

    The output projection of ``nn.MultiheadAttention`` cannot be selected: attention reads its weight past the layer.

    Raises:
        InputError: if nothing is selected; the message suggests the nearest name.
    """
    modules = {n: m for n, m in model.named_modules() if n and not isinstance(m, (Noise, _NEVER_CALLED))}
    weighted = [n for n, m in modules.items() if "weight" in dict(m.named_parameters(recurse=False))]
    return _choose(modules, weighted, on, "layer")


def _choose(modules: dict[str, M], ordered: list[str], on: Selector, what: str) -> dict[str, M]:
    chosen = {name: module for name, module in modules.items() if _matches(on, name, module, ordered)}
    if not chosen:
        hint = nearest(on, modules) if isinstance(on, str) else ""
        raise InputError(f"on must select at least one {what} of the model, got {on!r}{hint}")
    return chosen


def _matches(on: Selector, name: str, module: nn.Module, ordered: list[str]) -> bool:
    if isinstance(on, str):
        return fnmatchcase(name, on)
    if isinstance(on, type):
        return isinstance(module, on)
    if isinstance(on, int):
        return name in ordered and ordered.index(name) in (on, on + len(ordered))
    return any(_matches(part, name, module, ordered) for part in on)


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
    owner = model.get_submodule(site[0])
    return Edit(site[0], type(owner).__name__, f"{layer} on {site[1]}", "-", partial(_detach, owner, layer, site[1]))


def _detach(layer: nn.Module, noise: Noise, place: str) -> Undo:
    detach(layer, place)
    return partial(_reattach, layer, noise, place)


def _reattach(layer: nn.Module, noise: Noise, place: str) -> None:
    attach(layer, noise, place)


@torch.no_grad()
def _evaluate(model: nn.Module, example: Any) -> list[Tensor]:
    """Return the tensors of the output in evaluation; every module keeps its mode."""
    modes = {module: module.training for module in model.modules()}
    args, kwargs = _arguments(example)
    try:
        return list(_tensors(model.eval()(*args, **kwargs)))
    finally:
        for module, mode in modes.items():
            module.training = mode


def _arguments(example: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(example, Mapping):
        return (), example
    return (example if isinstance(example, tuple) else (example,)), {}


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (Mapping, list, tuple)):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(part)
