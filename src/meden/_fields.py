"""Fields of files, checked by the annotations of the classes that they make."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from meden._checks import Damaged, InputError

Count = Annotated[int, Field(ge=0)]
"""A whole number of 0 or more."""
_CONFIG = ConfigDict(arbitrary_types_allowed=True, extra="ignore", protected_namespaces=())


@functools.cache
def _reader(owner: type, names: tuple[str, ...]) -> type[BaseModel]:
    hints = get_type_hints(owner, include_extras=True)
    wanted = {
        field.name: (hints[field.name], ... if field.default is MISSING and field.default_factory is MISSING else None)
        for field in fields(owner)
        if field.name in names or not names
    }
    return create_model(owner.__name__, __config__=_CONFIG, **wanted)  # type: ignore[call-overload,no-any-return]


def checked_fields(owner: type, given: Any, *names: str) -> dict[str, Any]:
    """Return those of some fields that a dataclass has, each of the kind that its annotation says.

    Args:
        owner: the dataclass.
        given: the fields, as JSON holds them.
        names: those that are wanted; none is all of them.

    Raises:
        ValueError: in one line, if one is missing or of another kind.

    Example:
        >>> import dataclasses
        >>> @dataclasses.dataclass
        ... class Point:
        ...     x: float
        >>> checked_fields(Point, {"x": 1.0, "colour": "red"})
        {'x': 1.0}
    """
    try:
        found = _reader(owner, names).model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where or owner.__name__}: {first['msg']}, got {first['input']!r:.60}") from None
    return {name: getattr(found, name) for name in found.model_fields_set}


@contextmanager
def damaged(rule: str) -> Iterator[None]:
    """Report whatever a file's values make fail as damage, in one line that begins with a rule such as what it is."""
    try:
        yield
    except InputError as error:
        if isinstance(error, Damaged):
            raise
        raise Damaged(f"{rule}, but is damaged: {_short(str(error))}") from error
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise Damaged(f"{rule}, but is damaged: {_short(f'{type(error).__name__}: {error}')}") from error


def check_all(what: str, right: bool, got: Any) -> None:
    """Check a value of a file.

    Raises:
        ValueError: naming what it must be, if it is not.
    """
    if not right:
        raise ValueError(f"{what}, got {got!r:.60}")


def _short(text: str) -> str:
    return " ".join(text.split())[:300]
