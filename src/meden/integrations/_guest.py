"""Another library, imported where it is there."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from meden._checks import InputError


class Missing(InputError, ImportError):
    """A guest is not installed, or was imported in a way that cannot work; the message says what to type."""


def guest(extra: str, *names: str) -> Any:
    """Import the first of these modules that is in use already, or else that is installed.

    Raises:
        Missing: naming the extra that brings it.
    """
    for name in sorted(names, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            if not (error.name and name.startswith(error.name.split(".")[0])):
                raise  # it is there, and what it needs is not
    raise Missing(f"{names[0].split('.')[0]} must be installed: pip install 'meden[{extra}]'")
