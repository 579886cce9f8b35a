"""A penalty taken apart into its numbers and the rest, so that K members' numbers become tensors.

Legend: ``K`` members.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from meden.penalties import Number, Penalty


def numbers(penalty: Penalty) -> list[Number]:
    """Return the settings of a penalty, and of those inside it, that may differ from member to member."""
    return [value for _, value in _walk(penalty) if not isinstance(value, _Fixed)]


def fixed(penalty: Penalty) -> Hashable:
    """Return all of a penalty but its numbers: its kinds and what cannot be a tensor (``dim``, ``block``)."""
    return tuple(
        (place, value.value if isinstance(value, _Fixed) else _shape(value)) for place, value in _walk(penalty)
    )


def rebuild(penalty: Penalty, values: Iterator[Number]) -> Penalty:
    """Return the penalty with its numbers replaced, in the order of :func:`numbers`."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(penalty):  # type: ignore[arg-type]
        value = getattr(penalty, field.name)
        if isinstance(value, Penalty):
            changed[field.name] = rebuild(value, values)
        elif _is_parts(value):
            changed[field.name] = tuple(rebuild(part, values) for part in value)
        elif _is_number(field, value):
            changed[field.name] = next(values)
    return penalty.replace(changed)


def stacked(penalties: Sequence[Penalty], like: Tensor) -> list[Tensor]:
    """Return the numbers of K equally built penalties, each (K,) or (K, *shape)."""
    columns = zip(*(numbers(penalty) for penalty in penalties), strict=True)
    return [
        torch.stack([torch.as_tensor(v, dtype=like.dtype, device=like.device) for v in column]) for column in columns
    ]


@dataclasses.dataclass(frozen=True)
class _Fixed:
    value: Any


def _walk(penalty: Penalty, place: str = "") -> Iterator[tuple[str, Any]]:
    yield place, _Fixed(type(penalty))
    for field in dataclasses.fields(penalty):  # type: ignore[arg-type]
        value, here = getattr(penalty, field.name), f"{place}.{field.name}"
        if isinstance(value, Penalty):
            yield from _walk(value, here)
        elif _is_parts(value):
            for number, part in enumerate(value):
                yield from _walk(part, f"{here}.{number}")
        else:
            yield here, value if _is_number(field, value) else _Fixed(value)


def _is_parts(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(part, Penalty) for part in value)


def _is_number(field: dataclasses.Field[Any], value: Any) -> bool:
    return value is not None and "Number" in str(field.type)


def _shape(value: Number) -> Hashable:
    return tuple(value.shape) if isinstance(value, Tensor) else ()
