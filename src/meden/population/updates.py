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
        return {"second": torch.full_like(w, tiny(w)), "buffer": torch.zeros_like(w)}

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
        """Return zeros, room for the root of the second moment, and the number of steps done."""
        state = {"first": torch.zeros_like(w), "second": torch.full_like(w, tiny(w)), "root": torch.empty_like(w)}
        return state | {"steps": torch.zeros((), device=w.device)}

    def apply(self, w: Tensor, g: Tensor, state: State, lr: Tensor, momentum: Tensor) -> None:  # noqa: ARG002
        """Take one step."""
        beta1, beta2 = self.recipe.betas
        state["steps"].add_(1)
        first = state["first"].lerp_(g, 1 - beta1)
        state["second"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        root = torch.sqrt(state["second"], out=state["root"])
        root.mul_(_correction(beta2, state).rsqrt().to(root.dtype)).add_(self.recipe.eps)
        rate = lr / _correction(beta1, state).to(lr.dtype)
        # g is not needed any more: a new tensor of its size would cost more than the product
        w.addcdiv_(torch.mul(first, rate, out=g), root, value=-1)

    def length(self, state: State, lr: Tensor, momentum: Tensor) -> Tensor:  # noqa: ARG002
        """Return lr / (sqrt(v / (1 - beta2^t)) + eps)."""
        return lr / state["root"]


def flush(w: Tensor, state: State) -> None:
    """Clear what is about to decay into denormals."""
    for name, tensor in {"w": w, **state}.items():
        if name == "second":
            tensor.clamp_(min=tiny(w))
        elif tensor.ndim:
            torch.nn.functional.hardshrink(tensor, tiny(w), out=tensor)


def tiny(w: Tensor) -> float:
    """Return where numbers are on their way to the denormals, which are slow: 1e-30 in single precision.

    Second moments are not let below it at all: a root is slow at 0 too, and this is nothing beside eps.
    """
    return 1e8 * torch.finfo(w.dtype).tiny


def _correction(beta: float, state: State) -> Tensor:
    """Return 1 - beta^t, in double precision: single loses half its digits in the first steps."""
    return 1 - beta ** state["steps"].double()


UPDATES: dict[str, type[Update]] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": Adam}
