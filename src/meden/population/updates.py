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
    """Moments of the gradient, corrected for their start from zero."""

    def start(self, w: Tensor) -> State:
        """Return zeros, and the number of steps done."""
        return {"first": torch.zeros_like(w), "second": torch.zeros_like(w), "steps": torch.zeros((), device=w.device)}

    def apply(self, w: Tensor, g: Tensor, state: State, lr: Tensor, momentum: Tensor) -> None:  # noqa: ARG002
        """Take one step."""
        beta1, beta2 = self.recipe.betas
        state["steps"].add_(1)
        first = state["first"].lerp_(g, 1 - beta1)
        state["second"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        rate = lr / _correction(beta1, state).to(lr.dtype)
        w.addcdiv_(first * rate, self._root(state), value=-1)

    def length(self, state: State, lr: Tensor, momentum: Tensor) -> Tensor:  # noqa: ARG002
        """Return lr / (sqrt(v / (1 - beta2^t)) + eps)."""
        return lr / self._root(state)

    def _root(self, state: State) -> Tensor:
        """Return sqrt(v / (1 - beta2^t)) + eps."""
        second = state["second"]
        eps = torch.full((), self.recipe.eps, dtype=second.dtype, device=second.device)
        return torch.addcmul(eps, second.sqrt(), _correction(self.recipe.betas[1], state).rsqrt().to(second.dtype))


def _correction(beta: float, state: State) -> Tensor:
    """Return 1 - beta^t, in double precision: single loses half its digits in the first steps."""
    return 1 - beta ** state["steps"].double()


UPDATES: dict[str, type[Update]] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": Adam}
