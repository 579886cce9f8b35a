"""Models that are made where they are trained: on the CPU, or on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from meden._checks import InputError

HERE = "cpu"


@dataclass(frozen=True)
class Placed:
    """Makes a model by a function, and moves it to a device."""

    make_model: Callable[..., nn.Module]
    device: str

    @property
    def __wrapped__(self) -> Callable[..., nn.Module]:
        """The function, whose arguments these are."""
        return self.make_model

    def __call__(self, **arguments: Any) -> nn.Module:
        """Return a model on the device.

        Raises:
            InputError: if this machine has no such device: another one may have pickled it.
        """
        check_device("device", self.device)
        return self.make_model(**arguments).to(self.device)


def placed(make_model: Callable[..., nn.Module], device: str | torch.device) -> Callable[..., nn.Module]:
    """Return what makes the same models on a device.

    Its weights are drawn on the CPU, and are those that it starts from there.

    Args:
        make_model: makes a model.
        device: as torch names it: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Raises:
        InputError: if this machine has no such device.

    Example:
        >>> placed(nn.Linear, "cpu") is nn.Linear
        True
    """
    check_device("device", device)
    return make_model if str(device) == HERE else Placed(make_model, str(device))


def check_device(name: str, device: Any) -> None:
    """Check that this machine has a device.

    Raises:
        InputError: if it has not.
    """
    known = [HERE]
    if torch.cuda.is_available():
        known += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if not isinstance(device, (str, torch.device)) or str(device) not in known:
        raise InputError(f"{name} must be a device of this machine ({', '.join(known)}), got {device!r}")
