"""The C library's heap: memory that is free in it is the process's still, until it is given back."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable


def give_back() -> None:
    """Give memory that is free back to the system, where the C library can (glibc).

    A trace is many small pieces, made in several threads; what is freed of them lies between others, and with every
    further shape the process would grow by a megabyte.
    """
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], int]:
    found = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    return found or (lambda _: 0)
