"""What a penalty is: value, grad and prox of one tensor, with declared flags.

Legend: ``w`` the tensor (any shape), ``step`` the positive length of the proximal step: a number, or a tensor that
broadcasts against ``w`` (one length per coordinate).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from torch import Tensor

Number = float | Tensor
"""A Python number, or a tensor that broadcasts against the penalised tensor."""


class Penalty(abc.ABC):
    """A function R of one tensor, times its strength.

    Final penalties are frozen dataclasses, so that their settings are fields: numbers, or tensors that broadcast
    (that is how a population gives each member its own strength). Settings that are numbers are checked at
    construction, and nothing branches on a tensor's value.
    """

    separable: ClassVar[bool]
    """The value is a sum over coordinates, so that it may be applied to any shard or flat piece of the tensor."""
    convex: ClassVar[bool]
    smooth: ClassVar[bool]
    """``grad`` is the gradient everywhere, not one subgradient of several."""
    has_prox: ClassVar[bool]
    is_constraint: ClassVar[bool] = False
    """The value is 0 inside a set and infinite outside; the prox is the projection onto it, whatever the step."""

    @abc.abstractmethod
    def value(self, w: Tensor) -> Tensor:
        """Return strength times R(w), a 0-d tensor that autograd can differentiate."""

    @abc.abstractmethod
    def grad(self, w: Tensor) -> Tensor:
        """Return a (sub)gradient of :meth:`value` at ``w``, of the shape of ``w``."""

    @abc.abstractmethod
    def prox(self, w: Tensor, step: Number) -> Tensor:
        """Return argmin_z of value(z) + sum (z - w)^2 / (2 step), of the shape of ``w``."""

    def settings(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    def replace(self, settings: Mapping[str, Any]) -> Self:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **settings)  # type: ignore[type-var]
