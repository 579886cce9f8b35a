"""Parts of a recipe as plain values, which YAML and JSON can hold, and back.

A part is the name of its class, ``kind``, and its settings. Classes are meden's own, and those that a user names at
loading.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from meden import augment, penalties
from meden._checks import InputError, nearest
from meden._files import known_fields
from meden.augment import Augmentation
from meden.optim import Activity, Regularizer, StrengthSchedule
from meden.penalties import ActivityPenalty, Penalty
from meden.structure import ModelGroups

Classes = Mapping[str, type]
"""A user's own classes, by the names that they have in a file."""


class Family(NamedTuple):
    """Classes of one kind."""

    what: str
    base: type
    room: ModuleType
    argument: str
    """That names a user's own at loading."""


PENALTY = Family("penalty", Penalty, penalties, "penalties")
ACTIVITY = Family("activity penalty", ActivityPenalty, penalties, "penalties")
AUGMENTATION = Family("augment kind", Augmentation, augment, "augmentations")


def check_classes(own: Classes, *families: Family) -> None:
    """Check the classes that a user names at loading.

    Raises:
        InputError: if one is no final dataclass of these families, or has the name of one of meden's.
    """
    argument, room = families[0].argument, families[0].room
    if not isinstance(own, Mapping):
        raise InputError(f"{argument} must be a mapping of names to classes, got {own!r}")
    for name, kind in own.items():
        if not any(_is_final(kind, family) for family in families) or not dataclasses.is_dataclass(kind):
            bases = " or ".join(family.base.__name__ for family in families)
            raise InputError(f"{argument} must be dataclasses with all methods of {bases}, got {name!r}: {kind!r}")
        if getattr(room, name, kind) is not kind:
            raise InputError(f"{argument} must have names that meden does not use, got {name!r}: {kind!r}")


def regularizer_to_dict(regularizer: Regularizer) -> dict[str, Any]:
    """Return a regularizer as plain values: the penalty's name and settings, where and how.

    Raises:
        InputError: if it holds what a file cannot: a tensor, a layer type, a function.
    """
    label, schedule = regularizer.label, regularizer.schedule
    outer = {"on": _plain(regularizer.on, f"{label} on"), "coupling": regularizer.coupling}
    if schedule is not None:
        outer["schedule"] = schedule.model_dump(exclude_defaults=True)
    if regularizer.groups is not None:
        outer["groups"] = _kind(regularizer.groups, label)
    return _joined(part_to_dict(regularizer.penalty, PENALTY, label), outer)


def regularizer_from_dict(fields: Mapping[str, Any], own: Classes, newer: bool = False) -> Regularizer:
    """Rebuild a regularizer from :func:`regularizer_to_dict`."""
    part, outer = _parted(fields, "on", "coupling", "schedule", "groups")
    if isinstance(schedule := outer.get("schedule"), Mapping):
        outer["schedule"] = StrengthSchedule(**(StrengthSchedule.known(schedule) if newer else schedule))
    return Regularizer(part_from_dict(part, PENALTY, own, newer), **outer)


def _kind(groups: str | ModelGroups, label: str) -> str:
    """Return the kind of groups.

    Raises:
        InputError: if they are those of one model, which a recipe is to know nothing of.
    """
    if isinstance(groups, ModelGroups):
        raise InputError(
            f"groups of {label} must be a kind to be written to a file, such as groups={groups.kind!r}, which is "
            f"resolved for each model, got {sum(len(found.names) for found in groups.sets)} groups of one model"
        )
    return groups


def activity_to_dict(activity: Activity) -> dict[str, Any]:
    """Return an activity penalty as plain values.

    Raises:
        InputError: if it names its layers by what a file cannot hold: a type, a function.
    """
    part = part_to_dict(activity.penalty, ACTIVITY, activity.label)
    return _joined(part, {"on": _plain(activity.on, f"{activity.label} on")})


def activity_from_dict(fields: Mapping[str, Any], own: Classes, newer: bool = False) -> Activity:
    """Rebuild an activity penalty from :func:`activity_to_dict`."""
    part, outer = _parted(fields, "on")
    return Activity(part_from_dict(part, ACTIVITY, own, newer), **{"on": None, **outer})


def augmentation_to_dict(augmentation: Augmentation) -> dict[str, Any]:
    """Return an augmentation as plain values: its name and settings.

    Raises:
        InputError: if it holds a tensor.
    """
    return part_to_dict(augmentation, AUGMENTATION, type(augmentation).__name__)


def augmentation_from_dict(fields: Mapping[str, Any], own: Classes, newer: bool = False) -> Augmentation:
    """Rebuild an augmentation from :func:`augmentation_to_dict`."""
    made: Augmentation = part_from_dict(fields, AUGMENTATION, own, newer)
    return made


