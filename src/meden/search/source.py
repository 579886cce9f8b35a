"""The source of a model: its classes and functions, and what of the user's own they refer to by name."""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import sys
import textwrap
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

_OURS = ("meden", "torch", "builtins")
"""Packages whose code their versions stand for."""
_INSTALLED = ("site-packages", "dist-packages")
"""Folders of packages that are not the user's own."""
_PLAIN = (str, bytes, int, float, complex, bool, type(None))
_CONTAINERS = (tuple, list, set, frozenset)
_WRAPPERS = (functools.partial, staticmethod, classmethod, property, functools.cached_property)
_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")
_IMPORT = "IMPORT_NAME"
_WRITES = ("STORE_GLOBAL", "STORE_DEREF", "DELETE_GLOBAL")
_FILLS = ("STORE_SUBSCR", "DELETE_SUBSCR")
_MUTATORS = {
    "add",
    "append",
    "appendleft",
    "clear",
    "extend",
    "insert",
    "pop",
    "popitem",
    "remove",
    "setdefault",
    "update",
}
"""What a function does to names and containers that are no constants then, but counts and caches of its own."""


def source_hash(parts: Iterable[Any], values: Any = ()) -> str:
    """Return a hash of the source of classes and functions, as far as there is one to be read.

    It follows what they refer to by name: functions, classes and modules of the user's own, and plain constants.
    Comments and layout do not count; what a version stands for, or is installed, is not followed.

    Args:
        parts: classes and functions; those of the user's own count wherever they lie.
        values: plain values that belong to them.
    """
    digest, seen = hashlib.sha256(), dict[int, Any]()
    waiting = deque(("", part) for part in (*parts, values))
    while waiting:
        name, part = waiting.popleft()
        if (text := _constant(part)) is not None:
            digest.update(f"{name} = {text}\n".encode())
        elif id(part) not in seen:
            seen[id(part)] = part  # which keeps it, and what it is known by
            digest.update(f"{name}: {_source(part)}\n".encode())
            waiting.extend((inner, found) for inner, found in _followed(part) if _own(found))
    return digest.hexdigest()


def is_ours(part: Any) -> bool:
    """Say whether a version stands for the code of a class or function."""
    return (getattr(part, "__module__", None) or "").partition(".")[0] in _OURS


def _own(part: Any) -> bool:
    """Say whether something is a constant, or the user's own code."""
    if _constant(part) is not None or isinstance(part, (*_WRAPPERS, *_CONTAINERS, dict)):
        return True
    kind = part if isinstance(part, (FunctionType, type, ModuleType)) or hasattr(part, "__wrapped__") else type(part)
    name = kind.__name__ if isinstance(kind, ModuleType) else getattr(kind, "__module__", None) or ""
    top = name.partition(".")[0]
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None) or ""
    return (
        module is not None
        and top not in (*_OURS, "numpy")
        and top not in sys.stdlib_module_names
        and not any(folder in file for folder in _INSTALLED)
    )


def _followed(part: Any) -> Iterator[tuple[str, Any]]:
    """Yield what the source of a part refers to, in an order that is the same in each process."""
    if isinstance(part, FunctionType):
        yield "defaults", part.__defaults__ or ()
        yield "defaults", part.__kwdefaults__ or {}
        yield from _referred(part)
        yield "wrapped", getattr(part, "__wrapped__", None)
    elif isinstance(part, type):
        yield from ((name, value) for name, value in vars(part).items() if _counts(name, value))
        yield from ((base.__name__, base) for base in part.__bases__)
    elif isinstance(part, functools.partial):
        yield from (("func", part.func), ("args", part.args), *sorted(part.keywords.items()))
        yield from (("arg", value) for value in part.args)
    elif isinstance(part, (staticmethod, classmethod)):
        yield "function", part.__func__
    elif isinstance(part, property):
        yield from (("get", part.fget), ("set", part.fset))
    elif isinstance(part, functools.cached_property):
        yield "function", part.func
    elif isinstance(part, (*_CONTAINERS, dict)):
        values = part.values() if isinstance(part, dict) else part
        yield from (("of", value) for value in values if callable(value))
    elif hasattr(part, "__wrapped__"):  # such as functools.cache makes
        yield "function", part.__wrapped__
    elif not isinstance(part, ModuleType):
        yield "type", type(part)
        held = getattr(part, "__dict__", {})
        yield from ((name, value) for name, value in sorted(held.items()) if _constant(value) is not None)


