"""Noise on two ranks: rows draw independently, and draw together what one rank draws if they have numbers."""

import copy
import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tests.noise.test_layers import LAYERS
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from meden._checks import InputError
from meden.noise import (
    DropConnect,
    Dropout,
    GaussianNoise,
    PassDraws,
    attach,
    noise_layers,
    noise_state,
    passing,
    seed_noise,
    set_shard,
    stream,
)
from meden.params import inner_names

RANKS, ROWS = 2, 8
SHARDS = {
    "blocks": lambda rank: range(rank * ROWS // RANKS, (rank + 1) * ROWS // RANKS),
    "turns": lambda rank: range(rank, ROWS, RANKS),
}
KINDS = [name for name in LAYERS if name not in ("DropBlock", "DropConnect")]
"""All but one that divides by the share that a process kept, and one that is for weights, which have no rows."""


def model_and_rows(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    layer, shape, _ = LAYERS[name]
    size = shape[-1]
    first, last = nn.Linear(size, size), nn.Linear(size, size)
    attach(first, DropConnect(0.3))
    attach(last, GaussianNoise(0.1), "weight")
    model = nn.Sequential(first, nn.Tanh(), copy.deepcopy(layer), last)
    seed_noise(model, 5)
    return model, torch.randn(ROWS, *shape[1:])


def trained(model: nn.Module, x: Tensor, steps: int = 3) -> dict[str, Tensor]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    whole = {name: getattr(p, "full_tensor", lambda p=p: p.detach())() for name, p in model.named_parameters()}
    return {inner_names(model)[name]: p for name, p in whole.items()}


def numbered(name: str, shard, wrap) -> dict[str, Tensor]:
    model, x = model_and_rows(name)
    set_shard(model, shard)
    return trained(wrap(model), x[shard])


def checkpointed(model: nn.Module) -> nn.Module:
    """Shard what is computed twice."""
    return fully_shard(checkpoint_wrapper(model))


def gradients(steps: int = 400) -> Tensor:
    """Gradients of a weight under plain data-parallel training, (steps, 50): the mean of the rows' masks."""
    layer = nn.Sequential(Dropout(0.5), nn.Linear(50, 1, bias=False))
    model, found = DistributedDataParallel(layer), []
    for _ in range(steps):
        model.zero_grad()
        model(torch.ones(ROWS // RANKS, 50)).mean().backward()
        found.append(layer[1].weight.grad[0].clone())
    return torch.stack(found)


def masks() -> dict[str, Tensor]:
    """What this rank draws without numbers: of a layer, of a layer at the same rank of two groups, of a weight."""
    layer, found = Dropout(0.5), {}
    found["row"] = layer(torch.ones(2, 50))
    set_shard(layer, 1)
    found["group"] = layer(torch.ones(2, 50))
    attach(linear := nn.Linear(4, 4, bias=False), DropConnect(0.5))
    linear.weight.data.fill_(1.0)
    found["weight"] = linear(torch.eye(4)).detach()
    with passing(linear, PassDraws(stream(0), torch.tensor(0), (0,))):
        found["torch"] = nn.functional.dropout(torch.ones(2, 50))
        found["drawn"] = torch.rand(50)
    with passing(linear, PassDraws(stream(0), torch.tensor(0), (0,), shard=SHARDS["turns"](dist.get_rank()))):
        found["numbered"] = nn.functional.dropout(torch.ones(ROWS // RANKS, 50))
    return found


def emptied() -> dict[str, Tensor]:
    """Noise of a model that starts on the meta device and is sharded before it has memory."""
    with torch.device("meta"):
        model = nn.Sequential(attach(nn.Linear(4, 4), DropConnect(0.3)), Dropout(0.2))
    seed_noise(model, 5)
    for part in (model[0], model):
        fully_shard(part)
    model.to_empty(device="cpu").apply(lambda m: getattr(m, "reset_parameters", lambda: None)())
    return noise_state(model)


WRAPPERS = DistributedDataParallel, fully_shard, checkpointed


def work(rank: int, folder: str, early: nn.Module) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    results = {"early": early(torch.ones(50)), **masks()}
    for how, shard in SHARDS.items():
        for name in KINDS:
            for wrap in WRAPPERS:
                results[f"{wrap.__name__} {how} {name}"] = numbered(name, shard(rank), wrap)
    results |= {"gradients": gradients(), "emptied": emptied()}
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks() -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, args=(folder, Dropout(0.5)), nprocs=RANKS)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


@pytest.mark.distributed
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("how", SHARDS)
@pytest.mark.parametrize("wrap", [wrap.__name__ for wrap in WRAPPERS])
def test_two_ranks_with_numbered_rows_equal_one(ranks, wrap: str, how: str, name: str) -> None:
    expected = trained(*model_and_rows(name))
    for rank in range(RANKS):
        torch.testing.assert_close(ranks[rank][f"{wrap} {how} {name}"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.distributed
def test_rows_without_numbers_are_independent(ranks) -> None:
    found = ranks[0]["gradients"]  # of the mean of ROWS masks that are 0 or 2
    torch.testing.assert_close(found, ranks[1]["gradients"])
    assert abs(found.var().item() * ROWS - 1) < 0.05  # 2 if both ranks dropped the same places


@pytest.mark.distributed
def test_the_rank_is_a_part_of_the_key_of_rows_and_not_of_weights(ranks) -> None:
    first, second = ranks
    for name in ("row", "torch", "drawn", "early"):
        assert not torch.equal(first[name], second[name]), name
    for name in ("group", "weight"):
        assert torch.equal(first[name], second[name]), name
    assert torch.equal(first["row"], Dropout(0.5)(torch.ones(2, 50)))  # rank 0 draws what one process does
    with passing(nn.Linear(1, 1), PassDraws(stream(0), torch.tensor(0), (0,))):
        whole = nn.functional.dropout(torch.ones(2, 50)), torch.rand(50)
    assert torch.equal(first["torch"], whole[0]) and torch.equal(first["drawn"], whole[1])
    with passing(nn.Linear(1, 1), PassDraws(stream(0), torch.tensor(0), (0,))):
        whole = nn.functional.dropout(torch.ones(ROWS, 50))
    assert torch.equal(torch.stack([first["numbered"], second["numbered"]], 1).flatten(0, 1), whole)


@pytest.mark.distributed
def test_a_sharded_model_that_starts_on_the_meta_device_has_its_noise(ranks) -> None:
    expected = nn.Sequential(attach(nn.Linear(4, 4), DropConnect(0.3)), Dropout(0.2))
    seed_noise(expected, 5)
    for rank in ranks:
        torch.testing.assert_close(rank["emptied"], noise_state(expected), rtol=0, atol=0)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rows", [range(3), range(2, 5), range(1, 8, 3), range(7, 0, -2), range(0)])
def test_a_part_of_a_batch_draws_its_part(name: str, rows: range) -> None:
    layer, shape, _ = LAYERS[name]
    layer, x = copy.deepcopy(layer), torch.randn(ROWS, *shape[1:])
    part = copy.deepcopy(layer)
    set_shard(part, rows)
    for _ in range(2):
        assert torch.equal(part(x[list(rows)]), layer(x)[list(rows)])


def test_rows_may_be_spread_over_the_first_dimension() -> None:
    whole, part, x = Dropout(0.5), Dropout(0.5), torch.ones(4 * 3, 7)  # three windows of each row
    set_shard(part, range(2, 4))
    assert torch.equal(part(x[6:]), whole(x)[6:])


def test_compiled_parts_draw_the_same() -> None:
    torch._dynamo.reset()
    part = Dropout(0.5)
    set_shard(part, range(1, 8, 2))
    compiled, x = torch.compile(copy.deepcopy(part), backend="aot_eager", fullgraph=True), torch.ones(4, 5)
    assert torch.equal(compiled(x), part(x))
    set_shard(part, 3)
    torch._dynamo.reset()
    compiled = torch.compile(copy.deepcopy(part), backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), part(x))


def test_noise_on_a_weight_knows_no_rows() -> None:
    plain, numbered = (attach(nn.Linear(3, 3), DropConnect(0.5)) for _ in range(2))
    numbered.load_state_dict(plain.state_dict())
    set_shard(numbered, range(5, 7))
    assert torch.equal(numbered(torch.eye(3)[:2]), plain(torch.eye(3)[:2]))


@pytest.mark.parametrize("shard", [-1, "0", 1.5, True, [0, 1], range(-1, 3), range(3, -2, -1)])
def test_what_is_no_part_of_a_batch_is_refused(shard) -> None:
    with pytest.raises(InputError, match="shard must"):
        set_shard(nn.Sequential(Dropout(0.5)), shard)


def test_rows_that_do_not_fit_are_refused() -> None:
    model = nn.Sequential(Dropout(0.5))
    set_shard(model, range(4))
    for shape in ((6, 2), ()):
        with pytest.raises(InputError, match=r"rows must number the rows to draw for, got 4"):
            model(torch.ones(shape))
    assert noise_layers(model)["0"].step == 0
