"""YAML as people write it: ``1e-3`` is a number, a key stands once, and nothing is an alias of something else."""

from __future__ import annotations

import re
from typing import Any

import yaml

from meden._checks import InputError, one_line

MAX_LENGTH = 1_000_000
"""Characters of the longest text that is read."""


class _Loader(yaml.SafeLoader):
    """Plain values alone; YAML 1.1 would want ``1.0e-3``."""

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


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


class PlainDumper(yaml.SafeDumper):
    """Writes what occurs twice twice."""

    def ignore_aliases(self, _: Any) -> bool:
        """Say so of everything."""
        return True


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
