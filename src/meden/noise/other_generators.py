"""Whether a model's code names Python's or numpy's global generators: read, since a trial may not reach all of it."""

from __future__ import annotations

import dis
import random
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import nn

_LIBRARIES = ("torch.", "meden.", "numpy.", "scipy.", "pandas.")
_BOUND_TO = random.Random, np.random.RandomState


def names_other_generators(model: nn.Module) -> bool:
    """Say whether a method of a model's layers, a hook, or a function that they call names one of them.

    Example:
        >>> names_other_generators(nn.Dropout(0.5))
        False
    """
    seen: set[types.CodeType] = set()
    return any(_names(function, seen) for layer in model.modules() for function in _functions(layer))


def _functions(layer: nn.Module) -> Iterator[types.FunctionType]:
    """Yield what may run when a layer does: methods of its classes, functions that it holds, hooks."""
    kinds = [kind for kind in type(layer).__mro__ if not f"{kind.__module__}.".startswith((*_LIBRARIES, "builtins."))]
    hooks = [layer._forward_pre_hooks, layer._forward_hooks, layer._backward_pre_hooks, layer._backward_hooks]
    hooks += [param._backward_hooks or {} for param in layer.parameters(recurse=False)]
    held = [*vars(layer).values(), *(hook for each in hooks for hook in each.values())]
    methods = (value for kind in kinds for name, value in vars(kind).items() if name != "__init__")
    for value in (*methods, *held):
        if isinstance(function := _function(value), types.FunctionType):
            yield function


def _function(value: Any) -> Any:
    if isinstance(value, (classmethod, staticmethod, types.MethodType)):
        return value.__func__
    return value.fget if isinstance(value, property) else value


def _names(function: types.FunctionType, seen: set[types.CodeType]) -> bool:
    if function.__code__ in seen or f"{function.__module__}.".startswith(_LIBRARIES):
        return False
    seen.add(function.__code__)
    steps = [step for code in _codes(function.__code__) for step in dis.get_instructions(code)]
    if any(step.opname == "IMPORT_NAME" and step.argval in ("random", "numpy", "numpy.random") for step in steps):
        return True
    named = {step.argval for step in steps if step.opname == "LOAD_GLOBAL"} & function.__globals__.keys()
    values = [function.__globals__[name] for name in named]
    values += [cell.cell_contents for cell in function.__closure__ or () if _is_full(cell)]
    attributes = {name for code in _codes(function.__code__) for name in code.co_names}
    return any(_is_generator(value, attributes) for value in values) or any(_follow(values, seen))


def _is_generator(value: Any, attributes: set[str]) -> bool:
    if value is np:
        return "random" in attributes
    if isinstance(value, (types.MethodType, types.BuiltinMethodType)):
        return isinstance(value.__self__, _BOUND_TO)
    return value is random or value is np.random


def _follow(values: Sequence[Any], seen: set[types.CodeType]) -> Iterator[bool]:
    functions = (_function(value) for value in values)
    return (_names(function, seen) for function in functions if isinstance(function, types.FunctionType))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a function's code, and that of functions inside of it."""
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _codes(part)


def _is_full(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is not bound yet
        return False
