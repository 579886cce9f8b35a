"""A space as plain values, which JSON can hold, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from meden._checks import check_choice
from meden._files import known_fields
from meden.space.dimensions import Choice, Dimension, IntUniform, LogUniform, Maybe, Uniform
from meden.space.names import Space

RANGES: dict[str, type[LogUniform | Uniform | IntUniform]] = {
    "LogUniform": LogUniform,
    "Uniform": Uniform,
    "IntUniform": IntUniform,
}


def space_to_dict(space: Space) -> dict[str, Any]:
    """Return a space whose ends are known as plain values.

    Example:
        >>> space_to_dict({"width": Choice(8, 16), "l2": Maybe(Uniform(0, 1))})
        {'width': {'kind': 'Choice', 'options': [8, 16]},
         'l2': {'kind': 'Maybe', 'dimension': {'kind': 'Uniform', 'low': 0, 'high': 1}}}
    """
    return {name: _to_dict(dimension) for name, dimension in space.items()}


def space_from_dict(fields: Mapping[str, Any]) -> Space:
    """Rebuild a space from :func:`space_to_dict`.

    Raises:
        InputError: for a dimension of an unknown kind.
    """
    return {name: _from_dict(dimension) for name, dimension in fields.items()}


def _to_dict(dimension: Dimension) -> dict[str, Any]:
    kind = {"kind": type(dimension).__name__}
    if isinstance(dimension, Choice):
        return {**kind, "options": list(dimension.options)}
    if isinstance(dimension, Maybe):
        return {**kind, "dimension": _to_dict(dimension.inner)}
    return {**kind, **dataclasses.asdict(dimension)}


def _from_dict(fields: Mapping[str, Any]) -> Any:
    kind = fields["kind"]
    check_choice("kind of a dimension", kind, [*RANGES, "Choice", "Maybe"])
    if kind == "Choice":
        return Choice(*fields["options"])
    if kind == "Maybe":
        return Maybe(_from_dict(fields["dimension"]))
    return RANGES[kind](**known_fields(RANGES[kind], fields))
