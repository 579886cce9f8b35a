"""One process at a time writes a file. The kernel takes the lock back from a process that was killed."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from meden._checks import InputError


@contextmanager
def writing(path: Path, *, name: str = "study_dir", what: str = "search") -> Iterator[None]:
    """Keep other processes from writing a file while the body runs.

    Beside it, a file that ends in ``.lock`` is what is locked, and one that ends in ``.pid`` says who holds it: where
    locks are mandatory, the first cannot be read. ``name`` is the argument that names the folder, ``what`` writes.

    Raises:
        InputError: if another holds it, saying which process and which machine.
        OSError: if the folder cannot be written to.
    """
    lock, holder = FileLock(path.with_suffix(".lock"), thread_local=False), path.with_suffix(".pid")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(
            f"{name} must not be in use, got {str(path.parent)!r}: another {what} is writing to "
            f"it{_process(holder)}; wait until it ends, or choose another folder"
        ) from None
    try:
        holder.write_text(f"{os.getpid()} on {platform.node()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _process(holder: Path) -> str:
    """Return which process holds a lock; nothing if it has let go of it meanwhile."""
    try:
        return f" (process {holder.read_text()})"
    except OSError:
        return ""
