"""What a ledger belongs to: data, splits, models, and the code and libraries that train them."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

from torch import nn

from meden.data import Dataset, Fold, splits_hash
from meden.member import ModelMaker
from meden.models.named import fixed_arguments

ADDRESS = re.compile(" at 0x[0-9a-f]+")
"""Of an object in memory, which is another in each process."""
_OURS = ("meden", "torch", "builtins")
"""Packages whose code their versions stand for."""
_PLAIN = (str, int, float, bool, type(None))


class Models(NamedTuple):
    """What is known of the models of a search."""

    structure: str
    """Hash of their layers, settings and shapes."""
    code: str
    """Hash of the source that makes them and runs them."""

    @classmethod
    def of(cls, make_model: ModelMaker, models: Iterable[nn.Module]) -> Models:
        """Return it of the models that a function made, one for each of its settings."""
        structure, kinds = hashlib.sha256(), set()
        for model in models:
            structure.update(ADDRESS.sub("", repr(model)).encode())
            structure.update(repr([(name, tuple(param.shape)) for name, param in model.named_parameters()]).encode())
            kinds |= {kind for module in model.modules() for kind in type(module).__mro__}
        return cls(structure.hexdigest(), _code(make_model, kinds))


def identity_of(dataset: Dataset, folds: Sequence[Fold], models: Models | None = None) -> dict[str, Any]:
    """Return what every ledger says of itself, so that what it holds is never a mixture in silence.

    Args:
        dataset: the rows.
        folds: of the search.
        models: None where searches inside have said so.
    """
    identity = {"data": dataset.content_hash(), "classes": list(dataset.classes), "splits": splits_hash(folds)}
    if models is not None:
        identity |= {"models": models.structure, "code": models.code}
    return identity | {"versions": {name: version(name) for name in ("meden", "torch")}}


def _code(make_model: ModelMaker, kinds: Iterable[type]) -> str:
    """Return a hash of the source of a function and of classes, as far as there is one to be read.

    What a version stands for is left out. Comments and layout do not count; plain values that the function holds do.
    """
    inner = make_model
    while isinstance(inner, functools.partial):
        inner = inner.func
    texts = [repr({name: value for name, value in fixed_arguments(make_model).items() if isinstance(value, _PLAIN)})]
    if inspect.isfunction(inner):
        held = inspect.getclosurevars(inner)
        texts.append(repr({n: v for n, v in ({**held.globals, **held.nonlocals}).items() if isinstance(v, _PLAIN)}))
    sources = inner if inspect.isroutine(inner) or inspect.isclass(inner) else type(inner)
    for part in (sources, *sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__))):
        if part.__module__.partition(".")[0] not in _OURS:
            texts.append(_source(part))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _source(part: Any) -> str:
    try:
        text = textwrap.dedent(inspect.getsource(part))
    except (OSError, TypeError):  # typed in, or not written in Python
        return ""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda in the middle of something
        return text
    lambdas = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    return "\n".join(lambdas) if part.__name__ == "<lambda>" else ast.unparse(tree)
