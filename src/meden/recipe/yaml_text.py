"""YAML as people write it: plain words mean what YAML 1.2 says, a key stands once, and nothing is an alias.

``1e-3`` is a number; ``yes``, ``1:30`` and ``2024-01-31``, for YAML 1.1 a boolean, 90 and a date, are texts.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from meden._checks import InputError, one_line

MAX_LENGTH = 1_000_000
"""Characters of the longest text that is read."""


_TAG = "tag:yaml.org,2002:"
_CORE = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
"""The words of YAML 1.2's core schema, and with what they begin."""


class _Loader(yaml.SafeLoader):
    """Plain values alone."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (yaml's own form; those of YAML 1.1 are left out)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # a few lines of them stand for gigabytes
            event = self.get_event()  # type: ignore[no-untyped-call]
            raise InputError(f"must hold no aliases, got *{event.anchor} (line {event.start_mark.line + 1})")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise InputError(f"must hold each key once, got {key.value!r} again (line {key.start_mark.line + 1})")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    """Return a number as YAML 1.2 writes it; an explicit tag asks for one too."""
    text = str(loader.construct_scalar(node))
    kind = node.tag.removeprefix(_TAG)
    if not any(re.fullmatch(_CORE[allowed][0], text) for allowed in {kind, "int"}):
        raise InputError(f"must hold numbers such as 10 or 1e-3, got {text!r} (line {node.start_mark.line + 1})")
    if re.fullmatch(_CORE["int"][0], text):
        whole = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        return whole if kind == "int" else float(whole)
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


class PlainDumper(yaml.SafeDumper):
    """Writes what occurs twice twice, and in quotes what YAML 1.1 or 1.2 would not read as a text."""

    def ignore_aliases(self, _: Any) -> bool:
        """Say so of everything."""
        return True


for _kind, (_words, _first) in _CORE.items():
    for _side in (_Loader, PlainDumper):
        _side.add_implicit_resolver(
            _TAG + _kind, re.compile(f"(?:{_words})$"), ["" if c == "\0" else c for c in _first]
        )
_Loader.add_constructor(_TAG + "int", _number)
_Loader.add_constructor(_TAG + "float", _number)


def read_yaml(text: str) -> Any:
    """Return the plain values of a text.

    Raises:
        InputError: if it is no YAML, is too long or nested too deeply, holds a key twice, or an alias.

    Example:
        >>> read_yaml("lr: 1e-3")
        {'lr': 0.001}
    """
    if len(text) > MAX_LENGTH:
        raise InputError(f"must hold at most {MAX_LENGTH:,} characters, got {len(text):,}")
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise InputError("must not be nested so deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"must be YAML: {one_line(error)}") from None
