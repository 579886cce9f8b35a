"""Penalties with numbers of their own for each member, on the stacked parameters.

Legend: ``K`` members, ``P`` trained numbers of one member, ``flat`` (K, P).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from meden.optim import Bound, Joint, Operand, Single, StrengthSchedule, joined, one_length, within_reach
from meden.penalties import L1, L2, ElasticNet, Number, Penalty, Scaled
from meden.training.many import stacked_settings
from meden.training.many.stacking import Layout, Stack, shaped

Values = list[list[Tensor]]
"""The numbers of each slot of a segment, (K,) or (K, *shape) each."""


@dataclass(frozen=True)
class Slot:
    """One regularizer on one segment: the first member's penalty, whose numbers each member replaces by its own."""

    number: int
    """The regularizer's place in the recipe."""
    name: str
    """Under which it knows the tensor."""
    template: Penalty
    schedule: StrengthSchedule | None

    def penalty(self, values: Sequence[Number], factor: Number) -> Penalty:
        """Return the penalty with these numbers, times the schedule's factor."""
        penalty = stacked_settings.rebuild(self.template, iter(values))
        return penalty if self.schedule is None else times(penalty, factor)

    def factor(self, step: int) -> float:
        """Return the schedule's factor at an optimizer step."""
        return 1.0 if self.schedule is None else self.schedule.factor(step)


@dataclass(frozen=True)
class Segment:
    """Columns of ``flat`` that meet the same penalties in the same way: neighbours, or those of groups."""

    coupling: str
    slots: tuple[Slot, ...]
    names: tuple[str, ...]
    """Of the parameters in it."""
    columns: slice | Tensor
    """Neighbours; or the numbers of those that groups have in several parameters, in the order of their matrix."""
    shape: torch.Size | None
    """Of the tensor; None where all penalties are separable, so that several tensors may lie side by side."""
    turned: bool
    """The tensor is a matrix that lies transposed."""
    scales: tuple[float | Tensor, ...] = ()
    """What the tensor is multiplied by in the forward pass, for each penalty whose numbers that changes."""
    rated: tuple[str | None, ...] = (None,)
    """The selectors that give it learning rates of its own; several where its parts have different ones."""

    def map(
        self,
        function: Callable[..., Tensor],
        values: Values,
        factors: Sequence[Tensor],
        *tensors: Tensor,
    ) -> Tensor:
        """Return ``function(penalties, *tensors)`` of each member, (K, columns) or (K,).

        ``tensors`` are (K, P), those after the first may be (K, 1) for a number per member.
        """

        def alone(own: Values, w: Tensor, *others: Tensor) -> Tensor:
            penalties = [s.penalty(v, f) for s, v, f in zip(self.slots, own, factors, strict=True)]
            rest = [self._shaped(part) if part.numel() > 1 else part.view(()) for part in others]
            result = function(penalties, self._shaped(w), *rest)
            return (result.mT if self.turned and result.ndim else result).flatten()

        cut = [self.cut(tensor) if tensor.shape[1] > 1 else tensor for tensor in tensors]
        return vmap(alone)(values, *cut)

    def cut(self, tensor: Tensor) -> Tensor:
        """Return the columns of the segment, of (K, P)."""
        return tensor[:, self.columns] if isinstance(self.columns, slice) else tensor.index_select(1, self.columns)

    def add_(self, tensor: Tensor, change: Tensor, *, times: int = 1) -> None:
        """Add a multiple of a change to the columns of the segment, of (K, P)."""
        if isinstance(self.columns, slice):
            tensor[:, self.columns].add_(change, alpha=times)
        else:
            tensor.index_add_(1, self.columns, change, alpha=times)

    def put_(self, tensor: Tensor, new: Tensor) -> None:
        """Write the columns of the segment, of (K, P)."""
        if isinstance(self.columns, slice):
            tensor[:, self.columns].copy_(new)
        else:
            tensor.index_copy_(1, self.columns, new)

    def common(self, numbers: Tensor) -> Tensor:
        """Return the number that all columns of the segment share, (K, 1), of (K, P); all where they share none."""
        return self.cut(numbers)[:, :1] if numbers.shape[1] > 1 and len(self.rated) == 1 else numbers

    def _shaped(self, columns: Tensor) -> Tensor:
        return columns if self.shape is None else shaped(columns, self.shape, self.turned)


def segments(bound: Sequence[Bound], stack: Stack, rated: Mapping[str, str]) -> list[Segment]:
    """Cut the columns of a stack into segments.

    ``bound`` are the first member's regularizers, ``rated`` the selectors of learning rates by name.
    """
    found: list[Segment] = []
    for coupling in ("loss", "gradient", "decoupled", "proximal"):
        of_one = [(n, b) for n, b in enumerate(bound) if b.coupling == coupling]
        for name, columns in stack.columns.items():
            acting = [(n, b) for n, b in of_one if isinstance(b.operands.get(name), Single)]
            if acting:
                slots = tuple(Slot(n, name, b.updates[name], b.regularizer.schedule) for n, b in acting)
                simple = all(_is_simple(b, name) for _, b in acting)
                shape = None if simple else stack.shapes[name]
                turned = not simple and name in stack.turned
                scales = tuple(1.0 if b.updates[name] is b.regularizer.penalty else b.scales[name] for _, b in acting)
                rates = (rated.get(name),)
                found.append(Segment(coupling, slots, (name,), columns, shape, turned, scales, rates))
        found += _of_groups(coupling, of_one, stack, rated)
    return _merged(found)


