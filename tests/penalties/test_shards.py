"""The same penalty on a shard: 2 ranks give what 1 rank gives, over the table of cases."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard, distribute_tensor, init_device_mesh

from meden.penalties import SparsePenalty
from tests.contracts import PENALTIES, PenaltyCase

STRENGTH = 0.6


def results(case: PenaltyCase, w: Tensor, steps: Tensor, strength: float | Tensor) -> dict[str, Tensor]:
    penalty = case.make(strength).bind(w)
    out = {"value": penalty.value(w), "grad": penalty.grad(w)}
    if penalty.has_prox:
        out["prox"] = penalty.prox(w, 0.5)
    if penalty.metric:
        out["metric"] = penalty.prox(w, steps)
    if isinstance(penalty, SparsePenalty):
        out["strength_max"] = penalty.strength_max(w)
    if not penalty.is_constraint and torch.isfinite(full(out["value"])):
        leaf = w.detach().requires_grad_()
        (out["autograd"],) = torch.autograd.grad(penalty.value(leaf), leaf)
    return out


def full(x: Tensor) -> Tensor:
    return x.full_tensor() if isinstance(x, DTensor) else x


def differences(mesh: dist.DeviceMesh) -> list[str]:
    found = []
    for case in PENALTIES:
        generator = torch.Generator().manual_seed(0)
        w = torch.randn(case.shape, dtype=torch.float64, generator=generator)
        steps = torch.rand(case.shape, dtype=torch.float64, generator=generator) + 0.1
        for axis, strength in enumerate((STRENGTH, torch.tensor(STRENGTH, dtype=torch.float64))):
            expected = results(case, w, steps, strength)
            spread = [distribute_tensor(x, mesh, [Shard(axis)]) for x in (w, steps)]
            where = f"{case.name}, sharded along {axis}"
            try:
                for key, got in results(case, *spread, strength).items():
                    copied = torch.empty_like(spread[0]).copy_(got) if got.shape == w.shape else got
                    if not torch.allclose(full(copied), expected[key], equal_nan=True, rtol=1e-12, atol=1e-12):
                        found.append(f"{where}: {key} {full(copied)} instead of {expected[key]}")
            except Exception as error:  # all cases are reported at once, on the rank that waits for them
                found.append(f"{where}: {type(error).__name__} {error}")
    return found


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = differences(init_device_mesh("cpu", (2,)))
    dist.destroy_process_group()
    Path(folder, f"{rank}.txt").write_text("\n".join(found))


@pytest.mark.distributed
def test_two_ranks_give_what_one_gives(tmp_path: Path) -> None:
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        assert not (tmp_path / f"{rank}.txt").read_text().splitlines()
