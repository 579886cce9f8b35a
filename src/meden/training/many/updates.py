"""Update rules on stacked parameters, with rate and momentum of each member; in place.

The formulas are those of torch.optim, which the tests compare with.

Legend: ``w``, ``g`` and the state are (K, P); ``lr`` and ``momentum`` are (K, 1), K members of P numbers.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from torch import Tensor

from meden.recipe import Recipe

State = dict[str, Tensor]


@dataclass(frozen=True)
class Update(abc.ABC):
    """One update rule; what all members of a stack share of its settings."""

    recipe: Recipe

    @abc.abstractmethod
    def start(self, w: Tensor) -> State:
        """Return the state before the first step; ``"steps"`` counts them."""

    @abc.abstractmethod
    def apply(self, w: Tensor, g: Tensor, state: State, lr: Tensor, momentum: Tensor) -> None:
        """Take one step."""

    @abc.abstractmethod
    def length(self, state: State, lr: Tensor, momentum: Tensor) -> Tensor:
        """Return the proximal step of every coordinate, (K, P) or (K, 1): see :mod:`meden.optim.metric`."""

    @abc.abstractmethod
    def full_rates(self, lr: Tensor, momentum: Tensor) -> tuple[Tensor, ...]:
        """Return what bounds proximal steps, (K, 1), or nothing: see :func:`meden.optim.within_reach`."""


class SGD(Update):
    """Momentum, plain or Nesterov's."""

    def start(self, w: Tensor) -> State:
        """Return a buffer of zeros: its first value is then the first gradient, as in torch."""
        return {"buffer": torch.zeros_like(w)}

    def apply(self, w: Tensor, g: Tensor, state: State, lr: Tensor, momentum: Tensor) -> None:
        """Take one step."""
        buffer = state["buffer"].mul_(momentum).add_(g)
        w.sub_(lr * (g + momentum * buffer if self.recipe.nesterov else buffer))

    def length(self, state: State, lr: Tensor, momentum: Tensor) -> Tensor:  # noqa: ARG002
        """Return lr / (1 - momentum)."""
        return lr / (1 - momentum)

    def full_rates(self, lr: Tensor, momentum: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return nothing."""
        return ()


class RMSprop(Update):
    """Gradients over the root of their mean square, with momentum."""

    def start(self, w: Tensor) -> State:
        """Return zeros."""
        return {"second": torch.zeros_like(w), "buffer": torch.zeros_like(w)}

    def apply(self, w: Tensor, g: Tensor, state: State, lr: Tensor, momentum: Tensor) -> None:
        """Take one step."""
        second = state["second"].mul_(self.recipe.alpha).addcmul_(g, g, value=1 - self.recipe.alpha).clamp_(min=tiny(w))
        buffer = state["buffer"].mul_(momentum).add_(g / (second.sqrt() + self.recipe.eps))
        w.sub_(lr * buffer)

    def length(self, state: State, lr: Tensor, momentum: Tensor) -> Tensor:
        """Return lr / (1 - momentum) / (sqrt(v) + eps)."""
        return lr / (1 - momentum) / (state["second"].sqrt() + self.recipe.eps)

    def full_rates(self, lr: Tensor, momentum: Tensor) -> tuple[Tensor, ...]:
        """Return lr / (1 - momentum)."""
        return (lr / (1 - momentum),)


class Adam(Update):
    """Moments of the gradient, corrected for their start from zero.

    torch's fused kernel passes over the numbers once, but has one rate for all of them. At rate 1 and with a decay of
    1, which empties it first, it writes the step into ``"move"``; each member's rate is applied to that.
    """

    def start(self, w: Tensor) -> State:
        """Return zeros, room for the step, and the number of steps done."""
        state = {"first": torch.zeros_like(w), "second": torch.zeros_like(w), "move": torch.zeros_like(w)}
        return state | {"steps": torch.zeros((), device=w.device)}

    def apply(self, w: Tensor, g: Tensor, state: State, lr: Tensor, momentum: Tensor) -> None:  # noqa: ARG002
        """Take one step."""
        state["steps"].add_(1)
        moments = state["first"], state["second"], state["steps"]
        torch.ops.meden.adam_(state["move"], g, *moments, *self.recipe.betas, self.recipe.eps)
        w.addcmul_(state["move"], lr)

    def length(self, state: State, lr: Tensor, momentum: Tensor) -> Tensor:  # noqa: ARG002
        """Return lr / (sqrt(v / (1 - beta2^t)) + eps)."""
        # single precision would lose half the correction's digits in the first steps
        correction = 1 - self.recipe.betas[1] ** state["steps"].double()
        root = state["second"].clamp(min=tiny(lr)).sqrt()
        return lr / (root * correction.rsqrt().to(lr.dtype) + self.recipe.eps)

    def full_rates(self, lr: Tensor, momentum: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002
        """Return lr."""
        return (lr,)


def _adam(  # an operation of its own, since TorchScript drops one that writes into the members of a list
    move: Tensor, g: Tensor, first: Tensor, second: Tensor, steps: Tensor, beta1: float, beta2: float, eps: float
) -> None:
    """Write the step of Adam at rate 1 into ``move``, and update both moments."""
    torch._fused_adamw_(
        [move],
        [g],
        [first],
        [second],
        [],
        [steps],
        lr=1.0,
        beta1=beta1,
        beta2=beta2,
        weight_decay=1.0,
        eps=eps,
        amsgrad=False,
        maximize=False,
    )


_OPERATIONS = torch.library.Library("meden", "DEF")  # type: ignore[no-untyped-call]
_OPERATIONS.define(  # type: ignore[no-untyped-call]
    "adam_(Tensor(a!) move, Tensor g, Tensor(b!) first, Tensor(c!) second, Tensor steps, "
    "float beta1, float beta2, float eps) -> ()"
)
_OPERATIONS.impl("adam_", _adam, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]


def tiny(w: Tensor) -> float:
    """Return what is nothing beside eps, 1e-30 in single precision: the vector library is slow at roots of 0."""
    return 1e8 * torch.finfo(w.dtype).tiny


UPDATES: dict[str, type[Update]] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": Adam}
