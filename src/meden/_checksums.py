"""Checksums: of a JSON object at its own end, and of a folder's files in the one that is written last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from meden._checks import Damaged

CHECKSUM = "sha256"
"""Last field of an object that holds the SHA-256 of all bytes before it."""
FILES = "files"
"""Field with size and SHA-256 of the files that belong to an object, by their paths from its folder."""
_MARK = f', "{CHECKSUM}": "'.encode()
_END = b'"}'
_NUM_CHECKSUM = 2 * hashlib.sha256().digest_size + len(_END)
"""Bytes at the end of an object from the checksum on."""


def sealed(text: str, within: bytes = b"") -> bytes:
    """Return the text of a JSON object, its checksum as the last field.

    Args:
        text: of an object that is not empty.
        within: a sealed object that this one belongs to, and to no other.

    Example:
        >>> line = sealed('{"loss": 0.6576}')
        >>> is_sealed(line), is_sealed(line.replace(b"0.6576", b"0.2999"))
        (True, False)
    """
    body = text.encode()[:-1].rstrip()
    return body + _MARK + _checksum(within, body) + _END


def is_sealed(text: bytes, within: bytes = b"") -> bool:
    """Return whether an object is, byte for byte, what :func:`sealed` returned."""
    body, _, end = text.rpartition(_MARK)
    return end == _checksum(within, body) + _END


def checksums(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of files in a folder."""
    return {name: _of_file(folder / name) for name in names}


def check_files(path: Path, fields: Mapping[str, Any], names: Iterable[str] = ()) -> None:
    """Check that the files that belong to an object are those that were written with it.

    Args:
        path: of the object.
        fields: of the object.
        names: of files that must be among them.

    Raises:
        Damaged: naming the first that is missing or was changed.
    """
    files = fields.get(FILES)
    if not isinstance(files, dict) or not all(isinstance(file, dict) for file in files.values()):
        raise Damaged(f"{str(path)!r} must list the files written with it, got {files!r:.80}")
    if missing := [name for name in names if name not in files]:
        raise Damaged(f"{str(path)!r} must list the files written with it, but lacks {missing[0]!r}")
    for name, wanted in files.items():
        file = path.parent / name
        rule = f"{str(file)!r} must be unchanged since it was written with {path.name}, but"
        if not file.is_file():
            raise Damaged(f"{rule} is missing")
        if (size := file.stat().st_size) != wanted.get("size"):
            raise Damaged(f"{rule} has {size} bytes instead of {wanted.get('size')}")
        try:
            found = _of_file(file)
        except OSError as error:
            raise Damaged(f"{rule} cannot be read: {error.strerror}") from None
        if found != wanted:
            raise Damaged(f"{rule} has different contents")


def _of_file(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"size": path.stat().st_size, CHECKSUM: hashlib.file_digest(file, "sha256").hexdigest()}


def _checksum(within: bytes, body: bytes) -> bytes:
    return hashlib.sha256(within[-_NUM_CHECKSUM:] + body).hexdigest().encode()
