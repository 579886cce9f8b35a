"""Regularizers and constraints that a Keras model's layers were made with, as meden has them."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meden._checks import InputError, parse_json
from meden.optim import Regularizer
from meden.optim.regularizer import Coupling
from meden.penalties import L1, L2, ElasticNet, MaxNorm, NonNegative, Penalty, UnitNorm


@dataclass(frozen=True)
class KerasPenalty(Penalty):
    """A Keras regularizer that has no other name here, such as ``OrthogonalRegularizer`` or one of your own.

    In files it is what Keras serializes it to: read them with ``penalties={"KerasPenalty": KerasPenalty}``.

    Args:
        regularizer: JSON of what Keras serializes it to, whose class is Keras's own or registered with
            ``keras.saving.register_keras_serializable``; or a function that returns a scalar for a tensor, which goes
            into no file.

    Raises:
        InputError: if it is neither.

    Example:
        >>> import keras
        >>> penalty = KerasPenalty.of(keras.regularizers.OrthogonalRegularizer(0.1))
        >>> penalty == KerasPenalty(penalty.regularizer), float(penalty.value(torch.eye(2)))
        (True, 0.0)
    """

    regularizer: str | Callable[[Any], Any]
    separable = convex = smooth = has_prox = metric = is_constraint = False

    def __post_init__(self) -> None:
        if isinstance(self.regularizer, str):
            _made(self.regularizer)
        elif not callable(self.regularizer):
            raise InputError(f"regularizer must be a Keras function or its JSON, got {self.regularizer!r}")

    @classmethod
    def of(cls, regularizer: Callable[[Any], Any]) -> KerasPenalty:
        """Return the penalty of a regularizer; warns if Keras cannot serialize it, so that no file can hold it."""
        from keras.saving import serialize_keras_object

        try:
            return cls(json.dumps(serialize_keras_object(regularizer), sort_keys=True))
        except (TypeError, ValueError, NotImplementedError):
            warnings.warn(
                f"a recipe or run with the Keras regularizer {type(regularizer).__name__} cannot be saved: define "
                "get_config, and register its class with keras.saving.register_keras_serializable",
                stacklevel=2,
            )
            return cls(regularizer)

    def value(self, w: Tensor) -> Tensor:
        """Return what the regularizer says, a 0-d tensor."""
        act = _made(self.regularizer) if isinstance(self.regularizer, str) else self.regularizer
        return torch.as_tensor(act(w)).reshape(()).to(w.dtype)

    def grad(self, w: Tensor) -> Tensor:
        """Return its gradient by autograd."""
        with torch.enable_grad():
            leaf = w.detach().requires_grad_()
            return torch.autograd.grad(self.value(leaf), leaf)[0]

    def prox(self, w: Tensor, step: float | Tensor) -> Tensor:
        """Raise: it is not known."""
        raise NotImplementedError("the proximal operator of a Keras regularizer is not known")


@functools.cache
def _made(text: str) -> Callable[[Any], Any]:
    """Return the regularizer of a text: nothing is imported for it."""
    from keras.regularizers import deserialize
    from keras.saving import get_registered_object

    try:
        config = parse_json(text)
        is_known = config["module"].startswith("keras.") or get_registered_object(config["registered_name"]) is not None
        made: Callable[[Any], Any] | None = deserialize(config) if is_known else None
    except (KeyError, TypeError, ValueError, AttributeError):
        made = None
    if not callable(made):
        raise InputError(
            f"regularizer must be JSON of a Keras regularizer whose class is built in or registered, got {text!r}"
        )
    return made


def converted(variables: dict[str, Any], coupling: Coupling) -> list[Regularizer]:
    """Return the regularizers of variables by name, those of equal penalties together."""
    found: list[tuple[Penalty, list[str]]] = []
    for name, variable in variables.items():
        parts = _penalty(variable.regularizer), _constraint(name, variable)
        for penalty in parts:
            if penalty is not None:
                equal = next((names for other, names in found if other == penalty), None)
                if equal is None:
                    found.append((penalty, [name]))
                else:
                    equal.append(name)
    return [
        Regularizer(
            penalty,
            on=names[0] if len(names) == 1 else names,
            coupling="auto" if penalty.is_constraint or isinstance(penalty, KerasPenalty) else coupling,
        )
        for penalty, names in found
    ]


def _penalty(regularizer: Any) -> Penalty | None:
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
    return KerasPenalty.of(regularizer)


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
