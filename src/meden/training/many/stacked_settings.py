"""A penalty or an augmentation taken apart into its numbers and the rest, so that K members' numbers become tensors.

Legend: ``K`` members.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from meden.augment import Augmentation
from meden.penalties import Number, Penalty

Part = Penalty | Augmentation
"""A frozen dataclass whose fields of the type float or Number may be tensors."""
AnyPart = TypeVar("AnyPart", Penalty, Augmentation)
_NUMERIC = re.compile(r"\b(Number|float)\b")


def numbers(part: Part) -> list[Number]:
    """Return the settings of a part, and of those inside it, that may differ from member to member."""
    return [value for _, value in _walk(part) if not isinstance(value, _Fixed)]


def fixed(part: Part) -> Hashable:
    """Return all of a part but its numbers: its kinds and what cannot be a tensor (``dim``, ``block``)."""
    return tuple((place, value if isinstance(value, _Fixed) else _shape(value)) for place, value in _walk(part))


def rebuild(part: AnyPart, values: Iterator[Number]) -> AnyPart:
    """Return the part with its numbers replaced, in the order of :func:`numbers`.

    It is not made anew: what a part checks when it is made was checked of each member's own numbers, and need not be
    able to read a tensor of all of them.
    """
    made = copy.copy(part)
    for field in dataclasses.fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        if isinstance(value, Penalty):
            value = rebuild(value, values)
        elif _is_parts(value):
            value = tuple(rebuild(inner, values) for inner in value)
        elif _is_number(field, value):
            value = next(values)
        object.__setattr__(made, field.name, value)
    return made


def stacked(parts: Sequence[Part], like: Tensor) -> list[Tensor]:
    """Return the numbers of K equally built parts, each (K,) or (K, *shape)."""
    columns = zip(*(numbers(part) for part in parts), strict=True)
    return [
        torch.stack([torch.as_tensor(v, dtype=like.dtype, device=like.device) for v in column]) for column in columns
    ]


class _Fixed:
    """A setting that is no number; one that cannot be hashed, such as a list, is equal to itself alone."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return id(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Fixed) or hash(self) != hash(other):
            return False
        return self.value is other.value or bool(self.value == other.value)


def _walk(part: Part, place: str = "") -> Iterator[tuple[str, Any]]:
    yield place, _Fixed(type(part))
    for field in dataclasses.fields(part):  # type: ignore[arg-type]
        value, here = getattr(part, field.name), f"{place}.{field.name}"
        if isinstance(value, Penalty):
            yield from _walk(value, here)
        elif _is_parts(value):
            for number, inner in enumerate(value):
                yield from _walk(inner, f"{here}.{number}")
        else:
            yield here, value if _is_number(field, value) else _Fixed(value)
    known = {field.name for field in dataclasses.fields(part)}  # type: ignore[arg-type]
    derived = {name: value for name, value in getattr(part, "__dict__", {}).items() if name not in known}
    yield from ((f"{place}.{name}", _Fixed(value)) for name, value in derived.items())


def _is_parts(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(part, Penalty) for part in value)


def _is_number(field: dataclasses.Field[Any], value: Any) -> bool:
    """Say whether a field is of the type float or Number (a class or its name) and holds a number or a tensor."""
    return hasattr(value, "__float__") and not isinstance(value, bool) and bool(_NUMERIC.search(str(field.type)))


def _shape(value: Number) -> Hashable:
    return tuple(value.shape) if isinstance(value, Tensor) else ()
