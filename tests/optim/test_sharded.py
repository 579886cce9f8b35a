"""The same penalty on a shard: training on two ranks gives what one process gives (promise 8)."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.nn.parallel import DistributedDataParallel

from meden.noise import Dropout, seed_noise, set_shard
from meden.optim import Regularizer, StrengthSchedule, regularize
from meden.penalties import L1, L2, ElasticNet, GroupLasso, MaxNorm, Nuclear, PullTo
from meden.structure import GroupSet, ModelGroups, Piece
from tests.optim.grouped import each

pytestmark = pytest.mark.distributed

STEPS, ROWS, RANKS = 50, 32, 2
RULES: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.5),
    "AdamW": lambda params: torch.optim.AdamW(params, lr=0.02, weight_decay=0.0, fused=True),
}
UNIT = Piece("0.weight", 0, each(33)), Piece("0.bias", 0, each(33)), Piece("2.weight", 1, each(33))
UNITS = ModelGroups("units", (GroupSet("units", tuple(map(str, range(33))), UNIT),))
PAIR = Piece("0.weight", 1, ((0, 3), (6, 2))), Piece("2.weight", 0, ((2,), (0,)))
PAIRS = ModelGroups("inputs", (GroupSet("pairs", ("a", "b"), PAIR),))
PENALTIES: dict[str, list[Regularizer]] = {
    "L1": [Regularizer(L1(0.02))],
    "L2": [Regularizer(L2(0.1)), Regularizer(L1(0.1), "biases", "gradient")],
    "GroupLasso units": [Regularizer(GroupLasso(0.03))],
    "GroupLasso inputs": [Regularizer(GroupLasso(0.02, dim="inputs"))],
    "GroupLasso block 3": [Regularizer(GroupLasso(0.04, block=3))],
    "MaxNorm": [Regularizer(ElasticNet(0.02)), Regularizer(MaxNorm(0.5))],
    "Nuclear": [Regularizer(Nuclear(0.05))],
    "GroupLasso across tensors": [Regularizer(GroupLasso(0.05), groups=UNITS), Regularizer(L1(0.01))],
    "parts of tensors as groups": [
        Regularizer(GroupLasso(0.05), groups=PAIRS, coupling="gradient"),
        Regularizer(PullTo(GroupLasso(0.02)), groups=PAIRS),
    ],
    "PullTo": [Regularizer(PullTo(L1(0.02))), Regularizer(PullTo(GroupLasso(0.01)), schedule=StrengthSchedule(end=20))],
}
SPANNING = "GroupLasso across tensors", "parts of tensors as groups"
WAYS = {
    "accumulation 4": "GroupLasso units",
    "clip 0.1": "GroupLasso inputs",
    "compile": "L1",
    "checkpointing with dropout 0.2": "GroupLasso block 3",
    "bfloat16": "L1",
}


class Case(NamedTuple):
    rule: str
    penalty: str
    way: str = "plain"


class Result(NamedTuple):
    state: dict[str, Tensor]
    values: dict[str, float]
    loss: float
    collectives: int


CASES = [Case(*names) for names in itertools.product(RULES, PENALTIES)]
CASES += [Case("AdamW", penalty, way) for way, penalty in WAYS.items()]
KINDS = ("FSDP2", "DDP")


def layers(way: str) -> nn.Sequential:
    torch.manual_seed(0)
    drop = [Dropout(0.2)] if "dropout" in way else []
    model = nn.Sequential(nn.Linear(7, 33), nn.Tanh(), *drop, nn.Linear(33, 3))
    seed_noise(model, 5)
    return model if way == "bfloat16" else model.double()


def batches(way: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of each backward pass."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, 7, dtype=torch.float64, generator=generator)
    y = torch.stack([x[:, 0], x[:, 1] * x[:, 2], x[:, 3].sin()], dim=1)
    if way == "bfloat16":
        x, y = x.float(), y.float()
    parts = [slice(i, None, 4) for i in range(4)] if way == "accumulation 4" else [slice(None)]
    for _, part in itertools.product(range(STEPS), parts):
        yield x[part], y[part]


def spread(model: nn.Module, kind: str, way: str) -> nn.Module:
    if kind == "DDP":
        return DistributedDataParallel(model)
    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if way == "bfloat16" else MixedPrecisionPolicy()
    for layer in model:
        if list(layer.parameters()):
            fully_shard(layer, mp_policy=policy)
    return fully_shard(model, mp_policy=policy)


def train(case: Case, kind: str) -> Result:
    rule, penalty, way = case
    model, every = layers(way), 4 if way == "accumulation 4" else 1
    rank = slice(None) if kind == "alone" else slice(dist.get_rank(), None, RANKS)
    if "dropout" in way and kind != "alone":
        set_shard(model, range(ROWS)[rank])
    forward = checkpoint_wrapper(model) if "checkpointing" in way else model
    if kind != "alone":
        wrapped = spread(model, kind, way)
        forward = forward if kind == "FSDP2" else spread(forward, kind, way) if forward is not model else wrapped
    if way == "compile":
        forward.compile(backend="aot_eager")
    optimizer = RULES[rule](model.parameters())
    handle = regularize(optimizer, model, PENALTIES[penalty])
    most = 0
    for i, (x, y) in enumerate(batches(way), start=1):
        is_last = i % every == 0
        if kind == "FSDP2":
            model.set_requires_gradient_sync(is_last)
        with forward.no_sync() if kind == "DDP" and not is_last else nullcontext():
            loss = (forward(x[rank]) - y[rank]).square().mean() / every
            loss.backward()
        if is_last:
            if way == "clip 0.1":
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            with CommDebugMode() if i == every else nullcontext() as comm:
                optimizer.step()
            most = max(most, comm.get_total_counts() if comm else 0)
            optimizer.zero_grad()
    state = {name: getattr(p, "full_tensor", p.detach)() for name, p in model.state_dict().items()}
    with torch.no_grad():
        final = float((layers_from(state, way)(x) - y).square().mean())
    return Result(state, handle.values(), final, most)


def layers_from(state: dict[str, Tensor], way: str) -> nn.Module:
    model = layers(way).eval()
    model.load_state_dict(state)
    return model


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    results = {f"{kind} {i}": tuple(train(case, kind)) for kind in KINDS for i, case in enumerate(CASES)}
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks() -> dict[str, Result]:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, args=(folder,), nprocs=RANKS)
        results = torch.load(Path(folder) / "results.pt", weights_only=True)
    return {name: Result(*fields) for name, fields in results.items()}


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_two_ranks_equal_one(two_ranks: dict[str, Result], case: Case) -> None:
    expected = train(case, "alone")
    for kind in KINDS:
        got = two_ranks[f"{kind} {CASES.index(case)}"]
        assert got.state.keys() == expected.state.keys()
        if case.way == "bfloat16":
            zeros = [(got.state[k] == 0) != (expected.state[k] == 0) for k in expected.state]
            assert torch.cat([differs.flatten() for differs in zeros]).float().mean() < 0.01
            assert got.loss == pytest.approx(expected.loss, rel=0.01)
            continue
        for name, tensor in expected.state.items():
            torch.testing.assert_close(got.state[name], tensor, rtol=0, atol=1e-10)
            assert torch.equal(got.state[name] == 0, tensor == 0)
        assert got.values == pytest.approx(expected.values, rel=1e-9)


def test_penalties_that_make_zeros_make_some(two_ranks: dict[str, Result]) -> None:
    for case in (case for case in CASES if "L1" in case.penalty or "Group" in case.penalty):
        assert any((x == 0).any() for x in two_ranks[f"FSDP2 {CASES.index(case)}"].state.values()), case


def test_groups_across_tensors_take_a_collective_for_each_of_them(two_ranks: dict[str, Result]) -> None:
    for rule, num in (("SGD", 3), ("AdamW", 6)):  # which has a step for each number, too
        assert two_ranks[f"FSDP2 {CASES.index(Case(rule, SPANNING[0]))}"].collectives == num


def test_a_step_takes_two_collectives_at_most(two_ranks: dict[str, Result]) -> None:
    for i, case in enumerate(CASES):
        needs_none = case.penalty in ("L1", "L2", "GroupLasso units", "MaxNorm", "PullTo")
        if case.penalty not in SPANNING:
            assert two_ranks[f"FSDP2 {i}"].collectives == (0 if needs_none else 2), case
        assert two_ranks[f"DDP {i}"].collectives == 0
