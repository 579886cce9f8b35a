"""Processes of one training, for tests: forked from one that has imported torch once."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

IMPORTED = ["torch", "torch.distributed.fsdp", "torch.distributed.checkpoint", "meden.training.fit"]


def run_ranks(work: Callable[[int, str], Any], folder: Any, size: int) -> None:
    """Run ``work(rank, folder)`` on so many processes, which have joined a group; an error in one is raised."""
    multiprocessing.set_forkserver_preload(IMPORTED)
    mp.start_processes(_joined, (work, str(folder), size), nprocs=size, start_method="forkserver")


def _joined(rank: int, work: Callable[[int, str], Any], folder: str, size: int) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/store of {size}", rank=rank, world_size=size)
    work(rank, folder)
    dist.destroy_process_group()