def _of_groups(
    coupling: str, bound: Sequence[tuple[int, Bound]], stack: Stack, rated: Mapping[str, str]
) -> list[Segment]:
    """Return what penalties see of groups that span tensors, after all that is on single tensors."""
    slots: dict[Hashable, list[Slot]] = {}
    joint: dict[Hashable, Joint] = {}
    for number, b in bound:
        for name, operand in b.operands.items():
            if isinstance(operand, Joint):
                joint.setdefault(operand.key, operand)
                slot = Slot(number, name, b.updates[name], b.regularizer.schedule)
                slots.setdefault(operand.key, []).append(slot)
    found = []
    for key, operand in joint.items():
        places, rates = stack.place(operand), tuple(dict.fromkeys(rated.get(name) for name in operand.params))
        columns = places.flatten().to(stack.flat.device)
        names = tuple(operand.params)
        found.append(Segment(coupling, tuple(slots[key]), names, columns, places.shape, turned=False, rated=rates))
    return found


def slot_values(members: Sequence[Sequence[Bound]], segment: Segment, like: Tensor) -> Values:
    """Return the numbers of every member's penalties on a segment; ``members`` holds the regularizers of each."""
    return [
        stacked_settings.stacked([bound[slot.number].updates[slot.name] for bound in members], like)
        for slot in segment.slots
    ]


@dataclass(frozen=True)
class PenaltyValues:
    """What the penalties of all members come to."""

    bound: Sequence[Bound]
    """The first member's regularizers."""
    layout: Layout

    def __call__(
        self, flat: Tensor, rest: Mapping[str, Tensor], values: Sequence[Values], factors: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return each regularizer's value, (K,); ``values`` and the schedules' factors (0-d) are by regularizer."""
        tensors, found = {**rest, **self.layout.views(flat)}, []  # penalties may be on frozen tensors
        for bound, own, factor in zip(self.bound, values, factors, strict=True):
            total = torch.zeros_like(flat[:, 0])
            for (name, operand), numbers in zip(bound.operands.items(), own, strict=True):
                scale = None if bound.regularizer.schedule is None else factor
                value = functools.partial(_value, bound.penalties[name], scale)
                total = total + vmap(value)(numbers, seen(operand, tensors))
            found.append(total)
        return tuple(found)


def _value(template: Penalty, scale: Number | None, numbers: Sequence[Number], w: Tensor) -> Tensor:
    penalty = stacked_settings.rebuild(template, iter(numbers))
    return (penalty if scale is None else Scaled(penalty, scale)).value(w)


def penalty_numbers(members: Sequence[Sequence[Bound]], like: Tensor) -> list[Values]:
    """Return the numbers of every member's penalties, for :class:`PenaltyValues`; ``members`` as in `slot_values`."""
    return [
        [
            stacked_settings.stacked([bound[number].penalties[name] for bound in members], like)
            for name in first.operands
        ]
        for number, first in enumerate(members[0])
    ]


def seen(operand: Operand, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return what a penalty sees as one tensor of each member, of tensors (K, *shape) by name."""
    return vmap(operand.pick)({name: tensors[name] for name in operand.params})


def value(penalties: Sequence[Penalty], w: Tensor) -> Tensor:
    """Return the sum of the penalties' values."""
    return torch.stack([penalty.value(w) for penalty in penalties]).sum()


def gradient(penalties: Sequence[Penalty], w: Tensor) -> Tensor:
    """Return the sum of the penalties' gradients."""
    total, *rest = (penalty.grad(w) for penalty in penalties)
    return sum(rest, start=total)


def decay(penalties: Sequence[Penalty], w: Tensor, lr: Tensor) -> Tensor:
    """Return how far w <- w - lr grad(w), for one penalty after the other, moves w."""
    first, *rest = penalties
    moved = times(first, lr).grad(w)
    for penalty in rest:
        moved = moved + times(penalty, lr).grad(w - moved)
    return moved


def times(penalty: Penalty, factor: Number) -> Penalty:
    """Return a multiple of a penalty; for the usual ones no larger tensor needs to be multiplied."""
    if isinstance(penalty, L1 | L2 | ElasticNet):
        return penalty.replace({"strength": penalty.strength * factor})
    return Scaled(penalty, factor)


def shrink(penalties: list[Penalty], w: Tensor, step: Tensor, rate: Tensor | None = None) -> Tensor:
    """Return w after the proximal steps, joined where the prox of the sum is known."""
    for penalty in joined(penalties):
        w = within_reach(penalty.prox(w, step if penalty.metric else one_length(step)), w, rate, penalty)
    return w


def _is_simple(bound: Bound, name: str) -> bool:
    """Say whether a penalty acts on each number of a tensor by itself, and on all alike."""
    penalty = bound.updates[name]
    numbers: list[Any] = stacked_settings.numbers(penalty)
    return penalty.separable and not bound.starts and not any(isinstance(n, Tensor) and n.ndim for n in numbers)


def _merged(found: Sequence[Segment]) -> list[Segment]:
    """Join neighbours that are separable, under the same regularizers, and of one learning rate."""
    merged: list[Segment] = []
    for segment in found:
        last = merged[-1] if merged else None
        if last is not None and _key(last) == _key(segment) and (columns := _neighbours(last, segment)):
            merged[-1] = dataclasses.replace(last, names=last.names + segment.names, columns=columns)
        else:
            merged.append(segment)
    return merged


def _key(segment: Segment) -> tuple[object, ...]:
    """Return what segments that may be joined agree in; tensors of a shape of their own are joined with nothing."""
    slots = [slot.number for slot in segment.slots]
    return segment.coupling, slots, segment.scales, segment.rated, segment.shape is None or segment.names


def _neighbours(one: Segment, other: Segment) -> slice | None:
    """Return the columns of both, if the second's follow those of the first."""
    a, b = one.columns, other.columns
    return slice(a.start, b.stop) if isinstance(a, slice) and isinstance(b, slice) and a.stop == b.start else None
