"""One training as processes of a Ray cluster, by Ray Train."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from typing import Any

from meden._checks import InputError
from meden.distributed.launching import LAUNCHED
from meden.distributed.world import BACKENDS, check_gloo
from meden.workers.ray import cluster_host


def train_on_cluster(arguments: Sequence[str], num_processes: int, address: str | None = None) -> None:
    """Run a meden command as the processes of one training, wherever a cluster has room for them.

    Files are read and written where a process runs: paths must mean the same on all machines.

    Args:
        arguments: of the command.
        num_processes: how many, a GPU each if the cluster has so many.
        address: of the cluster; None starts one on this machine.

    Raises:
        InputError: if Ray Train is not installed, the cluster is not there, or it has too few cores.
        RuntimeError: if a process fails.
    """
    cluster_host(address, num_processes)
    try:
        import ray
        from ray.train import ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError:
        raise InputError("backend 'ray' needs Ray Train: pip install 'meden[ray]'") from None
    check_gloo()
    num_gpus: float = ray.cluster_resources().get("GPU", 0)  # type: ignore[no-untyped-call]
    work = {"arguments": list(arguments), "folder": os.getcwd()}
    on_gpus = num_gpus >= num_processes
    scaling = ScalingConfig(num_workers=num_processes, use_gpu=on_gpus)
    speaking = TorchConfig(backend=BACKENDS["cuda" if on_gpus else "cpu"])
    TorchTrainer(_work, train_loop_config=work, scaling_config=scaling, torch_config=speaking).fit()


def _work(work: dict[str, Any]) -> None:
    """Run the command in this process, which Ray has joined to the others."""
    os.chdir(work["folder"])
    os.environ[LAUNCHED] = "1"
    sys.argv = ["meden", *work["arguments"]]
    try:
        runpy.run_module("meden", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"meden {' '.join(work['arguments'])} ended with status {ended.code}") from None
