"""What a ledger belongs to: data, splits, models, and the code and libraries that train them."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

from torch import nn

from meden.data import BATCHING, Dataset, Fold, splits_hash
from meden.member import ModelMaker
from meden.models.named import fixed_arguments, wherever
from meden.search.jobs import Command
from meden.search.source import is_ours, source_hash

ADDRESS = re.compile(" at 0x[0-9a-f]+")
"""Of an object in memory, which is another in each process."""
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
    identity |= {"batching": BATCHING}
    if models is not None:
        identity |= {"models": models.structure, "code": models.code}
    return identity | {"versions": {name: version(name) for name in ("meden", "torch")}}


def _code(make_model: ModelMaker, kinds: Iterable[type]) -> str:
    """Return a hash of the source of a function and of classes; what the arguments say that it holds counts too."""
    inner = make_model = wherever(make_model)
    while isinstance(inner, functools.partial):
        inner = inner.func
    values = {name: repr(value) for name, value in fixed_arguments(make_model).items() if _is_plain(value)}
    values |= {"command": inner.contents()} if isinstance(inner, Command) else {}
    is_plain = inspect.isroutine(inner) or inspect.isclass(inner)
    maker = [inner] if is_plain else [type(inner), *filter(None, [getattr(inner, "__wrapped__", None)])]
    held = [make_model] if isinstance(make_model, functools.partial) else []
    parts = (*maker, *held, *sorted(kinds, key=lambda kind: (kind.__module__, kind.__qualname__)))
    return source_hash([part for part in parts if not is_ours(part)], sorted(values.items()))


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)
