"""Steps on a DTensor are those on the whole tensor, in few collectives: all penalties, however it is spread."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh
from torch.distributed.tensor.debug import CommDebugMode

from meden.optim import Regularizer, regularize
from meden.penalties import (
    L1,
    L2,
    Box,
    GroupLasso,
    MaxNorm,
    Nuclear,
    Penalty,
    PullTo,
    Scaled,
    SparseGroupLasso,
    UnitNorm,
)
from meden.penalties.compose import AtScale
from tests.contracts import PENALTIES

pytestmark = pytest.mark.distributed

OPTIMIZERS = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.5),
    "Adam": lambda params: torch.optim.Adam(params, lr=0.1),
}
SPREADS = {
    "rows": ((2,), [Shard(0)]),
    "columns": ((2,), [Shard(1)]),
    "replicas of shards": ((1, 2), [Replicate(), Shard(0)]),
    "shards of replicas": ((2, 1), [Shard(0), Replicate()]),
    "replicas": ((2,), [Replicate()]),
    "both axes": ((2, 1), [Shard(0), Shard(1)]),
}


@dataclass(frozen=True)
class LargestRow(Penalty):
    """strength times the largest norm of a row: one of a user's own, which must see all of a tensor."""

    strength: float
    convex = True
    separable = smooth = has_prox = metric = is_constraint = False

    def value(self, w: Tensor) -> Tensor:
        return self.strength * w.norm(dim=1).amax()

    def grad(self, w: Tensor) -> Tensor:
        norms = w.norm(dim=1, keepdim=True)
        if not len(w):
            return w
        return self.strength * (norms == norms.amax()) * w / norms

    def prox(self, w: Tensor, step: object) -> Tensor:
        raise NotImplementedError


CONTRACTS = {case.name: ([case.make(0.6)], case.shape) for case in PENALTIES}


def cases() -> dict[str, tuple[list[Penalty], tuple[int, ...]]]:
    """Return penalties on one tensor, and its shape."""
    uneven = (33, 7)
    number = torch.tensor(0.05, dtype=torch.float64)
    bounds = torch.linspace(0.1, 0.9, 7, dtype=torch.float64)
    own = {
        "blocks of 3": [GroupLasso(0.02, block=3)],
        "inputs": [GroupLasso(number, dim="inputs")],
        "sparse groups": [SparseGroupLasso(0.05, dim=-1)],
        "units and inputs": [GroupLasso(0.05), GroupLasso(0.03, dim=1)],
        "blocks and units": [GroupLasso(0.02, block=3), MaxNorm(1.5)],
        "towards the start": [PullTo(GroupLasso(0.05, dim=1))],
        "rank of the difference": [PullTo(Nuclear(0.2))],
        "low rank": [Scaled(Nuclear(number), 3.0)],
        "two that are one after the other": [Nuclear(0.1), L1(number), L2(0.1)],
        "at a scale": [AtScale(SparseGroupLasso(0.05, block=3), 0.5)],
        "unit inputs": [UnitNorm(dim="inputs")],
        "bounds of each input": [Box(-bounds, bounds)],
        "a target of each coordinate": [PullTo(MaxNorm(0.5, dim=1), torch.full(uneven, 0.2, dtype=torch.float64))],
        "of one's own": [LargestRow(0.3)],
    }
    found = {name: (penalties, uneven) for name, penalties in own.items()}
    found |= {f"{name}, one row": (own[name], (1, 7)) for name in ("inputs", "low rank", "unit inputs")}
    return found | CONTRACTS


def couplings(penalties: list[Penalty]) -> list[str]:
    is_constraint = any(p.is_constraint or isinstance(p, PullTo) for p in penalties) or "Sum(" in repr(penalties)
    return ["proximal"] * all(p.has_prox for p in penalties) + ["gradient", "decoupled"] * (not is_constraint)


def stepped(
    penalties: list[Penalty], coupling: str, rule: str, w: Tensor, grads: list[Tensor]
) -> tuple[Tensor, list[int]]:
    """Return the weights after some steps, and the collectives of each."""
    model = nn.Module()
    model.weight, model.weight_axes = nn.Parameter(w), {"units": 0, "inputs": 1}
    optimizer = OPTIMIZERS[rule](model.parameters())
    regularize(optimizer, model, [Regularizer(p, "weight", coupling) for p in penalties])
    counts = []
    for grad in grads:
        model.weight.grad = grad.clone()
        with CommDebugMode() as comm:
            optimizer.step()
        counts.append(comm.get_total_counts())
    return model.weight.detach(), counts


def differences() -> list[str]:
    found = []
    for (name, (penalties, shape)), (spread, (mesh_shape, placements)) in itertools.product(
        cases().items(), SPREADS.items()
    ):
        mesh = init_device_mesh("cpu", mesh_shape)
        generator = torch.Generator().manual_seed(0)
        whole = [torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2)]
        parts = [distribute_tensor(x, mesh, placements) for x in whole]
        for coupling, rule in itertools.product(couplings(penalties), OPTIMIZERS):
            where = f"{name}, {spread}, {coupling}, {rule}"
            if name in CONTRACTS and (spread not in ("rows", "columns") or coupling == "decoupled"):
                continue
            try:
                expected, _ = stepped(penalties, coupling, rule, whole[0].clone(), whole[1:])
                got, counts = stepped(penalties, coupling, rule, parts[0].clone(), parts[1:])
            except Exception as error:  # all cases are reported at once
                found.append(f"{where}: {type(error).__name__} {error}")
                continue
            full = got.full_tensor()
            if not torch.allclose(full, expected, rtol=0, atol=1e-10) or not torch.equal(full == 0, expected == 0):
                found.append(f"{where}: off by {(full - expected).abs().max()}")
            if spread != "both axes" and max(counts) > 2:
                found.append(f"{where}: {counts} collectives")
    return found


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = differences()
    dist.destroy_process_group()
    Path(folder, f"{rank}.txt").write_text("\n".join(found))


def test_two_ranks_step_like_one(tmp_path: Path) -> None:
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        assert not (tmp_path / f"{rank}.txt").read_text().splitlines()
