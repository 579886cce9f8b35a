"""Updates of tensors that are spread over ranks: each rank does the plain mathematics on whole pieces.

What a penalty must see together (nothing, groups, all of a matrix) is brought together on one rank, which groups and
matrices are shared out over, and goes back where it was: two collectives for all the tensors of a step, none for those
whose pieces are whole where they are.

Legend: W ranks hold a tensor between them, rank r the coordinates ``bounds[r]`` to ``bounds[r + 1]`` along ``axis``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from meden.penalties import Groups, Number, Penalty
from meden.penalties.sharding import is_spread, local
from meden.penalties.together import together

_AT_ONCE = 2**24
"""Coordinates for each rank that are brought together at once, at least one tensor: a bound on memory."""


class Task(NamedTuple):
    """One tensor that penalties change."""

    penalties: Sequence[Penalty]
    target: Tensor
    """What is changed, in place."""
    others: tuple[Number | None, ...]
    """What the change depends on: numbers, and tensors of the target's shape that are spread like it."""


Act = Callable[..., None]
"""Is called with the penalties, the target and the others, which are plain tensors; changes the target."""


def act_on_each(tasks: Iterable[Task], act: Act) -> None:
    """Do each task, on every rank where it is about sharded tensors, which all ranks must hand over alike.

    Plain tensors are acted on as they are. Of a DTensor that is sharded along one axis of its mesh, and replicated
    along the others, ``act`` sees plain tensors: whole pieces of it, with the same piece of every tensor that belongs
    to it (those that penalties hold included), and none (a size of 0) on a rank that has no piece. One that is spread
    in another way is gathered: all of it is acted on everywhere.
    """
    far: dict[Any, list[_Sharded]] = {}
    for task in tasks:
        if not is_spread(task.target):
            act(task.penalties, task.target, *task.others)
        elif (sharded := _sharded(task)) is None:
            _act_on_whole(task, act)
        elif sharded.is_whole_here:
            act(*sharded.arguments(sharded.local))
        else:
            far.setdefault(sharded.company, []).append(sharded)
    for alike in far.values():
        for batch in _batches(alike):
            _act_elsewhere(batch, act)


class _Cut(NamedTuple):
    """How a tensor is spread over ranks."""

    axis: int
    bounds: tuple[int, ...]

    def of(self, x: Tensor, rank: int) -> Tensor:
        """Return what ``rank`` has of a whole tensor."""
        return x.narrow(self.axis, self.bounds[rank], self.bounds[rank + 1] - self.bounds[rank])

    def shared_with(self, x: Tensor, rank: int, other: _Cut) -> list[Tensor]:
        """Return, for each rank, what it has under another cut of ``x``, which is what ``rank`` has under this one."""
        offset, end = 0, self.bounds[-1] + other.bounds[-1]
        if self.axis == other.axis:
            offset, end = self.bounds[rank], self.bounds[rank + 1]
        views = []
        for low, high in itertools.pairwise(other.bounds):
            low, high = max(low, offset), min(high, end)
            views.append(x.narrow(other.axis, low - offset if high > low else 0, max(high - low, 0)))
        return views


