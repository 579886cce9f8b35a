"""What Keras layers compute, as a text that is the same for a model that is made twice."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

_NAMES = ("name", "keras_history", "input_layers", "output_layers")
"""Where a config holds names of layers, which count all layers that a process has made."""
_UNUSED = ("_initializer", "_regularizer", "_constraint", "seed")
"""What acts before or beside a call."""


def describe(layers: Iterable[Any]) -> str:
    """Return what layers are, and how they are connected; one that Keras cannot describe is like no other."""
    names: defaultdict[str, int] = defaultdict(itertools.count().__next__)
    return json.dumps([_described(layer, names) for layer in layers], default=repr, sort_keys=True)


def _described(layer: Any, names: Mapping[str, int]) -> Any:
    try:
        config = layer.get_config()
    except NotImplementedError:
        config = id(layer)
    return [type(layer).__module__, type(layer).__qualname__, _by_numbers(config, names)]


def _by_numbers(part: Any, names: Mapping[str, int], key: str = "") -> Any:
    """Return a part of a config with layers' names as numbers, in the order in which they are met."""
    if isinstance(part, Mapping):
        if str(part.get("class_name")).endswith("DTypePolicy"):
            return dict(part)
        return {
            str(name): _by_numbers(p, names, str(name)) for name, p in part.items() if not str(name).endswith(_UNUSED)
        }
    if isinstance(part, list | tuple):
        return [_by_numbers(p, names, key) for p in part]
    return names[part] if isinstance(part, str) and key in _NAMES else part
