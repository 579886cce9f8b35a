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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

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


def source_hash(parts: Iterable[Any], values: Any = ()) -> str:
    """Return a hash of the source of classes and functions, as far as there is one to be read.

    It follows what they refer to by name: functions, classes and modules of the user's own. Of other names of a module
    the text that assigns them counts, and not what they are now: code may count and cache by itself. Comments and
    layout do not count; what a version stands for, or is installed, is not followed.

    Args:
        parts: classes and functions; those of the user's own count wherever they lie.
        values: plain values that belong to them.
    """
    digest, seen = hashlib.sha256(), dict[int, Any]()
    waiting = deque(("", part) for part in (*parts, tuple(values)))
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
    if isinstance(part, MethodType):
        return _own(part.__func__)
    kind = part if isinstance(part, (FunctionType, type, ModuleType)) or _wrapped(part) is not None else type(part)
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
        yield from (
            ("defaults", value) for value in (*(part.__defaults__ or ()), *(part.__kwdefaults__ or {}).values())
        )
        yield from _referred(part)
        yield "wrapped", _wrapped(part)
    elif isinstance(part, MethodType):
        yield from (("function", part.__func__), ("self", part.__self__))
    elif isinstance(part, type):
        yield from (
            (name, value) for name, value in vars(part).items() if callable(value) or isinstance(value, _WRAPPERS)
        )
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
    elif _wrapped(part) is not None:  # such as functools.cache makes
        yield "function", _wrapped(part)
    elif not isinstance(part, ModuleType):
        yield "type", type(part)


def _referred(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function, and those inside it, take from their module, other modules and around them."""
    steps = [step for code in _codes(function.__code__) for step in dis.get_instructions(code)]
    attributes = {name for code in _codes(function.__code__) for name in code.co_names}
    written = {step.argval for step in steps if step.opname in _WRITES}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not there yet
            if name not in written:
                yield name, cell.cell_contents
    names = {step.argval for step in steps if step.opname in _GLOBAL} & function.__globals__.keys()
    imported = {step.argval for step in steps if step.opname == _IMPORT} & sys.modules.keys()
    yield from _of_module(function.__globals__, names - written, attributes, set())
    yield from _of_module(sys.modules, imported, attributes, set())


def _of_module(
    held: Mapping[str, Any], names: Iterable[str], attributes: set[str], seen: set[int]
) -> Iterator[tuple[str, Any]]:
    """Yield what names of a module stand for; in place of modules of the user's own, what is named of them."""
    texts = _assigned(held.get("__name__"))
    for name in sorted(names):
        part = held[name]
        if isinstance(part, ModuleType):
            if id(part) not in seen and _own(part):
                seen.add(id(part))
                yield from _of_module(vars(part), attributes & vars(part).keys(), attributes, seen)
            continue
        if name in texts:
            yield name, texts[name]
        if name not in texts or _constant(part) is None:
            yield name, part


def _assigned(module: str | None) -> dict[str, str]:
    """Return the text of what a module assigns to its names; none where there is no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module or ""]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return {}
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)):
                found[name] = found.get(name, "") + ast.unparse(node)
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _constant(value: Any) -> str | None:
    """Return the text of a plain value that cannot change; None for others."""
    if isinstance(value, _PLAIN) and type(value).__module__ == "builtins":
        return repr(value)
    if not isinstance(value, (tuple, frozenset)):
        return None
    texts = [text for text in map(_constant, value) if text is not None]
    return (
        None
        if len(texts) < len(value)
        else f"{type(value).__name__}{sorted(texts) if isinstance(value, frozenset) else texts}"
    )


def _wrapped(part: Any) -> Any:
    """Return the function within a decorated one; None for others, whatever their attributes raise."""
    return inspect.getattr_static(part, "__wrapped__", None)


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
