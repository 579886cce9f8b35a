"""Which channels leave a model: those that nothing reads, or that all that reads them can take for a number.

At first all that may leave is taken for leaving, and what is still read is put back until nothing changes: so units
that only read each other, as those of a recurrent layer do, leave together. Of a layer that would lose all, one channel
is left as an *idle* one, of zeros.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from types import MappingProxyType
from typing import Literal

from torch import Tensor, nn

from meden._checks import InputError
from meden.edits.folding import columns, computed_rows, folded, why_not_folded
from meden.edits.gather import entrance
from meden.edits.layers import HEADS, must_stay
from meden.edits.names import Names, Place
from meden.structure import Channel, Read, Slice, Structure

Inputs = Literal["gather", "columns", "keep"]
"""What becomes of inputs that nothing reads: those that are read are picked, the model takes fewer, or all stay."""


@dataclass(frozen=True, eq=False)
class Leaving:
    """What leaves a model, and what stays although nothing would miss it."""

    names: Names
    channels: tuple[Channel, ...]
    idle: tuple[Channel, ...]
    """What is left, as zeros, of a layer that would lose all."""
    stay: Mapping[str, str]
    """Labels of channels that nothing reads and that stay all the same, and why."""
    positions: Mapping[Place, tuple[int, ...]]
    """What leaves of each tensor along each axis, in ascending order."""
    inputs: Inputs

    def heads(self, channels: Iterable[Channel]) -> dict[str, tuple[int, int]]:
        """Return how many of the heads are left, and how many there were, by the layer that counts them."""
        gone, counts = {channel.label for channel in self.channels}, dict[str, tuple[int, int]]()
        for channel in channels:
            owner = _counting(channel, self.names.model) if channel.kind == "head" else None
            if owner is not None:
                left, before = counts.get(owner, (0, 0))
                counts[owner] = left + (channel.label not in gone), before + 1
        return {owner: (left, before) for owner, (left, before) in counts.items() if left < before}

    def picked(self) -> dict[str, tuple[int, ...]]:
        """Return the positions that layers pick of their own inputs, from which those that left otherwise are gone."""
        if self.inputs != "gather":
            return {}
        by_input: dict[str, set[int]] = defaultdict(set)
        for channel in (channel for channel in self.channels if channel.kind == "input"):
            for read in channel.reads:
                by_input[self.names.first[read.weight.name].rpartition(".")[0]].update(read.weight.positions)
        found = {}
        for owner, gone in by_input.items():
            where = entrance(self.names.model.get_submodule(owner))
            assert where is not None
            name = self.names.first[f"{owner}.{where.weight}".lstrip(".")]
            others = set(self.positions[name, where.columns]) - gone
            there = [at for at in range(self.names.tensors[name].shape[where.columns]) if at not in others]
            found[owner] = tuple(i for i, at in enumerate(there) if at not in gone)
        return found

    def values(self, tensors: Mapping[str, Tensor], new: Sequence[str] = ()) -> dict[str, Tensor]:
        """Return the tensors whose numbers change, of the shapes that they have before they are cut.

        These are the biases that take over what constant channels gave, new ones with them, and what idle channels
        were computed by.

        Args:
            tensors: of the model's shapes, such as its own or an average of them, by their first names.
            new: biases that come into being in any case.
        """
        values = folded((*self.channels, *self.idle), self.names, tensors, new)
        for part in (part for channel in self.idle for part in parts_of(channel)):
            name, axis = self.names.place(part)
            if isinstance(self.names.tensors[name], nn.Parameter):
                values[name] = values.get(name, tensors[name]).detach().clone()
                values[name].movedim(axis, 0)[list(part.positions)] = 0
        return values


def what_leaves(
    model: nn.Module, structure: Structure, *, inputs: Inputs, stay: Mapping[str, str] = MappingProxyType({})
) -> Leaving:
    """Decide what leaves.

    Args:
        model: its weights decide.
        structure: of the model.
        inputs: whether inputs leave, and whether with what scales them or picked where they are read.
        stay: labels of channels that stay in any case, and why.

    Raises:
        InputError: if all inputs would leave.
    """
    names = Names(model)
    channels = structure.channels
    if inputs == "gather":
        channels = tuple(_picked_where_read(c, names) if c.kind == "input" else c for c in channels)
    search = _Search(names, channels)
    search.put_back({i: c.fixed for i, c in enumerate(channels) if c.fixed is not None})
    search.put_back({i: stay[c.label] for i, c in enumerate(channels) if c.label in stay})
    if inputs == "keep":
        search.put_back({i: None for i, c in enumerate(channels) if c.kind == "input"})
    while search.put_back(search.still_read()) or search.put_back(search.torn()) or search.spare():
        pass
    _check_inputs(channels, search.leaving)
    leaving = sorted(search.leaving)
    gone = tuple(channels[i] for i in leaving if i not in search.idle)
    idle = tuple(channels[i] for i in leaving if i in search.idle)
    return Leaving(names, gone, idle, search.reasons(), search.positions(), inputs)


def _picked_where_read(channel: Channel, names: Names) -> Channel:
    """Return an input that leaves only those that read it; it stays if it cannot be picked in front of them."""
    for read in channel.reads:
        owner, _, leaf = names.first[read.weight.name].rpartition(".")
        where = entrance(names.model.get_submodule(owner))
        leaf = leaf.removesuffix("_reverse")
        if where is None or (leaf, read.weight.axis) != (where.weight, where.columns):
            why = f"in front of {owner} ({type(names.model.get_submodule(owner)).__name__}) no inputs can be selected"
            return replace(channel, slices=(), fixed=channel.fixed or why)
    return replace(channel, slices=())


class _Search:
    """What is left of the channels that may leave."""

    def __init__(self, names: Names, channels: tuple[Channel, ...]) -> None:
        self.names, self.channels = names, channels
        self.leaving, self.idle = set(range(len(channels))), set[int]()
        self.why: dict[int, str | None] = {}
        cache: dict[tuple[Place, int], Tensor] = {}
        self.live = [[_live_rows(read, names, cache) for read in c.reads] for c in channels]
        self.shared: dict[tuple[Place, int], set[int]] = defaultdict(set)
        for i, channel in enumerate(channels):
            for place, position in _positions(channel, names):
                self.shared[place, position].add(i)

    def put_back(self, back: Mapping[int, str | None]) -> bool:
        """Let channels stay, for the reasons given; None is an ordinary one."""
        back = {i: why for i, why in back.items() if i in self.leaving}
        self.leaving -= back.keys()
        self.idle -= back.keys()
        self.why.update(back)
        return bool(back)

    def reasons(self) -> dict[str, str]:
        """Return why those channels stay that nothing would miss."""
        unread = [bool(live) and not any(live) for live in self.live]
        told = {i: why for i, why in sorted(self.why.items()) if why and (unread[i] or not self.channels[i].fixed)}
        return {self.channels[i].label: why for i, why in told.items()}

    def still_read(self) -> dict[int, str | None]:
        """Return what is read by something that stays, and is no constant that a bias could take over."""
        rows = computed_rows(self.names, [self.channels[i] for i in self.leaving])
        back: dict[int, str | None] = {}
        for i in self.leaving:
            for read, live in zip(self.channels[i].reads, self.live[i], strict=True):
                if live - rows[self.names.place(read.weight)[0], read.outputs]:
                    if read.constant is None:
                        back[i] = None
                        break
                    if why := why_not_folded(read, self.channels[i], self.names):
                        back[i] = why
        return back

    def torn(self) -> dict[int, str | None]:
        """Return what shares a slice with what stays, or what its layer cannot lose."""
        back: dict[int, str | None] = {
            i: "it shares tensors with something that stays"
            for owners in self.shared.values()
            if not owners <= self.leaving
            for i in owners & self.leaving
        }
        gone = self.positions()
        for owner, module in self.names.modules_of([place for place, at in gone.items() if at]).items():
            lost = partial(self._lost, gone, owner)
            for leaf, axis, positions, alone in must_stay(module, lost):
                place = (self.names.first[f"{owner}.{leaf}".lstrip(".")], axis)
                why = f"{owner} ({type(module).__name__}) {alone}"
                back.update({i: why for position in positions for i in self.shared[place, position]})
        return back

    def _lost(self, gone: Mapping[Place, tuple[int, ...]], owner: str, leaf: str, axis: int) -> tuple[int, ...]:
        name = self.names.first.get(f"{owner}.{leaf}".lstrip("."))
        return () if name is None else gone.get((name, axis), ())

    def spare(self) -> bool:
        """Leave one channel, idle, of a tensor that would lose all; say whether there is one."""
        for place, at in self.positions().items():
            if len(at) == self.names.tensors[place[0]].shape[place[1]]:
                spared = min(self.shared[place, at[0]])
                self.idle.add(spared)
                return True
        return False

    def positions(self) -> dict[Place, tuple[int, ...]]:
        """Return what leaves of each tensor along each axis."""
        found: dict[Place, set[int]] = defaultdict(set)
        for i in self.leaving - self.idle:
            for place, position in _positions(self.channels[i], self.names):
                found[place].add(position)
        return {place: tuple(sorted(found[place])) for place in sorted(found)}


def parts_of(channel: Channel) -> Iterator[Slice]:
    """Yield all slices of tensors that leave with a channel."""
    yield from channel.slices
    yield from (read.weight for read in channel.reads)


def _positions(channel: Channel, names: Names) -> Iterator[tuple[Place, int]]:
    for part in parts_of(channel):
        yield from ((names.place(part), position) for position in part.positions)


def _live_rows(read: Read, names: Names, cache: dict[tuple[Place, int], Tensor]) -> set[int]:
    """Return the outputs of an operation into which a channel goes with weights other than zero."""
    place = names.place(read.weight)
    key = (place, read.outputs)
    if key not in cache:
        weight = names.tensors[place[0]].detach()
        cache[key] = columns(weight, place[1], read.outputs).ne(0).any(-1)
    return set(cache[key][list(read.weight.positions)].any(0).nonzero().flatten().tolist())


def _counting(channel: Channel, model: nn.Module) -> str | None:
    """Return the innermost layer around a head's slices that counts heads."""
    owners = [part.name.split(".")[:-1] for part in channel.slices]
    same = takewhile(lambda parts: len(set(parts)) == 1, zip(*owners, strict=False))
    common = [parts[0] for parts in same]
    for depth in range(len(common), -1, -1):
        name = ".".join(common[:depth])
        if any(isinstance(getattr(model.get_submodule(name), count, None), int) for count in HEADS):
            return name
    return None


def _check_inputs(channels: tuple[Channel, ...], leaving: Set[int]) -> None:
    inputs = [i for i, channel in enumerate(channels) if channel.kind == "input"]
    if inputs and leaving >= set(inputs):
        raise InputError(
            "model must depend on at least one of its inputs to be compacted, got a constant output for all "
            f'{len(inputs)} inputs; inputs="keep" keeps them all'
        )
