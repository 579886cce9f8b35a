"""Shares of a search as tasks of a Ray cluster, which starts one anew when its worker dies."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from meden._checks import InputError, one_line
from meden.workers.coordinator import Address


def cluster_host(address: str | None, jobs: int) -> str:
    """Join a cluster, or start one on this machine; returns this machine's name there.

    Raises:
        InputError: if Ray is not installed, if there is no cluster at the address, or if it has fewer cores than jobs:
            all must run at the same time, since they wait for each other in a race.
    """
    ray = _ray()
    if not ray.is_initialized():
        local = {} if address else {"num_cpus": jobs, "include_dashboard": False}
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **local)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = one_line(error)
            raise InputError(f"address must be the address of a Ray cluster, got {address!r}: {reason:.200}") from error
    num_cores = int(ray.cluster_resources().get("CPU", 0))
    if jobs > num_cores:
        raise InputError(f"jobs must be at most {num_cores}, the number of cores of the cluster, got {jobs}")
    return str(ray.util.get_node_ip_address())


def work_on_cluster(work: Callable[[Any, Address], None], assignments: Sequence[Any], address: Address) -> None:
    """Run each assignment as a task of one core, again if its worker dies; what it raises is raised here."""
    ray = _ray()
    task = ray.remote(num_cpus=1, max_retries=-1)(work)
    pending = [task.remote(assignment, address) for assignment in assignments]
    try:
        while pending:
            done, pending = ray.wait(pending)
            ray.get(done)
    finally:
        for left in pending:
            ray.cancel(left, force=True)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise InputError("backend 'ray' needs Ray: pip install 'meden[ray]'") from None
