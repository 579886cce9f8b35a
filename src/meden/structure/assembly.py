"""Channels, put together from what a run shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from meden.structure import channels
from meden.structure.channels import Channel, ChannelKind, Slice, Structure
from meden.structure.marked import Attached, Notes

Array = NDArray[np.int64]
_ORDER: tuple[ChannelKind, ...] = ("head", "input", "filter", "unit")


def assemble(notes: Notes, names: Sequence[str]) -> Structure:
    """Return the channels that the notes of a run tell of.

    Args:
        notes: of a whole run.
        names: of the atoms of inputs, which come first.
    """
    known = _Known(notes)
    while known.places_agree():
        pass
    return Structure(tuple(known.channels(names)), dict(notes.products), tuple(notes.tables))


class _Place(NamedTuple):
    """Slices of a weight, and whose they are."""

    record: Attached
    axis: int
    positions: Array
    """Along the axis, (n,)."""
    classes: Array
    """Of each, (n,)."""
    dim: int
    """The dimension of the weight, as it is used, that the axis is."""


class _Known:
    """What is known so far: the classes of atoms, and why some have to stay."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.places: list[_Place] = []
        self.fixed: dict[int, str] = {}
        self.unplaced: set[str] = set()

    def places_agree(self) -> bool:
        """Place all weights; say whether channels were joined, since they share slices: then all is done again."""
        self.classes = self.notes.classes()
        self.fixed, self.unplaced = {}, set()
        for atoms, why in self.notes.fixed:
            self._fix(self.classes[atoms], why)
        self.places = [place for record in self.notes.attached for place in self._placed(record)]
        shared: dict[tuple[str, int], list[_Place]] = defaultdict(list)
        for place in self.places:
            shared[place.record.source.name, place.axis].append(place)
        joined = False
        for place in self.places:
            name = place.record.source.name
            if name in self.unplaced:
                self._fix(place.classes, f"{name} is used in several ways")
        for (name, _), places in shared.items():
            positions = np.concatenate([place.positions for place in places])
            classes = np.concatenate([place.classes for place in places])
            order = np.lexsort((classes, positions))
            positions, classes = positions[order], classes[order]
            differ = (np.diff(positions) == 0) & (np.diff(classes) != 0)
            before, after = classes[:-1][differ], classes[1:][differ]
            self._fix(after[before < 0], f"{name} is also used elsewhere")
            pairs = np.stack([before, after])[:, before >= 0]
            if pairs.size:
                one_of = np.full(self.classes.max() + 1, -1)
                one_of[self.classes[:-1]] = np.arange(len(self.classes) - 1)
                self.notes.joined.append(one_of[pairs])
                joined = True
        return joined

    def channels(self, names: Sequence[str]) -> list[Channel]:
        """Return the channels, in the order in which they were met."""
        self._fix_strangers()
        slices: dict[int, dict[tuple[str, int], list[Array]]] = defaultdict(lambda: defaultdict(list))
        reads: dict[int, list[channels.Read]] = defaultdict(list)
        for place in self.places:
            name = place.record.source.name
            for number, at in _by_class(place.classes):
                if name in self.notes.elsewhere:
                    self.fixed.setdefault(number, self.notes.elsewhere[name])
                if place.record.read is None:
                    slices[number][name, place.axis].append(place.positions[at])
                else:
                    reads[number].append(_read(place, at))
        kinds = self._kinds()
        _, met = np.unique(self.classes[:-1], return_index=True)
        found = []
        for number in self.classes[np.sort(met)].tolist():
            made = tuple(
                Slice(name, axis, tuple(np.unique(np.concatenate(positions)).tolist()))
                for (name, axis), positions in slices[number].items()
            )
            kind = kinds[number]
            is_named = kind == "input" and met[number] < len(names)
            if made or reads[number] or is_named:
                label = (
                    names[met[number]]
                    if kind == "input" and met[number] < len(names)
                    else _label(made or [read.weight for read in reads[number]])
                )
                found.append(Channel(kind, label, made, _distinct(reads[number]), self.fixed.get(number)))
        return found

    def _kinds(self) -> list[ChannelKind]:
        kinds: list[ChannelKind] = ["unit"] * (self.classes.max(initial=-1) + 1)
        for kind in reversed(_ORDER):
            for atoms in self.notes.kinds.get(kind, []):
                for number in np.unique(self.classes[atoms]).tolist():
                    kinds[number] = kind
        return kinds

    def _fix(self, classes: Array, why: str) -> None:
        for number in np.unique(classes[classes >= 0]).tolist():
            self.fixed.setdefault(number, why)

    def _fix_strangers(self) -> None:
        """Fix channels of which a cut would also cut numbers that are not theirs."""
        for foreign in self.notes.foreign:
            classes = self._of(foreign.atoms)
            for dim in foreign.dims:
                cut = (classes.amin(dim, keepdim=True) != classes.amax(dim, keepdim=True)) & foreign.met
                self._fix(classes[cut].numpy(), foreign.why)

    def _of(self, atoms: Tensor) -> Tensor:
        return torch.from_numpy(self.classes)[atoms]

    def _placed(self, record: Attached) -> list[_Place]:
        """Return where the slices of a weight lie that belong to channels; none if it is shared by all."""
        source = record.source
        origin, classes = torch.broadcast_tensors(source.origin, self._of(record.atoms))  # type: ignore[no-untyped-call]
        own = [d for d in range(origin.ndim) if _varies(origin, d)]
        others = tuple(d for d in range(origin.ndim) if d not in own)
        low, high = (
            (classes.amin(others, keepdim=True), classes.amax(others, keepdim=True)) if others else (classes,) * 2
        )
        along = [d for d in own if _varies(low, d) or _varies(high, d)]
        if not along:
            about = [d for d in own if _size(record.atoms, d - origin.ndim) > 1]
            is_one = bool((low == high).all())
            if is_one:
                self._fix(high.unique().numpy(), f"nothing would be left of {source.name}")
            if len(about) != 1 or not is_one:
                self.unplaced |= {source.name} if about else set()
                return []
            along = about
        lines = [_line(origin, low, high, d) for d in along]
        coordinates = np.unravel_index(lines[0][0].numpy(), source.shape)
        axes = [axis for axis, at in enumerate(coordinates) if np.ptp(at)]
        if len(along) > 1 or len(axes) != 1:
            self.unplaced.add(source.name)
            self._fix(classes.unique().numpy(), f"{source.name} is laid out in another way")
            return []
        (_, lowest, highest), dim, axis = lines[0], along[0], axes[0]
        torn = (lowest != highest).numpy()
        if torn.any():
            at = torch.from_numpy(torn.nonzero()[0])
            self._fix(classes.index_select(dim, at).unique().numpy(), f"{source.name} is also used elsewhere")
        return [_Place(record, axis, coordinates[axis].astype(np.int64), highest.numpy(), dim)]


