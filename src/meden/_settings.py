"""The base of every settings object: keyword-only, frozen, checked by pydantic, errors in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from meden._checks import InputError, nearest


class Settings(BaseModel):
    """Keyword-only frozen settings; a wrong or unknown field raises :class:`InputError` in one line."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(_one_line(type(self), error)) from None

    @classmethod
    def known(cls, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of some fields that these settings have, and that settings inside them have."""
        known: dict[str, Any] = {}
        for name in cls.model_fields.keys() & fields.keys():
            kind, value = cls.model_fields[name].annotation, fields[name]
            inner = [k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, Settings)]
            known[name] = inner[0].known(value) if inner and isinstance(value, Mapping) else value
        return known

    def replace(self, **fields: Any) -> Self:
        """Return a checked copy with some fields changed."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **fields})


def _one_line(owner: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    if isinstance(cause := first.get("ctx", {}).get("error"), InputError):
        return str(cause)
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = ", ".join(owner.model_fields)
        return f"{owner.__name__} has no field {where!r}{nearest(where, owner.model_fields)} (fields: {known})"
    rule = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    field = f"{owner.__name__} {where}" if where else owner.__name__
    return f"{field} {rule}, got {first['input']!r}"
