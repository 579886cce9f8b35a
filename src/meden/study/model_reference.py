"""Who makes the models of a study, as a file can say it."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from meden._checks import InputError, nearest
from meden.member import ModelMaker
from meden.models.named import find_model, fixed_arguments, model_name


@dataclasses.dataclass(frozen=True)
class ModelReference:
    """The function that makes a study's models."""

    text: str
    """For people; nothing of that name is ever imported."""
    name: str | None = None
    """Name of one of meden's own models; None where it is somebody else's."""
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Its keyword arguments that are the same for all configurations."""
    trains: bool = False
    """Whether it is a training function, which makes its own models and takes a job."""

    @classmethod
    def of(cls, make_model: ModelMaker) -> ModelReference:
        """Return the reference of a function, a class, or a ``functools.partial`` of one.

        Example:
            >>> from meden.models import MLP
            >>> ModelReference.of(functools.partial(MLP, depth=1))
            ModelReference(text='meden.models.MLP', name='MLP', arguments={'depth': 1}, trains=False)
        """
        name, arguments, inner = model_name(make_model), fixed_arguments(make_model), _inner(make_model)
        if name is not None and all(isinstance(value, _PLAIN) for value in arguments.values()):
            return cls(f"meden.models.{name}", name, arguments)
        return cls(_text(inner))

    @classmethod
    def of_function(cls, train: Callable[..., Any]) -> ModelReference:
        """Return the reference of a training function."""
        return cls(_text(_inner(train)), trains=True)

    def find(self) -> ModelMaker | None:
        """Return the function; None where it is not one of meden's own.

        Raises:
            InputError: if there is no such model, or it has no such arguments.
        """
        if self.name is None:
            return None
        found = find_model(self.name)
        known = inspect.signature(found).parameters
        for name in self.arguments:
            if name not in known:
                raise InputError(f"{self.name} has no argument {name!r}{nearest(name, known)}")
        return functools.partial(found, **self.arguments) if self.arguments else found


_PLAIN = (str, int, float, bool, type(None))
"""Types of what a file can hold."""


def _text(inner: Callable[..., Any]) -> str:
    return f"{inner.__module__}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"


def _inner(make_model: Callable[..., Any]) -> Callable[..., Any]:
    within = make_model.func if isinstance(make_model, functools.partial) else inspect.unwrap(make_model)
    return make_model if within is make_model else _inner(within)