def _by_class(classes: Array) -> Iterator[tuple[int, Array]]:
    """Yield each class with its places."""
    order = np.argsort(classes, kind="stable")
    numbers, starts = np.unique(classes[order], return_index=True)
    for number, at in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
        if number >= 0:
            yield number, at


def _varies(x: Tensor, dim: int) -> bool:
    return x.stride(dim) != 0 and bool((x != x.narrow(dim, 0, 1)).any())


def _size(x: Tensor, dim: int) -> int:
    return x.shape[dim] if -dim <= x.ndim else 1


def _line(origin: Tensor, low: Tensor, high: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return along a dimension the first positions, and the least and the largest class of all the others."""
    others = tuple(d for d in range(origin.ndim) if d != dim)
    first = origin.movedim(dim, 0).reshape(origin.shape[dim], -1)[:, 0]
    least, most = (low.amin(others), high.amax(others)) if others else (low, high)
    return first, least.expand(len(first)), most.expand(len(first))


def _read(place: _Place, at: Array) -> channels.Read:
    """Return one channel's part of a reading."""
    read, source = place.record.read, place.record.source
    assert read is not None
    positions = tuple(place.positions[at].tolist())
    outputs = next((axis for axis, size in enumerate(source.shape) if axis != place.axis), 0)
    if source.origin.shape[read.outputs] > 1:
        line = source.origin.movedim(read.outputs, 0).reshape(source.origin.shape[read.outputs], -1)[:, 0]
        outputs = next(a for a, c in enumerate(np.unravel_index(line.numpy(), source.shape)) if np.ptp(c))
    rows = torch.from_numpy(at)
    known, constant = (part.movedim(place.dim, 0)[rows].flatten(1) for part in (read.known, read.constant))
    same = bool(known.all()) and bool((constant == constant[:, :1]).all())
    return channels.Read(
        Slice(source.name, place.axis, positions), read.bias, outputs, constant[:, 0] if same else None
    )


def _distinct(reads: Sequence[channels.Read]) -> tuple[channels.Read, ...]:
    """Return readings, those by the same slices once: of a layer that is used again, with one constant or none."""
    found: dict[Slice, channels.Read] = {}
    for read in reads:
        other = found.setdefault(read.weight, read)
        constants = (read.constant, other.constant)
        if any(c is None for c in constants) or not torch.equal(*constants):  # type: ignore[arg-type]
            found[read.weight] = replace(read, constant=None)
    return tuple(found.values())


def _label(slices: Sequence[Slice]) -> str:
    first = slices[0]
    module, positions = first.name.rpartition(".")[0] or first.name, first.positions
    is_run = positions == tuple(range(positions[0], positions[-1] + 1))
    at = str(positions[0]) if len(positions) == 1 else f"{positions[0]}:{positions[-1] + 1}" if is_run else ""
    return f"{module}[{at or ', '.join(map(str, positions))}]"
