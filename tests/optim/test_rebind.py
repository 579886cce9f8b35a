"""Sharded after the penalties were attached: told at the first step, and after ``rebind`` as if it were whole."""

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.optim import SGD, Optimizer

import meden
from meden import InputError
from meden.optim import Handle, Regularizer, StrengthSchedule, regularize
from meden.penalties import L1, GroupLasso, PullTo

pytestmark = pytest.mark.distributed
PULL = "PullTo(2.weight)"
REGULARIZERS = [
    Regularizer(L1(0.05), schedule=StrengthSchedule(end=10)),
    Regularizer(PullTo(L1(0.01)), on="2.weight"),
    Regularizer(GroupLasso(0.03, dim="inputs"), on="0.weight"),
]


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).double()


def step(model: nn.Module, optimizer: Optimizer, num_steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(32, 6, dtype=torch.float64, generator=generator)
    y = torch.stack([x[:, 0], x[:, 1] * x[:, 2]], dim=1)
    if dist.is_initialized():
        x, y = x[dist.get_rank() :: 2], y[dist.get_rank() :: 2]
    for _ in range(num_steps):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()


def expected() -> dict[str, Tensor]:
    model = make_model()
    optimizer = SGD(model.parameters(), lr=0.1)
    regularize(optimizer, model, REGULARIZERS)
    step(model, optimizer, 12)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def refused(model: nn.Module, optimizer: Optimizer) -> str:
    with pytest.raises(InputError) as error:
        step(model, optimizer, 1)
    return str(error.value)


def by_torch(model: nn.Module, optimizer: Optimizer) -> None:
    from torch.distributed.fsdp import fully_shard

    fully_shard(model)


def by_accelerate(model: nn.Module, optimizer: Optimizer) -> None:
    """Do what ``accelerator.prepare`` does under FSDP2, which refuses processors without a GPU."""
    from accelerate.utils.fsdp_utils import fsdp2_switch_optimizer_parameters
    from torch.distributed.fsdp import fully_shard

    old = {name: param.data_ptr() for name, param in model.named_parameters()}
    for i, param in enumerate(optimizer.param_groups[0]["params"]):
        placeholder = torch.empty(1)
        placeholder.data_ptr = param.data_ptr()
        optimizer.param_groups[0]["params"][i] = placeholder
    fully_shard(model)
    mapping = {old[name]: param for name, param in model.named_parameters()}
    fsdp2_switch_optimizer_parameters(optimizer, mapping)


def resumed(handle: Handle, model: nn.Module, optimizer: Optimizer) -> None:
    """Save, spoil and load the state."""
    saved = get_optimizer_state_dict(model, optimizer)
    start = handle.state_dict()["starts"][PULL]["2.weight"].full_tensor()
    handle.load_state_dict({"num_steps": 0, "starts": {PULL: {"2.weight": torch.ones_like(start)}}})
    set_optimizer_state_dict(model, optimizer, saved)
    assert handle.num_steps == 5
    handle.load_state_dict({"num_steps": 5, "starts": {PULL: {"2.weight": start}}})


def trained(shard: Callable[[nn.Module, Optimizer], None]) -> tuple[dict[str, Tensor], str]:
    model = make_model()
    optimizer = SGD(model.parameters(), lr=0.1)
    handle = regularize(optimizer, model, REGULARIZERS)
    shard(model, optimizer)
    told = refused(model, optimizer)
    optimizer.param_groups[0]["params"] = list(model.parameters())
    handle.rebind(model)
    step(model, optimizer, 5)
    assert handle.state_dict()["starts"][PULL]["2.weight"].placements == model[2].weight.placements
    optimizer.zero_grad()
    resumed(handle, model, optimizer)
    step(model, optimizer, 7)
    return {name: tensor.full_tensor() for name, tensor in model.state_dict().items()}, told


def fitted() -> str:
    from torch.distributed.fsdp import fully_shard

    x, y = torch.randn(8, 6), torch.randn(8, 2)
    model = fully_shard(make_model().float())
    model(x)  # its parameters look whole now
    with pytest.raises(InputError) as error:
        meden.fit(model, (x, y), recipe=meden.Recipe(epochs=1))
    return str(error.value)


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results = {"fully_shard": trained(by_torch), "fit": fitted()}
    if find_spec("accelerate") is not None:
        results["accelerate"] = trained(by_accelerate)
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, args=(folder,), nprocs=2)
        return torch.load(Path(folder) / "results.pt", weights_only=True)


def assert_as_whole(found: dict[str, Tensor]) -> None:
    for name, tensor in expected().items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-12)
        assert torch.equal(found[name] == 0, tensor == 0)
    assert (found["0.weight"] == 0).any()


@pytest.mark.parametrize("how", ["fully_shard", "accelerate"])
def test_sharded_after_it_was_attached(two_ranks, how) -> None:
    if how == "accelerate":
        pytest.importorskip("accelerate")
    state, told = two_ranks[how]
    assert told.startswith("0.weight of L1(weights)") and "handle.rebind(model)" in told and "\n" not in told
    assert_as_whole(state)


def test_fit_refuses_shards(two_ranks) -> None:
    assert two_ranks["fit"].startswith("model must be whole") and "\n" not in two_ranks["fit"]
