"""One training step, and one evaluation, of K members: functions of tensors, to be recorded.

Legend: ``K`` members, ``P`` trained numbers of one, ``B`` rows of a batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from meden.data.targets import Task
from meden.noise import PassDraws, Seeded, stream
from meden.objective import mean_of, row_loss, row_score
from meden.rdrop import fitting_losses
from meden.training.many import penalties as stacked_penalties
from meden.training.many.augment import Augmenting
from meden.training.many.batches import Entrant, taken
from meden.training.many.layers import plain_layers
from meden.training.many.penalties import Segment, Values
from meden.training.many.stacking import Layout
from meden.training.many.updates import State, Update

AVERAGE = "average"
"""Where the state holds the averaged weights, (K, P), if the recipes average."""


class Constants(NamedTuple):
    """What stays the same from step to step."""

    x: Tensor
    """(n, ...): all rows."""
    y: Tensor
    """(n, ...)"""
    momentum: Tensor
    """(K, 1)"""
    clip: Tensor
    """(K, 1)"""
    lr_factors: list[Tensor]
    """(K, P): what each number's learning rate is multiplied by; none where all are 1."""
    values: list[Values]
    """The penalties' numbers, by segment."""
    augment: list[list[Tensor]]
    """The augmentations' numbers, (K,) each."""
    keys: Tensor
    """(K,): the random streams of the augmentations."""
    streams: Tensor
    """(K,): those of what is drawn in forward passes."""
    rdrop: list[Tensor]
    """(K,): how much the divergence of two passes counts; none where there is one pass."""


class Batch(NamedTuple):
    """What a step is given; those of several steps are laid out along another first axis."""

    rows: Tensor
    """(K, B)"""
    weights: Tensor
    """(K, B): 0 for rows that only fill up."""
    lr: Tensor
    """(K, 1)"""
    factors: list[list[Tensor]]
    """The factors of the strengths' schedules, by segment and slot, 0-d."""
    step: Tensor
    """0-d: optimizer steps done."""
    blend: Tensor
    """(K, 1): how far the averages move to the weights."""


