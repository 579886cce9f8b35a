"""The same penalty on a shard: training under FSDP2 on two ranks gives what one process gives (promise 8)."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from meden.optim import Regularizer, regularize
from meden.penalties import L1, L2, ElasticNet, GroupLasso, MaxNorm, Nuclear, PullTo, SparseGroupLasso

pytestmark = pytest.mark.distributed

CASES: dict[str, tuple[Callable[..., Optimizer], list[Regularizer]]] = {
    "L1, SGD": (lambda p: SGD(p, lr=0.1, momentum=0.5), [Regularizer(L1(0.02))]),
    "L1, Adam": (lambda p: Adam(p, lr=0.02), [Regularizer(L1(0.02))]),
    "elastic net and MaxNorm, Adam": (
        lambda p: Adam(p, lr=0.02),
        [Regularizer(ElasticNet(0.02)), Regularizer(MaxNorm(0.5))],
    ),
    "L2, AdamW": (
        lambda p: AdamW(p, lr=0.02, weight_decay=0.0),
        [Regularizer(L2(0.5)), Regularizer(L1(0.1), "biases", "gradient")],
    ),
    "groups of rows, Adam": (lambda p: Adam(p, lr=0.02), [Regularizer(GroupLasso(0.05, dim=0))]),
    "groups of columns, SGD": (lambda p: SGD(p, lr=0.1), [Regularizer(SparseGroupLasso(0.05, dim=1))]),
    "pull to the start, Adam": (lambda p: Adam(p, lr=0.02), [Regularizer(PullTo(L1(0.02)))]),
    "nuclear, Adam": (lambda p: Adam(p, lr=0.02), [Regularizer(Nuclear(0.05), on="0.weight")]),
}


def train(name: str, *, sharded: bool) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    x = torch.randn(32, 6, dtype=torch.float64)
    y = torch.stack([x[:, 0], x[:, 1] * x[:, 2]], dim=1)
    if sharded:
        from torch.distributed.fsdp import fully_shard

        fully_shard(model)
        x, y = x[dist.get_rank() :: 2], y[dist.get_rank() :: 2]
    make, regularizers = CASES[name]
    optimizer = make(model.parameters())
    handle = regularize(optimizer, model, regularizers)
    for _ in range(25):
        optimizer.zero_grad()
        ((model(x) - y).square().mean() / 2).backward()
        optimizer.step()
    state = {n: p.full_tensor() if sharded else p.detach() for n, p in model.state_dict().items()}
    return state, handle.values()


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results = {name: train(name, sharded=True) for name in CASES}
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks() -> dict[str, tuple[dict[str, torch.Tensor], dict[str, float]]]:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, args=(folder,), nprocs=2)
        return torch.load(Path(folder) / "results.pt", weights_only=True)


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_equal_one(two_ranks, name) -> None:
    (state, values), (expected_state, expected_values) = two_ranks[name], train(name, sharded=False)
    for key, expected in expected_state.items():
        torch.testing.assert_close(state[key], expected, rtol=0, atol=1e-10)
        assert torch.equal(state[key] == 0, expected == 0)
    assert values == pytest.approx(expected_values, rel=1e-9)
