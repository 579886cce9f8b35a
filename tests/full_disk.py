"""A disk that is full at a chosen moment: writes under a folder are counted, and fail from the n-th on."""

import builtins
import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safetensors import SafetensorError

from meden import checkpoint
from meden.search.optuna_database import OptunaDatabase
from meden.study import ledger


class FullDisk:
    """Says of each write whether there is room.

    Args:
        root: folder that is on this disk.
        first: number of the write that fails, from 1; 0 only counts.
        sticky: whether all that follow fail too, as on a disk that stays full.
    """

    def __init__(self, root: Path, first: int = 0, *, sticky: bool = True) -> None:
        self.root, self.first, self.sticky = str(root), first, sticky
        self.writes: list[str] = []

    def write(self, kind: str, path) -> None:
        """Count a write of a kind to a file; it raises if there is no room."""
        if not os.path.abspath(path).startswith(self.root):
            return
        self.writes.append(kind)
        if self.first and (len(self.writes) >= self.first if self.sticky else len(self.writes) == self.first):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class Written:
    """An open file, each write of which is counted."""

    def __init__(self, file, disk: FullDisk, path) -> None:
        self._file, self._disk, self._path = file, disk, path

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, data):
        self._disk.write("write", self._path)
        return self._file.write(data)


@contextmanager
def full(disk: FullDisk) -> Iterator[FullDisk]:
    """Put a disk in the place of the machine's own while the body runs."""
    plain = {name: getattr(os, name) for name in ("open", "fsync", "replace", "mkdir", "rename")}
    plain_open, plain_save = io.open, checkpoint.save_file

    def open_file(file, mode="r", *args, **options):
        if isinstance(file, int) or not set(mode) & set("wax+"):
            return plain_open(file, mode, *args, **options)
        disk.write("open", file)
        return Written(plain_open(file, mode, *args, **options), disk, file)

    def open_descriptor(path, flags, *args, **options):
        if flags & (os.O_CREAT | os.O_TRUNC):
            disk.write("open", path)
        return plain["open"](path, flags, *args, **options)

    def fsync(descriptor):
        disk.write("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        plain["fsync"](descriptor)

    def moved(name):
        def move(source, target, **options):
            disk.write(name, target)
            plain[name](source, target, **options)

        return move

    def mkdir(path, *args, **options):
        if not os.path.isdir(path):
            disk.write("mkdir", path)
        plain["mkdir"](path, *args, **options)

    def save_file(tensors, path, **options):
        try:
            disk.write("write", path)
        except OSError as error:
            raise SafetensorError(f"I/O error: {error.strerror} (os error {error.errno})") from None
        plain_save(tensors, path, **options)

    class File(io.FileIO):
        def __init__(self, path, mode):
            disk.write("open", path)
            super().__init__(path, mode)

        def write(self, data):
            try:
                disk.write("write", self.name)
            except OSError:
                super().write(bytes(data)[: len(data) // 2])  # what there was room for
                raise
            return super().write(data)

        def truncate(self, size):
            disk.write("truncate", self.name)
            return super().truncate(size)

    def database(*_):
        disk.write("database", disk.root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", open_file)
        patch.setattr(builtins, "open", open_file)
        for name, function in {"open": open_descriptor, "fsync": fsync, "mkdir": mkdir}.items():
            patch.setattr(os, name, function)
        for name in ("replace", "rename"):
            patch.setattr(os, name, moved(name))
        patch.setattr(checkpoint, "save_file", save_file)
        patch.setattr(ledger, "FileIO", File)
        patch.setattr(OptunaDatabase, "end", database)  # sqlite writes by itself; what it holds is a copy
        yield disk
