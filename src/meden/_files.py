"""Files of plain values: written whole or not at all, with the version of their format.

A version is ``major.minor``. Whoever reads a file of a newer minor version ignores what it does not know, and takes
defaults for what is not there; another major version is refused. A file without a version was written by a person.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meden._checks import Damaged, InputError, parse_json
from meden._checksums import CHECKSUM, is_sealed, sealed

MAJOR, MINOR = 3, 1
FORMAT = f"{MAJOR}.{MINOR}"
"""Version of what this meden writes."""
FIELD = "format"
_VERSION = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}")
_BEGINNING = f'{{\n "{FIELD}": "'.encode()
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk that is full, and of quotas."""


def versioned(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with the version in front."""
    return {FIELD: FORMAT, **fields}


def check_format(version: Any, path: Path | str, oldest: int = MAJOR) -> bool:
    """Check that a file's version can be read; returns whether it is newer, so that it may hold unknown fields.

    Args:
        version: what the file says; None is a file without a version.
        path: of the file.
        oldest: major version since which such files have not changed.

    Raises:
        InputError: if its major version is another than this meden's, or if it is no version.

    Example:
        >>> check_format("3.0", "run.json"), check_format("3.99", "run.json"), check_format(None, "recipe.yaml")
        (False, True, False)
    """
    if version is None:
        return False
    if not isinstance(version, (str, float)) or not _VERSION.fullmatch(str(version)):
        raise InputError(f"{str(path)!r} must have a format such as {FORMAT!r}, got {version!r:.60}")
    major, _, minor = str(version).partition(".")
    if int(major) > MAJOR:
        raise InputError(
            f"{str(path)!r} must be of format {MAJOR} or older to be read by this meden (format {FORMAT}), "
            f"got format {version}; update meden"
        )
    if int(major) < oldest:
        raise InputError(
            f"{str(path)!r} must be of format {oldest} or newer to be read by this meden (format {FORMAT}), got "
            f"format {version} from an older meden; create it again in another folder"
        )
    return (int(major), int(minor)) > (MAJOR, MINOR)


def known_fields(owner: type, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some fields that a dataclass has.

    Example:
        >>> @dataclasses.dataclass
        ... class Point:
        ...     x: float
        >>> known_fields(Point, {"x": 1.0, "colour": "red"})
        {'x': 1.0}
    """
    names = {field.name for field in dataclasses.fields(owner)}
    return {name: value for name, value in fields.items() if name in names}


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path beside a file for the body to write; it then takes the file's place, on the disk and not in a cache.

    If the body fails, or process or machine stop, the file that was there before is left. An error of the disk names
    the file.
    """
    if path.exists() and not path.is_file():
        yield path  # a pipe, such as /dev/stdout
        return
    path = path.resolve()  # a link stays a link
    part = path.with_name(path.name + ".part")
    try:
        yield part
        _sync(part, os.O_RDWR)
        os.replace(part, path)
        flush_name(path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def flush_name(path: Path) -> None:
    """Make sure that a new file is found in its folder after the power has failed."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        _sync(path.parent, os.O_RDONLY)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: see :func:`whole`."""
    with whole(path) as part:
        part.write_bytes(data)


def write_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Write fields, the version and a checksum; a crash leaves the file that was there before."""
    write_whole(path, sealed(json.dumps(versioned(fields), indent=1, default=_plain)))


def begins_file(text: bytes) -> bool:
    r"""Return whether a text is what :func:`write_json` writes, as far as its first field, or a beginning of that.

    Example:
        >>> begins_file(b'{\n "form'), begins_file(b'{"mine": 1}')
        (True, False)
    """
    return text[: len(_BEGINNING)] == _BEGINNING[: len(text)]


def read_json(path: Path) -> dict[str, Any]:
    """Read what :func:`write_json` wrote.

    Raises:
        Damaged: if the file is missing, or was changed since.
        InputError: if it is of another major version.
    """
    try:
        text = path.read_bytes()
        fields = parse_json(text)
    except (OSError, ValueError) as error:
        raise Damaged(f"{str(path)!r} must be a file that meden wrote, but cannot be read: {error}") from None
    if not isinstance(fields, dict):
        raise Damaged(f"{str(path)!r} must be a file that meden wrote, got {fields!r:.80}")
    check_format(fields.get(FIELD), path)
    if not is_sealed(text):
        raise Damaged(f"{str(path)!r} must be unchanged since meden wrote it, but does not match its {CHECKSUM}")
    del fields[CHECKSUM]
    return fields


def _sync(path: Path, flags: int) -> None:
    """Wait until what was written to a file or a folder is on the disk."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a number of numpy's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r:.80} is not a plain value")
