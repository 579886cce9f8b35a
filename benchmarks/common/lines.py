"""A file of results, a line of JSON each: several processes may work at it, and it goes on where it was cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

Line = dict[str, Any]


class Lines:
    """The lines of a file, one a training, which several processes may write."""

    def __init__(self, path: Path) -> None:
        self.path, self.parts = path, path.with_suffix(".parts")
        self.parts.mkdir(parents=True, exist_ok=True)

    def all(self) -> list[Line]:
        """Return the lines that are whole."""
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1] if line.endswith("}")]

    def find(self, key: Mapping[str, Any]) -> list[Line]:
        """Return the lines that have these values."""
        return [line for line in self.all() if key.items() <= line.items()]

    def add(self, line: Line) -> None:
        """Write a line, behind one that was cut off if need be."""
        with FileLock(self.parts / "lines.lock"), self.path.open("a+b") as file:
            file.seek(max(0, file.tell() - 1))
            cut_off = file.read() not in (b"", b"\n")
            file.write(b"\n" * cut_off + json.dumps(line).encode() + b"\n")

    @contextmanager
    def claim(self, key: Mapping[str, Any]) -> Iterator[Path | None]:
        """Give the path of the training's checkpoint; None if its line is there, or another process is at it."""
        name = "-".join(str(value).replace(" ", "_") for value in key.values())
        checkpoint = self.parts / f"{name}.safetensors"
        try:
            with FileLock(checkpoint.with_suffix(".lock"), blocking=False):
                yield None if self.find(key) else checkpoint
                if self.find(key):
                    checkpoint.unlink(missing_ok=True)
        except Timeout:
            yield None