def part_to_dict(part: Any, family: Family, label: str) -> dict[str, Any]:
    """Return the name of a part's class and its settings, in which penalties may be nested.

    Raises:
        InputError: if it holds what a file cannot, or a name of the user's stands for something else there.
    """
    kind = type(part)
    if getattr(family.room, kind.__name__, kind) is not kind:
        raise InputError(f"{label} must have a class with a name to be written to a file, got {kind!r}")
    settings = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    if "kind" in settings:
        raise InputError(f"{label} must rename its field kind to be written to a file, got {kind!r}")
    return {"kind": kind.__name__} | {name: _plain(value, f"{label} {name}") for name, value in settings.items()}


def part_from_dict(fields: Mapping[str, Any], family: Family, own: Classes, newer: bool = False) -> Any:
    """Rebuild a part from :func:`part_to_dict`.

    Raises:
        InputError: if there is no such class, or it has no such settings, unless a newer minor version wrote them.
    """
    kind = _class(fields.get("kind"), family, own)
    given = known_fields(kind, fields) if newer else {name: value for name, value in fields.items() if name != "kind"}
    settings = {name: _rebuilt(value, own, newer) for name, value in given.items()}
    try:
        return kind(**settings)
    except TypeError as error:
        raise InputError(f"{family.what} {kind.__name__} cannot be made from {settings!r}: {error}") from None


def listed(field: str, items: Any, own: Classes, *, newer: bool = False) -> tuple[Any, ...]:
    """Return a recipe's list of parts as a tuple; mappings among them are rebuilt.

    Raises:
        InputError: if it is no list, or holds something else.
    """
    wanted, rebuild = LISTS[field]
    single = isinstance(items, (str, Mapping, wanted)) or not isinstance(items, Iterable)
    parts = () if single else tuple(rebuild(item, own, newer) if isinstance(item, Mapping) else item for item in items)
    wrong = [items] if single else [part for part in parts if not isinstance(part, wanted)]
    for part in wrong:
        raise InputError(f"Recipe {field} must be a list of {wanted.__name__}, got {part!r}")
    return parts


LISTS: dict[str, tuple[type, Callable[[Mapping[str, Any], Classes, bool], Any]]] = {
    "regularizers": (Regularizer, regularizer_from_dict),
    "activity": (Activity, activity_from_dict),
    "augment": (Augmentation, augmentation_from_dict),
}
"""The fields of a recipe that are lists of parts."""


def _joined(part: dict[str, Any], outer: dict[str, Any]) -> dict[str, Any]:
    """Return a penalty and what is said beside it in one mapping, or in two where names would clash."""
    if part.keys() & {"penalty", "on", "coupling", "schedule", "groups"}:
        return {"penalty": part, **outer}
    return {"penalty": part.pop("kind"), **part, **outer}


def _parted(fields: Mapping[str, Any], *names: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the penalty, and what is said beside it under these names."""
    outer = {name: value for name, value in fields.items() if name in names}
    penalty = fields.get("penalty")
    form = penalty if isinstance(penalty, Mapping) else {"kind": penalty}
    rest = {name: value for name, value in fields.items() if name not in {"penalty", *names}}
    return {**form, **rest}, outer


def _class(name: Any, family: Family, own: Classes) -> type:
    found = {n: getattr(family.room, n) for n in family.room.__all__} | dict(own)
    classes: dict[str, type] = {n: kind for n, kind in found.items() if _is_final(kind, family)}
    if isinstance(name, str) and name in classes:
        return classes[name]
    refused = f"{family.what} must be one of {', '.join(classes)}, got {name!r}"
    if not isinstance(name, str) or hasattr(family.room, name):
        raise InputError(refused)
    pass_it = f"a class of your own is named at loading, by {family.argument}={{{name!r}: {name}}}"
    raise InputError(f"{refused}{nearest(name, classes)}; {pass_it}")


def _is_final(kind: Any, family: Family) -> bool:
    return isinstance(kind, type) and issubclass(kind, family.base) and not inspect.isabstract(kind)


def _plain(value: Any, label: str) -> Any:
    if isinstance(value, Penalty):
        return part_to_dict(value, PENALTY, label)
    if isinstance(value, (list, tuple)):
        return [_plain(part, label) for part in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InputError(f"{label} must be a plain value to be written to a file, got {value!r}")


def _rebuilt(value: Any, own: Classes, newer: bool) -> Any:
    if isinstance(value, Mapping) and "kind" in value:
        return part_from_dict(value, PENALTY, own, newer)
    return tuple(_rebuilt(part, own, newer) for part in value) if isinstance(value, list) else value
