"""Parts of a recipe as plain values, which YAML and JSON can hold, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from torch import Tensor

from meden import augment, penalties
from meden._checks import InputError, check_choice
from meden.augment import Augmentation
from meden.optim import Activity, Regularizer, StrengthSchedule
from meden.penalties import Penalty

ACTIVITIES = ("ActivityL1", "ActivityL2", "KLSparsity")


def regularizer_to_dict(regularizer: Regularizer) -> dict[str, Any]:
    """Return a regularizer as plain values: the penalty's name and settings, where and how.

    Raises:
        InputError: if it holds what a file cannot: a tensor, a layer type, a function.
    """
    fields: dict[str, Any] = {"penalty": type(regularizer.penalty).__name__, **regularizer.penalty.settings()}
    fields |= {"on": regularizer.on, "coupling": regularizer.coupling}
    if regularizer.schedule is not None:
        fields["schedule"] = regularizer.schedule.model_dump(exclude_defaults=True)
    return _plain(regularizer.label, fields)


def regularizer_from_dict(fields: Mapping[str, Any]) -> Regularizer:
    """Rebuild a regularizer from :func:`regularizer_to_dict`."""
    settings = dict(fields)
    name = settings.pop("penalty", None)
    check_choice("penalty", name, _classes(penalties, Penalty))
    outer: dict[str, Any] = {key: settings.pop(key) for key in ("on", "coupling") if key in settings}
    if schedule := settings.pop("schedule", None):
        outer["schedule"] = StrengthSchedule(**schedule)
    return Regularizer(_made("penalty", penalties, name, settings), **outer)


def activity_to_dict(activity: Activity) -> dict[str, Any]:
    """Return an activity penalty as plain values.

    Raises:
        InputError: if it names its layers by their type, which a file cannot hold.
    """
    if not isinstance(activity.on, str):
        raise InputError(
            f"{activity.label} on must be a glob of layer names to be written to a file, got {activity.on!r}"
        )
    return {"penalty": type(activity.penalty).__name__, **dataclasses.asdict(activity.penalty), "on": activity.on}  # type: ignore[call-overload]


def activity_from_dict(fields: Mapping[str, Any]) -> Activity:
    """Rebuild an activity penalty from :func:`activity_to_dict`."""
    settings = dict(fields)
    name, on = settings.pop("penalty", None), settings.pop("on", None)
    check_choice("activity penalty", name, ACTIVITIES)
    return Activity(_made("activity", penalties, name, settings), on)


def augmentation_to_dict(augmentation: Augmentation) -> dict[str, Any]:
    """Return an augmentation as plain values: its name and settings.

    Raises:
        InputError: if it holds a tensor.
    """
    name = type(augmentation).__name__
    settings = {field.name: getattr(augmentation, field.name) for field in dataclasses.fields(augmentation)}  # type: ignore[arg-type]
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}
    return {"kind": name, **_plain(name, listed)}


def augmentation_from_dict(fields: Mapping[str, Any]) -> Augmentation:
    """Rebuild an augmentation from :func:`augmentation_to_dict`."""
    settings: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}
    name = settings.pop("kind", None)
    check_choice("augment kind", name, _classes(augment, Augmentation))
    made: Augmentation = _made("augment", augment, name, settings)
    return made


def _classes(room: ModuleType, base: type) -> list[str]:
    found = {name: getattr(room, name) for name in room.__all__}
    return [n for n, c in found.items() if isinstance(c, type) and issubclass(c, base) and c is not base]


def _made(part: str, room: ModuleType, name: str, settings: Mapping[str, Any]) -> Any:
    try:
        return getattr(room, name)(**settings)
    except TypeError as error:
        raise InputError(f"{part} {name} cannot be made from {settings!r}: {error}") from None


def _plain(label: str, fields: dict[str, Any]) -> dict[str, Any]:
    for name, value in fields.items():
        if isinstance(value, (Tensor, type)) or callable(value):
            raise InputError(f"{label} {name} must be a plain value to be written to a file, got {value!r}")
    return fields


def listed(field: str, items: Any, wanted: type, rebuild: Any) -> tuple[Any, ...]:
    """Return a recipe's list of parts as a tuple; mappings among them are rebuilt.

    Raises:
        InputError: if it is no list, or holds something else.
    """
    single = isinstance(items, (str, Mapping, wanted)) or not isinstance(items, Iterable)
    parts = () if single else tuple(rebuild(item) if isinstance(item, Mapping) else item for item in items)
    wrong = [items] if single else [part for part in parts if not isinstance(part, wanted)]
    for part in wrong:
        raise InputError(f"Recipe {field} must be a list of {wanted.__name__}, got {part!r}")
    return parts
