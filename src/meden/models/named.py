"""Models by name: what a file says about the function that made a model, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from meden import models
from meden._checks import check_choice


def model_name(make_model: Callable[..., Any]) -> str | None:
    """Return the name under which a file can say who made a model; None for what is not one of meden's own models.

    Args:
        make_model: a function or class, or a ``functools.partial`` of one; one with positional arguments has no name,
            since :func:`fixed_arguments` cannot name them.

    Example:
        >>> from meden.models import MLP
        >>> model_name(functools.partial(MLP, depth=0)), model_name(lambda: None)
        ('MLP', None)
    """
    while isinstance(make_model, functools.partial) and not make_model.args:
        make_model = make_model.func
    return next((name for name in models.__all__ if getattr(models, name) is make_model), None)


def fixed_arguments(make_model: Callable[..., Any]) -> dict[str, Any]:
    """Return the keyword arguments that a ``functools.partial`` has fixed, outermost last; none for other functions.

    Example:
        >>> from meden.models import MLP
        >>> fixed_arguments(functools.partial(MLP, depth=0))
        {'depth': 0}
    """
    if not isinstance(make_model, functools.partial):
        return {}
    return {**fixed_arguments(make_model.func), **make_model.keywords}


def find_model(name: str) -> Callable[..., nn.Module]:
    """Return the model that :func:`model_name` named.

    Raises:
        InputError: if there is none of this name.
    """
    check_choice("model", name, models.__all__)
    found: Callable[..., nn.Module] = getattr(models, name)
    return found
