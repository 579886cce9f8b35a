"""Regularizers and constraints that a Keras model's layers were made with, as meden has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meden._checks import InputError
from meden.optim import Regularizer
from meden.optim.regularizer import Coupling
from meden.penalties import L1, L2, ElasticNet, MaxNorm, NonNegative, Penalty, UnitNorm


@dataclass(frozen=True)
class KerasPenalty(Penalty):
    """A Keras regularizer that has no other name here, such as ``OrthogonalRegularizer`` or one of your own.

    Args:
        regularizer: returns a scalar for a tensor.
    """

    regularizer: Callable[[Any], Any]
    separable = convex = smooth = has_prox = metric = is_constraint = False

    def value(self, w: Tensor) -> Tensor:
        """Return what the regularizer says, a 0-d tensor."""
        return torch.as_tensor(self.regularizer(w)).reshape(()).to(w.dtype)

    def grad(self, w: Tensor) -> Tensor:
        """Return its gradient by autograd."""
        with torch.enable_grad():
            leaf = w.detach().requires_grad_()
            return torch.autograd.grad(self.value(leaf), leaf)[0]

    def prox(self, w: Tensor, step: float | Tensor) -> Tensor:
        """Raise: it is not known."""
        raise NotImplementedError("the proximal operator of a Keras regularizer is not known")


def converted(variables: dict[str, Any], coupling: Coupling) -> list[Regularizer]:
    """Return the regularizers of variables by name, those of equal penalties together."""
    found: dict[str, tuple[Penalty, list[str]]] = {}
    for name, variable in variables.items():
        parts = _penalty(name, variable.regularizer), _constraint(name, variable)
        for penalty in parts:
            if penalty is not None:
                found.setdefault(repr(penalty), (penalty, []))[1].append(name)
    return [
        Regularizer(
            penalty,
            on=names[0] if len(names) == 1 else names,
            coupling="auto" if penalty.is_constraint or isinstance(penalty, KerasPenalty) else coupling,
        )
        for penalty, names in found.values()
    ]


def _penalty(_name: str, regularizer: Any) -> Penalty | None:
    """Return a regularizer in canonical units: Keras's ``L2(x)`` is x sum w^2, and L2 here 1/2 sum w^2."""
    if regularizer is None:
        return None
    own = type(regularizer)
    kind = own.__name__ if own.__module__.startswith("keras.") else ""
    l1, l2 = (_decimal(getattr(regularizer, name, 0.0)) if kind else 0.0 for name in ("l1", "l2"))
    if kind in ("L1", "L2", "L1L2"):
        if l1 and l2:
            return ElasticNet(l1 + 2 * l2, l1_ratio=l1 / (l1 + 2 * l2))
        return L1(l1) if l1 else (L2(2 * l2) if l2 else None)
    return KerasPenalty(regularizer)


def _decimal(number: Any) -> float:
    """Return a strength as it was written: Keras keeps some of them in single precision."""
    return float(str(np.float32(float(number))))


def _constraint(name: str, variable: Any) -> Penalty | None:
    constraint = variable.constraint
    if constraint is None:
        return None
    kind = type(constraint).__name__
    if kind == "NonNeg":
        return NonNegative()
    if kind in ("MaxNorm", "UnitNorm"):
        axis = constraint.axis if isinstance(constraint.axis, (list, tuple)) else [constraint.axis]
        num_axes = len(variable.shape)
        kept = [place for place in range(num_axes) if place not in {a % num_axes for a in axis}]
        if len(kept) == 1:
            return MaxNorm(_decimal(constraint.max_value), dim=kept[0]) if kind == "MaxNorm" else UnitNorm(dim=kept[0])
    raise InputError(
        f"keras_model must have constraints NonNeg, or MaxNorm and UnitNorm over all axes but one; got {kind} on {name}"
    )
