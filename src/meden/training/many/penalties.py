"""Penalties with numbers of their own for each member, on the stacked parameters.

Legend: ``K`` members, ``P`` trained numbers of one member, ``flat`` (K, P).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from meden.optim import Bound, StrengthSchedule, joined, one_length, within_reach
from meden.penalties import L1, L2, ElasticNet, Number, Penalty, Scaled
from meden.training.many import stacked_settings
from meden.training.many.stacking import Stack, shaped

Values = list[list[Tensor]]
"""The numbers of each slot of a segment, (K,) or (K, *shape) each."""


@dataclass(frozen=True)
class Slot:
    """One regularizer on one segment: the first member's penalty, whose numbers each member replaces by its own."""

    number: int
    """The regularizer's place in the recipe."""
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
    """Neighbouring columns of ``flat`` that meet the same penalties in the same way."""

    coupling: str
    slots: tuple[Slot, ...]
    columns: slice
    shape: torch.Size | None
    """Of the tensor; None where all penalties are separable, so that several tensors may lie side by side."""
    turned: bool
    """The tensor is a matrix that lies transposed."""
    scales: tuple[float, ...] = ()
    """What the tensor is multiplied by in the forward pass, for each penalty whose numbers that changes."""
    rated: str | None = None
    """The selector that gives all of it a learning rate of its own."""

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

        cut = [tensor[:, self.columns] if tensor.shape[1] > 1 else tensor for tensor in tensors]
        return vmap(alone)(values, *cut)

    def common(self, numbers: Tensor) -> Tensor:
        """Return the number that all columns of the segment share, (K, 1), of (K, P); or (K, 1) as it is."""
        return numbers[:, self.columns.start, None] if numbers.shape[1] > 1 else numbers

    def _shaped(self, columns: Tensor) -> Tensor:
        return columns if self.shape is None else shaped(columns, self.shape, self.turned)


def segments(bound: Sequence[Bound], stack: Stack, rated: Mapping[str, str]) -> list[Segment]:
    """Cut the columns of a stack into segments.

    ``bound`` are the first member's regularizers, ``rated`` the selectors of learning rates by name.
    """
    found: list[Segment] = []
    for coupling in ("loss", "gradient", "decoupled", "proximal"):
        for name, columns in stack.columns.items():
            acting = [(n, b) for n, b in enumerate(bound) if b.coupling == coupling and name in b.params]
            if acting:
                slots = tuple(Slot(n, b.updates[name], b.regularizer.schedule) for n, b in acting)
                simple = all(_is_simple(b, name) for _, b in acting)
                shape = None if simple else stack.shapes[name]
                turned = not simple and name in stack.turned
                scales = tuple(1.0 if b.updates[name] is b.regularizer.penalty else b.scales[name] for _, b in acting)
                found.append(Segment(coupling, slots, columns, shape, turned, scales, rated.get(name)))
    return _merged(found)


def slot_values(members: Sequence[Sequence[Bound]], segment: Segment, stack: Stack) -> Values:
    """Return the numbers of every member's penalties on a segment; ``members`` holds the regularizers of each."""
    name = next(n for n, columns in stack.columns.items() if columns.start == segment.columns.start)
    return [
        stacked_settings.stacked([bound[slot.number].updates[name] for bound in members], stack.flat)
        for slot in segment.slots
    ]


def values_of(penalties: Sequence[Penalty], w: Tensor) -> Tensor:
    """Return the value of each member's penalty on its own tensor, (K,); ``w`` is (K, *shape)."""
    template = penalties[0]
    return vmap(lambda own, part: stacked_settings.rebuild(template, iter(own)).value(part))(
        stacked_settings.stacked(penalties, w), w
    )


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
        if last is not None and _key(last) == _key(segment) and last.columns.stop == segment.columns.start:
            merged[-1] = dataclasses.replace(last, columns=slice(last.columns.start, segment.columns.stop))
        else:
            merged.append(segment)
    return merged


def _key(segment: Segment) -> tuple[object, ...]:
    """Return what segments that may be joined agree in; tensors of a shape of their own are joined with nothing."""
    slots = [slot.number for slot in segment.slots]
    return segment.coupling, slots, segment.scales, segment.rated, segment.shape is None or segment.columns
