"""Checkpoints of a training on many processes: a folder for each, of safetensors shards and a file of plain values.

Each process writes what it holds into ``step-N.part``; when all have, the first writes ``state.json``, with size and
SHA-256 of each file, and gives the folder its name. A folder without ``.part`` is whole. Any number of processes can
read it. Nothing in it is a pickle, which a distributed checkpoint of torch's own format is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import Tensor

from meden._checks import Damaged, InputError
from meden._checksums import CHECKSUM, FILES, check_files
from meden._files import flush_name, read_json, write_json
from meden.distributed.world import World

STATE = "state.json"
VALUES = "values"
_STEP, _PART = "step-", ".part"


class Form(NamedTuple):
    """Shape and type of a saved tensor."""

    shape: torch.Size
    dtype: torch.dtype


class Checkpoint(NamedTuple):
    """A whole checkpoint on the disk."""

    folder: Path
    values: Mapping[str, Any]
    """What was saved beside the tensors."""


def save(folder: Path, step: int, tensors: Mapping[str, Tensor], values: Any, world: World, *, keep: int) -> None:
    """Write a checkpoint, and remove all but the newest; all processes must call it.

    Args:
        folder: of the checkpoints.
        step: its number.
        tensors: what each process holds of them, by names that are the same on all.
        values: JSON-able, those of the first process count.
        world: the processes.
        keep: checkpoints that are left.
    """
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save as save_shards

    whole = folder / f"{_STEP}{step}"
    if world.agreed(whole.is_dir()):
        return
    part = whole.with_name(whole.name + _PART)
    if world.is_first:
        for left in folder.glob(f"{_STEP}*{_PART}"):
            shutil.rmtree(left)
        part.mkdir(parents=True)
    world.barrier()
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    writer = HuggingFaceStorageWriter(str(part), save_distributed=True)
    with _own_errors(whole):
        save_shards(contiguous, storage_writer=writer)
    files = _written(part, world)
    if world.is_first:
        write_json(part / STATE, {VALUES: values, FILES: files})
        os.replace(part, whole)
        flush_name(whole)
        for old in _steps(folder)[keep:]:
            shutil.rmtree(old.replace(old.with_name(old.name + _PART)))  # never half a folder under a whole one's name
    world.barrier()


@contextmanager
def _own_errors(folder: Path) -> Iterator[None]:
    """Raise what went wrong on a process, of a disk that is full for one, and not torch's collection of all.

    Raises:
        OSError: naming the folder, if the system refused something; or whatever else was raised first.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        yield
    except CheckpointException as error:  # which is no Exception
        first = next(iter(error.failures.values()))[0]
        if isinstance(first, OSError) and first.filename is None:
            first.filename = str(folder)
        raise first from None


def _written(part: Path, world: World) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of all files, each measured by the process that wrote it, once it is on the disk."""
    own = [path for path in part.iterdir() if path.name.startswith(f"shard-{world.rank + 1:05d}-")]
    told = torch.zeros(world.size, 1 + hashlib.sha256().digest_size, dtype=torch.int64)
    for path in own:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").digest()
        told[world.rank] = torch.tensor([path.stat().st_size, *digest])
    if world.size > 1:
        dist.all_reduce(told)
    if not world.is_first:  # which alone needs them, and may give the folder its name at once
        return {}
    files = {path.name: told[int(path.name.split("-")[1]) - 1].tolist() for path in sorted(part.glob("shard-*"))}
    return {name: {"size": size, CHECKSUM: bytes(digest).hex()} for name, (size, *digest) in files.items()}


def newest(folder: Path, world: World) -> Checkpoint | None:
    """Return the newest whole checkpoint of a folder, None if there is none; all processes must call it.

    Raises:
        Damaged: on all, if a file of it is missing or was changed.
        InputError: if the folder is a file.
    """
    found, problem = "", ""
    values: Mapping[str, Any] = {}
    if world.is_first:
        try:
            found, values = _newest(folder)
        except InputError as error:
            problem = str(error)
    found, problem, values = world.agreed([found, problem, values])
    if problem:
        raise Damaged(problem)
    return Checkpoint(Path(found), values) if found else None


def _newest(folder: Path) -> tuple[str, dict[str, Any]]:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"checkpoint must be a folder for training on several processes, got the file {str(folder)!r}")
    steps = _steps(folder)
    if not steps:
        return "", {}
    state = steps[0] / STATE
    fields = read_json(state)
    check_files(state, fields, [path.name for path in steps[0].glob("*.safetensors")])  # all of them are read
    if not isinstance(fields.get(VALUES), dict):
        raise Damaged(f"{str(state)!r} must hold {VALUES}, got {fields.get(VALUES)!r:.60}")
    return str(steps[0]), fields[VALUES]


def _steps(folder: Path) -> list[Path]:
    """Return the whole checkpoints, newest first."""
    numbers = {path: path.name.removeprefix(_STEP) for path in folder.glob(f"{_STEP}*") if path.is_dir()}
    return sorted((p for p, number in numbers.items() if number.isdecimal()), key=lambda p: -int(numbers[p]))


def forms(checkpoint: Checkpoint) -> dict[str, Form]:
    """Return the forms of all tensors of a checkpoint by name."""
    metadata = _reader(checkpoint).read_metadata()
    return {name: Form(own.size, own.properties.dtype) for name, own in metadata.state_dict_metadata.items()}


def load(checkpoint: Checkpoint, make: Callable[[str, Form], Tensor]) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint, each process its own parts; all must call it.

    Args:
        checkpoint: from :func:`newest`.
        make: returns a tensor to write into, which may be divided among the processes, from a name and a form.

    Raises:
        Damaged: if a file cannot be read.
    """
    from torch.distributed.checkpoint.state_dict_loader import load as load_shards

    tensors = {name: make(name, form) for name, form in forms(checkpoint).items()}
    try:
        with _own_errors(checkpoint.folder):
            load_shards(tensors, storage_reader=_reader(checkpoint))
    except (OSError, SafetensorError) as error:
        raise Damaged(f"checkpoint {str(checkpoint.folder)!r} cannot be read: {error}") from None
    return tensors


def _reader(checkpoint: Checkpoint) -> Any:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    return HuggingFaceStorageReader(str(checkpoint.folder))