def _counts(name: str, value: Any) -> bool:
    """Say whether an attribute of a class is code or a constant that was written there."""
    written = not name.startswith("__") and _constant(value) is not None
    return written or callable(value) or isinstance(value, _WRAPPERS)


def _referred(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function, and those inside it, take from their module, other modules and around them."""
    steps = [step for code in _codes(function.__code__) for step in dis.get_instructions(code)]
    attributes = {name for code in _codes(function.__code__) for name in code.co_names}
    written = {step.argval for step in steps if step.opname in _WRITES}
    fills = bool(attributes & _MUTATORS) or any(step.opname in _FILLS for step in steps)

    def is_kept(name: str, value: Any) -> bool:
        return name not in written and not (fills and isinstance(value, (list, set, dict)))

    around = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not there yet
            around[name] = cell.cell_contents
    yield from ((name, value) for name, value in around.items() if is_kept(name, value))
    names = sorted({step.argval for step in steps if step.opname in _GLOBAL} & function.__globals__.keys())
    imported = sorted({step.argval for step in steps if step.opname == _IMPORT} & sys.modules.keys())
    found = {name: value for name in names if is_kept(name, value := function.__globals__[name])}
    yield from _of_modules(found | {name: sys.modules[name] for name in imported}, attributes)


def _of_modules(found: dict[str, Any], attributes: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield parts; of a module of the user's own, and of those inside it, what is named in place of the module."""
    seen: set[int] = set()
    waiting = deque(found.items())
    while waiting:
        name, part = waiting.popleft()
        if not isinstance(part, ModuleType):
            yield name, part
        elif id(part) not in seen and _own(part):
            seen.add(id(part))
            waiting.extend((f"{name}.{inner}", vars(part)[inner]) for inner in sorted(attributes & vars(part).keys()))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _constant(value: Any) -> str | None:
    """Return the text of a constant; None for others, such as caches of what was computed."""
    return _array(value) if isinstance(value, (torch.Tensor, np.ndarray)) else _plain(value)


def _plain(value: Any, depth: int = 8) -> str | None:
    """Return the text of a plain value, or of some together; what starts empty may be filled by a run."""
    if isinstance(value, _PLAIN) and type(value).__module__ == "builtins":
        return repr(value)
    if isinstance(value, dict):
        return _plain([*value.items()], depth)
    if depth == 0 or not isinstance(value, _CONTAINERS) or (not value and isinstance(value, (list, set))):
        return None
    texts = [text for text in (_plain(one, depth - 1) for one in value) if text is not None]
    if len(texts) < len(value):
        return None
    return f"{type(value).__name__}{sorted(texts) if isinstance(value, (set, frozenset)) else texts}"


def _array(value: Any) -> str | None:
    if isinstance(value, torch.Tensor):
        if value.is_meta or value.layout is not torch.strided:
            return None
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif value.dtype.hasobject:
        return None
    else:
        content = value.tobytes()
    return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(content).hexdigest()}"


def _source(part: Any) -> str:
    """Return the source without comments and layout; empty where there is none."""
    if not isinstance(part, (FunctionType, type)):
        return ""
    try:
        text = textwrap.dedent(inspect.getsource(part.__code__ if isinstance(part, FunctionType) else part))
    except (OSError, TypeError):  # typed in, or not written in Python
        return ""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda in the middle of something
        return text
    lambdas = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    return "\n".join(lambdas) if part.__name__ == "<lambda>" else ast.unparse(tree)
