"""Update rules on stacked parameters, with rate and momentum of each member; in place.

The formulas are those of torch.optim, which the tests compare with.

Legend: ``w``, ``g`` and the state are (K, P); ``lr`` and ``momentum`` are (K, 1), K members of P numbers.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass

import torch
from torch import Tensor

from meden.optim import adam_length
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


class RMSprop(Update):
    """Gradients over the root of their mean square, with momentum."""

    def start(self, w: Tensor) -> State:
        """Return zeros."""
        return {"second": torch.zeros_like(w), "buffer": torch.zeros_like(w)}

    def apply(self, w: Tensor, g: Tensor, state: State, lr: Tensor, momentum: Tensor) -> None:
        """Take one step."""
        second = state["second"].mul_(self.recipe.alpha).addcmul_(g, g, value=1 - self.recipe.alpha)
        buffer = state["buffer"].mul_(momentum).add_(g / (second.sqrt() + self.recipe.eps))
        w.sub_(lr * buffer)

    def length(self, state: State, lr: Tensor, momentum: Tensor) -> Tensor:
        """Return lr / (1 - momentum) / (sqrt(v) + eps)."""
        return lr / (1 - momentum) / (state["second"].sqrt() + self.recipe.eps)


class Adam(Update):
    """Adam, by torch's fused kernel.

    The kernel knows one rate for all members. It is given rate 1 and a tensor that its weight decay of 1 empties, so
    that what it leaves there is minus the direction, which each member's own rate then scales.
    """

    def start(self, w: Tensor) -> State:
        """Return zeros, and the tensor that receives the direction."""
        steps = torch.zeros((), device=w.device)
        return {
            "first": torch.zeros_like(w),
            "second": torch.zeros_like(w),
            "move": torch.zeros_like(w),
            "steps": steps,
        }

    def apply(self, w: Tensor, g: Tensor, state: State, lr: Tensor, momentum: Tensor) -> None:  # noqa: ARG002
        """Take one step."""
        beta1, beta2 = self.recipe.betas
        state["steps"].add_(1)
        torch._fused_adamw_(
            [state["move"]],
            [g],
            [state["first"]],
            [state["second"]],
            [],
            [state["steps"]],
            lr=1.0,
            beta1=beta1,
            beta2=beta2,
            weight_decay=1.0,
            eps=self.recipe.eps,
            amsgrad=False,
            maximize=False,
        )
        w.addcmul_(state["move"], lr)

    def length(self, state: State, lr: Tensor, momentum: Tensor) -> Tensor:  # noqa: ARG002
        """Return lr / (sqrt(v / (1 - beta2^t)) + eps)."""
        return adam_length(lr, state["second"], 1 - self.recipe.betas[1] ** state["steps"].double(), self.recipe.eps)


UPDATES: dict[str, type[Update]] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": Adam}