@dataclass(frozen=True)
class Step:
    """What all members of a stack have in common; calling it takes one step of each, in place."""

    skeleton: nn.Module
    task: Task
    layout: Layout
    augmenting: Augmenting
    update: Update
    segments: Sequence[Segment]
    clips: bool
    idle: Tensor | None
    """(P,): which numbers are idle; None if none is."""

    def __call__(
        self, flat: Tensor, rest: dict[str, Tensor], state: State, g: Tensor, constants: Constants, batch: Batch
    ) -> tuple[Tensor, ...]:
        """Take the step; ``g`` (K, P) receives the gradient, and is returned."""
        self.skeleton.train()
        x, y = taken(constants.x, batch.rows), taken(constants.y, batch.rows)
        x, y = self.augmenting(x, y, constants.augment, constants.keys, batch.step)
        acting = functools.partial(self._acting, values=constants.values, factors=batch.factors)
        views = self.layout.views(flat)
        found = self.gradients(views, rest, x, y, batch.weights, constants.streams, batch.step, constants.rdrop)
        torch.cat(self.layout.join(self._filled(found, views)), dim=1, out=g)
        if self.idle is not None:
            g.masked_fill_(self.idle, 0.0)
        for segment, own, factor in acting("loss"):
            value = functools.partial(segment.map, stacked_penalties.value, own, factor)
            g.add_(gradient(value, flat))
        if self.clips:
            g.mul_((constants.clip / (g.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1.0))
        for segment, own, factor in acting("gradient"):
            segment.add_(g, segment.map(stacked_penalties.gradient, own, factor, flat))
        lr = functools.reduce(torch.mul, constants.lr_factors, batch.lr)
        for segment, own, factor in acting("decoupled"):
            moved = segment.map(stacked_penalties.decay, own, factor, flat, segment.common(lr))
            segment.add_(flat, moved, times=-1)
        self.update.apply(flat, g, state, lr, constants.momentum)
        if proximal := acting("proximal"):
            length = self.update.length(state, lr, constants.momentum)
            for segment, own, factor in proximal:
                own_length = length if self.update.recipe.adaptive else segment.common(length)
                rates = self.update.full_rates(segment.common(lr), constants.momentum)
                shrunk = segment.map(stacked_penalties.shrink, own, factor, flat, own_length, *rates)
                segment.put_(flat, shrunk)
        if AVERAGE in state:
            state[AVERAGE].lerp_(flat, batch.blend)
        return (g,)

    def gradients(
        self,
        params: Mapping[str, Tensor],
        rest: dict[str, Tensor],
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        streams: Tensor,
        step: Tensor,
        rdrop: list[Tensor],
    ) -> dict[str, Tensor | None]:
        """Return the gradients of the data losses, (K, *shape); None for what has no part in them."""
        losses = vmap(self._loss, in_dims=(0, 0, 0, 0, 0, 0, None, 0))
        own = rest, x, y, weights, streams, step, rdrop
        found: dict[str, Tensor | None] = gradient(lambda w: losses(w, *own), params)
        return found

    def _loss(
        self,
        params: Any,
        rest: Any,
        x: Tensor,
        y: Tensor,
        weights: Tensor,
        stream: Tensor,
        step: Tensor,
        rdrop: Sequence[Tensor],
    ) -> Tensor:
        def forward(draws: PassDraws | None) -> Tensor:
            assert draws is not None
            return _outputs(self.skeleton, params, rest, x, draws)

        share = rdrop[0] if rdrop else None
        losses = fitting_losses(self.task, forward, y, PassDraws(stream, step), rdrop=share)
        return mean_of(self.task, losses, y, weights)

    def _filled(self, found: Mapping[str, Tensor | None], views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return gradients, zeros for what has none."""
        for name, found_of in found.items():
            if found_of is None and any(name in segment.names for segment in self.segments):
                raise ValueError(f"'{name}' gets no gradient, and is left as it is in a model by itself")
        return {name: torch.zeros_like(views[name]) if part is None else part for name, part in found.items()}

    def _acting(
        self, coupling: str, values: Sequence[Values], factors: Sequence[list[Tensor]]
    ) -> list[tuple[Segment, Values, list[Tensor]]]:
        parts = zip(self.segments, values, factors, strict=True)
        return [(segment, own, factor) for segment, own, factor in parts if segment.coupling == coupling]


@dataclass(frozen=True)
class Evaluation:
    """The loss and score of rows, for each member."""

    skeleton: nn.Module
    task: Task
    layout: Layout

    def __call__(self, flat: Tensor, rest: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses and scores, (K, B) each; ``x`` and ``y`` are (K, B, ...)."""
        self.skeleton.eval()
        return vmap(self._rows)(self.layout.views(flat), rest, x, y)

    def _rows(self, params: Any, rest: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        outputs = _outputs(self.skeleton, params, rest, x, PassDraws(None, torch.tensor(0)))
        return row_loss(self.task, outputs, y), row_score(self.task, outputs, y)


def gradient(values: Callable[[Any], Tensor], at: Any) -> Any:
    """Return the gradient of the sum of some values by each of a nest of tensors, None for those that have no part.

    It is autograd's, outside of vmap: its backward pass is recorded in fewer operations than that of ``torch.func``.
    """
    leaves, nest = pytree.tree_flatten(at)
    points = [leaf.detach().requires_grad_() for leaf in leaves]
    with torch.enable_grad():
        total = values(pytree.tree_unflatten(points, nest)).sum()
    found = torch.autograd.grad(total, points, allow_unused=True)
    return pytree.tree_unflatten(found, nest)


def forward_streams(entrants: Sequence[Entrant]) -> Tensor:
    """Return the random streams of the members' forward passes, (K,): those of a model by itself."""
    return torch.stack([stream(entrant.seed, "forward") for entrant in entrants])


def _outputs(skeleton: nn.Module, params: Any, rest: Any, x: Tensor, draws: PassDraws) -> Tensor:
    with plain_layers(x.device), Seeded(draws):
        return functional_call(skeleton, (params, rest), (x,))  # type: ignore[no-any-return]
