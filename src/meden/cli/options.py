"""Options that several commands share as one argument: how a table is read, and where processes train."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

from meden._checks import InputError
from meden.cli.console import (
    Address,
    BackendName,
    Decimal,
    Device,
    Drop,
    Groups,
    Jobs,
    Missing,
    Read,
    Sep,
    TaskOption,
)
from meden.cli.rows import as_typed, parse_read, read_data
from meden.data import Dataset
from meden.models.placed import HERE, check_device


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a table is read."""

    groups: Groups = None
    drop: Drop = None
    read: Read = None
    sep: Sep = None
    decimal: Decimal = None
    na: Missing = None
    task: TaskOption = None

    def arguments(self) -> dict[str, Any]:
        """Return arguments of :func:`meden.as_dataset`.

        Raises:
            InputError: naming the option.
        """
        given = as_typed(self.sep, self.decimal, self.na)
        told = {"sep": given.sep, "decimal": given.decimal, "na": given.na, "read": parse_read(self.read or ())}
        return {"groups": self.groups, "drop": self.drop or (), "task": self.task, **told}

    def data(self, place: str, target: str | None) -> Dataset:
        """Return the data set of a file, or a bundled one; :func:`meden.cli.rows.show_data` says how it was read."""
        return read_data(place, target=target, **dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class Processes:
    """Where, and in how many processes, is trained."""

    jobs: Jobs = 1
    backend: BackendName = "local"
    address: Address = None
    device: Device = HERE

    def arguments(self) -> dict[str, Any]:
        """Return arguments of :func:`meden.tune` and its like."""
        return {"jobs": self.jobs, "backend": self.backend, "address": self.address}

    def check(self) -> None:
        """Check the device.

        Raises:
            InputError: if this machine has no such device, or others train.
        """
        check_on_device(self.device, self.backend)


def check_on_device(device: str, backend: str) -> None:
    """Check that a device is one of this machine, and that it is this machine that trains.

    Raises:
        InputError: if not.
    """
    if device != HERE and backend == "ray":
        raise InputError(f"--device must be {HERE} with --backend ray, whose machines are others, got {device!r}")
    check_device("--device", device)


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with an option for each field of its arguments that are dataclasses.

    Example:
        >>> def check(data: str, reading: Reading, seed: int = 0) -> None:
        ...     print(data, reading.na, seed)
        >>> list(inspect.signature(spread(check)).parameters)[:4]
        ['data', 'groups', 'drop', 'read']
        >>> spread(check)(data="a.csv", na=["?"])
        a.csv ['?'] 0
    """
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
    params: list[inspect.Parameter] = []
    for param in inspect.signature(command).parameters.values():
        if param.name not in groups:
            params.append(param.replace(annotation=hints[param.name]))
            continue
        kinds = typing.get_type_hints(groups[param.name], include_extras=True)
        params += [
            param.replace(name=field.name, default=field.default, annotation=kinds[field.name])
            for field in dataclasses.fields(groups[param.name])
        ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        made = {
            name: kind(**{f.name: given.pop(f.name) for f in dataclasses.fields(kind) if f.name in given})
            for name, kind in groups.items()
        }
        command(**given, **made)

    run.__signature__ = inspect.Signature(params)  # type: ignore[attr-defined]
    run.__annotations__ = {param.name: param.annotation for param in params}
    return run