@dataclass(frozen=True)
class _Sharded:
    """A task on a DTensor that is sharded along one axis of its mesh, or not at all."""

    task: Task
    local: Sequence[Tensor]
    """This rank's shards of the target, of the others that are tensors, of the tensors that penalties hold."""
    shape: torch.Size
    """Of the target as a whole."""
    pieces: Groups | None
    cut: _Cut | None
    group: dist.ProcessGroup | None
    rank: int

    @property
    def is_whole_here(self) -> bool:
        """Whether each piece is on one rank already."""
        if self.pieces is None or self.cut is None or self.group is None:
            return True
        is_along = self.pieces.axis == self.cut.axis and not any(b % self.pieces.block for b in self.cut.bounds)
        return is_along or len(self.cut.bounds) == 2

    @property
    def company(self) -> tuple[Any, ...]:
        """What tensors have in common that travel together."""
        return self.group, self.local[0].dtype, self.local[0].device

    @property
    def is_one_piece(self) -> bool:
        """Whether one rank must have all of it."""
        return self.pieces is not None and self.pieces.block >= self.shape[self.pieces.axis]

    def gathered(self, owner: int) -> _Cut:
        """Return the cut into whole pieces: the nearest to what is there, or ``owner`` has all of a single piece."""
        assert self.pieces is not None and self.cut is not None
        axis, block = self.pieces.axis, self.pieces.block
        size, world = self.shape[axis], len(self.cut.bounds) - 1
        if self.is_one_piece:
            return _Cut(self.cut.axis, tuple(self.shape[self.cut.axis] * (r > owner) for r in range(world + 1)))
        if axis == self.cut.axis:
            return _Cut(axis, tuple(min(block * round(b / block), size) for b in self.cut.bounds))
        return _Cut(axis, tuple(block * (size // block * r // world) for r in range(world + 1)))

    def arguments(self, tensors: Sequence[Tensor], cut: _Cut | None = None) -> tuple[Any, ...]:
        """Return what the action is called with, if ``tensors`` stand for :attr:`local`, under a cut."""
        cut = cut or self.cut
        it = iter(tensors[1:])
        others = tuple(next(it) if _has_axes(x) else x for x in self.task.others)

        def at_hand(_name: str, value: Any) -> Any:
            if not _has_axes(value):
                return local(value)
            if is_spread(value):
                return next(it)
            return value if cut is None else cut.of(value.expand(self.shape), self.rank)

        return [penalty.changed(at_hand) for penalty in self.task.penalties], tensors[0], *others


def _sharded(task: Task) -> _Sharded | None:
    """Return a task on a DTensor as one on shards, or None where that is spread in another way."""
    from torch.distributed.tensor import Replicate, Shard  # a slow import, done already where there are DTensors

    w: Any = task.target
    pieces = together(task.penalties, w.shape)
    split = [i for i, p in enumerate(w.placements) if not isinstance(p, Replicate)]
    is_partial = any(p.is_partial() for p in w.placements)
    if not split or (pieces is None and not is_partial and all(map(is_spread, held(task.penalties)))):
        return _Sharded(task, [_like(x, w) for x in _tensors(task)], w.shape, None, None, None, 0)
    (mesh_dim, *more), mesh = split, w.device_mesh
    placement = w.placements[mesh_dim]
    if more or type(placement) is not Shard:
        return None
    tensors = [_like(x, w) for x in _tensors(task)]
    axis, world = placement.dim % w.ndim, mesh.size(mesh_dim)
    each = -(-w.shape[axis] // world)
    cut = _Cut(axis, tuple(min(r * each, w.shape[axis]) for r in range(world + 1)))
    return _Sharded(task, tensors, w.shape, pieces, cut, mesh.get_group(mesh_dim), mesh.get_local_rank(mesh_dim))


def _act_on_whole(task: Task, act: Act) -> None:
    """Act on all of a DTensor on each rank."""
    from torch.distributed.tensor import DTensor, Replicate

    w: Any = task.target
    mesh, everywhere = w.device_mesh, [Replicate()] * w.device_mesh.ndim
    spread = [
        x
        if is_spread(x)
        else DTensor.from_local(x, mesh, w.placements, run_check=False, shape=w.shape, stride=w.stride())
        for x in _tensors(task)
    ]
    tensors = [x.full_tensor() for x in spread]
    act(*_Sharded(task, tensors, w.shape, None, None, None, 0).arguments(tensors))
    whole = DTensor.from_local(tensors[0], mesh, everywhere, run_check=False)
    local(w).copy_(local(whole.redistribute(placements=w.placements)))


def _tensors(task: Task) -> list[Any]:
    """Return what is spread over the ranks: the target, what it depends on, and what penalties hold."""
    return [task.target, *filter(_has_axes, task.others), *filter(is_spread, held(task.penalties))]


def held(penalties: Sequence[Penalty]) -> list[Tensor]:
    """Return the tensors that penalties hold, but for single numbers."""
    found: list[Tensor] = []

    def note(_name: str, value: Any) -> Any:
        if _has_axes(value):
            found.append(value)
        return value

    for penalty in penalties:
        penalty.changed(note)
    return found


def _like(x: Any, w: Any) -> Tensor:
    """Return this rank's part of a tensor that is spread like ``w``, or is made so."""
    if is_spread(x) and tuple(x.placements) != tuple(w.placements):
        x = x.redistribute(w.device_mesh, w.placements)
    return local(x)  # type: ignore[no-any-return]


def _has_axes(x: Any) -> bool:
    return isinstance(x, Tensor) and x.ndim > 0


def _batches(sharded: Sequence[_Sharded]) -> Iterator[list[_Sharded]]:
    batch: list[_Sharded] = []
    size = 0
    for one in sharded:
        assert one.cut is not None
        own = one.shape.numel() // (len(one.cut.bounds) - 1)
        if batch and size + own > _AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += own
    yield batch


def _act_elsewhere(batch: Sequence[_Sharded], act: Act) -> None:
    """Act on the pieces of tensors where they are brought together, and bring the targets back."""
    group, rank = batch[0].group, batch[0].rank
    there: list[tuple[_Sharded, _Cut, list[Tensor]]] = []
    sent, received = [], []
    for one, owner in zip(batch, _owners(batch), strict=True):
        assert one.cut is not None
        cut = one.gathered(owner)
        sizes = list(one.shape)
        sizes[cut.axis] = cut.bounds[rank + 1] - cut.bounds[rank]
        tensors = [x.new_empty(sizes) for x in one.local]
        sent += [one.cut.shared_with(x, rank, cut) for x in one.local]
        received += [cut.shared_with(x, rank, one.cut) for x in tensors]
        there.append((one, cut, tensors))
    _exchange(sent, received, group, rank)
    for one, cut, tensors in there:
        act(*one.arguments(tensors, cut))
    back = [cut.shared_with(tensors[0], rank, one.cut) for one, cut, tensors in there if one.cut]
    home = [one.cut.shared_with(one.local[0], rank, cut) for one, cut, _ in there if one.cut]
    _exchange(back, home, group, rank)


def _owners(batch: Sequence[_Sharded]) -> list[int]:
    """Return for each tensor the rank that has the least to do as yet, the dearest first; as for singular values."""
    assert batch[0].cut is not None
    load = [0] * (len(batch[0].cut.bounds) - 1)
    costs = [one.shape.numel() * min(one.shape[0], math.prod(one.shape[1:])) * one.is_one_piece for one in batch]
    owners = [0] * len(batch)
    for i in sorted(range(len(batch)), key=lambda i: -costs[i]):
        owners[i] = load.index(min(load))
        load[owners[i]] += costs[i]
    return owners


def _exchange(
    sent: Sequence[Sequence[Tensor]], received: Sequence[Sequence[Tensor]], group: dist.ProcessGroup | None, rank: int
) -> None:
    """Copy ``sent[k][r]`` of each rank to where rank r has it in its ``received[k]``: one collective."""
    ranks = range(len(sent[0]))
    out = torch.cat([views[r].reshape(-1) for r in ranks if r != rank for views in sent])
    sizes = [[sum(views[r].numel() for views in side) * (r != rank) for r in ranks] for side in (received, sent)]
    flat = out.new_empty(sum(sizes[0]))
    dist.all_to_all_single(flat, out, sizes[0], sizes[1], group=group)
    for own, views in zip(sent, received, strict=True):
        views[rank].copy_(own[rank])
    places: list[Tensor] = [views[r] for r in ranks if r != rank for views in received]
    for place, part in zip(places, torch.split(flat, [place.numel() for place in places]), strict=True):
        place.copy_(part.view(place.shape))
