"""The processes that train one model together; a process alone is a world of one."""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from meden._checks import InputError, one_line

PATIENCE = timedelta(minutes=10)
"""How long a process waits for another one's part of a step."""
BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""What tensors are exchanged by, by device; plain numbers are on the CPU always."""
_SLURM = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_STEP_NUM_TASKS", "LOCAL_RANK": "SLURM_LOCALID"}
_FIRST_PORT, _NUM_PORTS = 20_000, 10_000


@dataclass(frozen=True)
class World:
    """The processes of a training, as one of them sees them.

    Example:
        >>> with joined(torch.device("cpu")) as world:
        ...     world.size, world.total([1.5, 2.0]), world.share(range(4, 9))
        (1, [1.5, 2.0], range(4, 9))
    """

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that speaks and writes for all."""
        return self.rank == 0

    def share(self, rows: range) -> range:
        """Return this process's part of consecutive rows: the parts differ by one row at most, and may be empty."""
        ends = np.linspace(0, len(rows), self.size + 1).round().astype(int)
        return rows[int(ends[self.rank]) : int(ends[self.rank + 1])]

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Return sums over all processes, in double precision; all must call it."""
        sums = torch.tensor(list(numbers), dtype=torch.float64)
        if self.size > 1:
            dist.all_reduce(sums)
        return [float(number) for number in sums]

    def agreed(self, value: Any) -> Any:
        """Return a JSON-able value of the first process, to all; all must call it."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.is_first else b""
        (size,) = self.total([len(text)])
        letters = torch.zeros(int(size), dtype=torch.uint8)
        if self.is_first:
            letters.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(letters, src=0)
        return json.loads(letters.numpy().tobytes())

    def check_same(self, values: Mapping[str, Any]) -> None:
        """Check that JSON-able values are the same on all processes.

        Raises:
            InputError: on all of them, naming the first that is not.
        """
        theirs = self.agreed(dict(values))
        for name, value in values.items():
            (others,) = self.total([json.loads(json.dumps(value)) != theirs[name]])
            if others:
                raise InputError(
                    f"{name} must be the same on all {self.size} processes, got different values on {others:g}"
                )

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


def num_processes() -> int:
    """Return how many processes this one was started with, by torchrun, Slurm or meden's own launcher; 1 is alone."""
    if is_joined():
        return dist.get_world_size()
    size = os.environ.get("WORLD_SIZE") or os.environ.get(_SLURM["WORLD_SIZE"]) or "1"
    return int(size) if size.isdecimal() else 1


def is_joined() -> bool:
    """Say whether the program has joined a process group."""
    return dist.is_available() and dist.is_initialized()


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """Join the processes that this one was started with.

    A process leaves them when it ends, since a group cannot be joined again; one that was there is left to whom it is.

    Args:
        device: that the process trains on.

    Raises:
        InputError: if they cannot be reached, or torch cannot speak to them.
    """
    if is_joined():
        yield _world(device)
        return
    hook = sys.excepthook  # to which torch adds the rank, once for each group
    _join(device)
    if dist.get_world_size() > 1:
        atexit.register(_leave)
        yield _world(device)
        return
    try:
        yield _world(device)
    finally:
        _leave()
        sys.excepthook = hook


def _leave() -> None:
    if is_joined():
        dist.destroy_process_group()


def _world(device: torch.device) -> World:
    size = dist.get_world_size()
    return World(dist.get_rank(), size, device, init_device_mesh(device.type, (size,)))


def _join(device: torch.device) -> None:
    check_gloo()
    backend = BACKENDS[device.type]
    if num_processes() == 1:
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
        return
    _take_from_slurm()
    missing = [name for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"the environment must have {', '.join(missing)} for {num_processes()} processes, as torchrun and "
            "meden fit --processes set them; got none"
        )
    try:
        dist.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise InputError(
            f"MASTER_ADDR and MASTER_PORT must be a free address that rank 0 can listen on, got {where}: "
            f"{one_line(error)}"
        ) from None


def check_gloo() -> None:
    """Check that torch can speak to other processes.

    Raises:
        InputError: if it was built without.
    """
    if not dist.is_available() or not dist.is_gloo_available():
        raise InputError("torch must be built with torch.distributed and gloo to train on several processes")


def _take_from_slurm() -> None:
    """Read from Slurm's variables what torch wants to know, where nobody else has said it."""
    if "RANK" in os.environ or _SLURM["RANK"] not in os.environ:
        return
    for name, theirs in _SLURM.items():
        os.environ.setdefault(name, os.environ.get(theirs, ""))
    os.environ.setdefault("MASTER_ADDR", os.environ.get("SLURM_LAUNCH_NODE_IPADDR", ""))
    job = os.environ.get("SLURM_JOB_ID", "0")
    os.environ.setdefault("MASTER_PORT", str(_FIRST_PORT + int(job) % _NUM_PORTS))
