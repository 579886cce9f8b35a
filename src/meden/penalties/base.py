"""What a penalty is: value, grad and prox of one tensor, with declared flags.

Legend: ``w`` the tensor (any shape), ``step`` the positive length of the proximal step: a number, or a tensor that
broadcasts against ``w`` (one length per coordinate, the diagonal metric of an adaptive optimizer).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from meden._checks import InputError

Number = float | Tensor
"""A Python number, or a tensor that broadcasts against the penalised tensor."""


class Penalty(abc.ABC):
    """A function R of one tensor, times its strength.

    Final penalties, also those of your own, are frozen dataclasses, so that their settings are fields. Fields of the
    type float or :data:`Number` hold numbers, or tensors that broadcast (that is how a population gives each member
    its own strength); all other fields, such as an axis, are alike in a population. Settings that are numbers are
    checked at construction, tensors pass, and nothing branches on a tensor's value. Every final penalty declares the
    six flags below, as class attributes (as properties where they depend on the parts it is made of).
    """

    @property
    @abc.abstractmethod
    def separable(self) -> bool:
        """The value is a sum over coordinates: it may be applied to any shard or flat piece of the tensor."""

    @property
    @abc.abstractmethod
    def convex(self) -> bool:
        """The value is a convex function of the tensor."""

    @property
    @abc.abstractmethod
    def smooth(self) -> bool:
        """``grad`` is the gradient everywhere, not one subgradient of several."""

    @property
    @abc.abstractmethod
    def has_prox(self) -> bool:
        """``prox`` is exact; where it is not known the method raises."""

    @property
    @abc.abstractmethod
    def metric(self) -> bool:
        """``prox`` also takes one step per coordinate; where it does not, such a step raises."""

    @property
    @abc.abstractmethod
    def is_constraint(self) -> bool:
        """The value is 0 inside a set and infinite outside, ``grad`` is 0, the prox is the nearest point of the set."""

    @abc.abstractmethod
    def value(self, w: Tensor) -> Tensor:
        """Return strength times R(w), a 0-d tensor; autograd differentiates it unless it is a constraint's."""

    @abc.abstractmethod
    def grad(self, w: Tensor) -> Tensor:
        """Return a (sub)gradient of :meth:`value` at ``w``, of the shape and dtype of ``w``."""

    @abc.abstractmethod
    def prox(self, w: Tensor, step: Number) -> Tensor:
        """Return argmin_z of value(z) + sum (z - w)^2 / (2 step), of the shape and dtype of ``w``."""

    def hard_part(self) -> Penalty | None:
        """Return the constraint that it is or has, if any: where a step is cut short, that holds all the same."""
        return self if self.is_constraint else None

    def bind(self, w: Tensor) -> Penalty:  # noqa: ARG002 - most penalties need nothing of the tensor
        """Return the penalty as it is for the tensor that starts as ``w``: itself, unless it pulls to its start."""
        return self

    def settings(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    def replace(self, settings: Mapping[str, Any]) -> Self:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **settings)  # type: ignore[type-var]

    def changed(self, change: Callable[[str, Any], Any]) -> Self:
        """Return a copy with each setting, also of the penalties inside, replaced by what ``change(name, value)`` says.

        Penalties inside are not handed to ``change``; where it returns every value as it is, so is the penalty.
        """
        new: dict[str, Any] = {}
        for name, value in self.settings().items():
            if isinstance(value, Penalty):
                new[name] = value.changed(change)
            elif isinstance(value, tuple) and any(isinstance(part, Penalty) for part in value):
                parts = tuple(part.changed(change) if isinstance(part, Penalty) else part for part in value)
                new[name] = parts if any(a is not b for a, b in zip(parts, value, strict=True)) else value
            else:
                new[name] = change(name, value)
        different = {name: value for name, value in new.items() if value is not getattr(self, name)}
        return self.replace(different) if different else self


class SparsePenalty(Penalty):
    """A penalty that makes exact zeros, with a known strength at which nothing else is left."""

    @abc.abstractmethod
    def strength_max(self, gradient_at_zero: Tensor) -> Tensor:
        """Return the smallest strength at which w = 0 is a solution, as a 0-d tensor.

        Args:
            gradient_at_zero: gradient of the data loss with respect to ``w`` at w = 0, of the shape of ``w``. For a
                penalty or a loss that is not convex "solution" means a local minimum.
        """


def check_scalar_step(name: str, step: Number) -> None:
    """Check that ``step`` is one number (or a 0-d tensor).

    Raises:
        InputError: if it is a step per coordinate.
    """
    if isinstance(step, Tensor) and step.ndim > 0:
        raise InputError(f"{name} step must be one number, got a tensor of shape {tuple(step.shape)}")


def wide(w: Tensor) -> Tensor:
    """Return ``w`` in float32 or wider, in which norms and roots are computed."""
    return w.to(torch.promote_types(w.dtype, torch.float32))


def largest(x: Tensor) -> Tensor:
    """Return the largest element of a tensor of zero or positive numbers, 0 if there is none."""
    return x.amax() if x.numel() else x.sum()


def indicator(inside: Tensor, w: Tensor) -> Tensor:
    """Return 0 where all of ``inside`` hold and infinity elsewhere, a 0-d tensor of the dtype of ``w``."""
    return torch.where(inside.all(), 0.0, torch.inf).to(w.dtype)


def tolerance(w: Tensor) -> float:
    """Return the relative rounding by which a projected tensor may miss its set."""
    return 8 * torch.finfo(w.dtype).eps
