"""The same recipe on two processes and on one: weights, zeros, history, and how it ended."""

from __future__ import annotations

import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import meden
from meden import InputError, Recipe, Sharding

from .sharded_cases import CASES, COMPILED, HALF, USUAL, Case, Found, net, normed, numbers, rows, trained

pytestmark = [pytest.mark.distributed, pytest.mark.filterwarnings("ignore::FutureWarning")]

RANKS = 2
STRATEGIES = ("fsdp", "ddp")
ALL = {
    f"{name}, {strategy}": case._replace(sharding={**case.sharding, "strategy": strategy})
    for name, case in {**CASES, "bfloat16": HALF, "batch norm": Case(make=normed)}.items()
    for strategy in STRATEGIES
}
ALL |= {"compiled, fsdp": COMPILED}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    for name, case in ALL.items():
        try:
            found = Found.of(trained(case, spread=True, seed=rank))
        except Exception as error:
            told = str(error) if isinstance(error, InputError) else traceback.format_exc()
            Path(folder, f"{name}.{rank}.error").write_text(told)
            continue
        found.save(Path(folder, f"{name}.{rank}.pt"))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, args=(folder,), nprocs=RANKS)
        yield Path(folder)


def found_by(folder: Path, name: str, rank: int = 0) -> Found:
    error = folder / f"{name}.{rank}.error"
    assert not error.exists(), error.read_text()
    return Found.load(folder / f"{name}.{rank}.pt")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(two_ranks: Path, name: str, strategy: str) -> None:
    expected, found = Found.of(trained(CASES[name], spread=False)), found_by(two_ranks, f"{name}, {strategy}")
    check_same(found, expected)


def check_same(found: Found, expected: Found, tolerance: float = 1e-10) -> None:
    assert found.ending == expected.ending
    assert numbers(found.history) == pytest.approx(numbers(expected.history), rel=tolerance, abs=tolerance)
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        torch.testing.assert_close(found.weights[name], weight, rtol=0, atol=tolerance)
        assert torch.equal(found.weights[name] == 0, weight == 0)


@pytest.mark.parametrize("name", [name for name in ALL if not name.startswith("batch norm")])
def test_each_process_has_the_same_run(two_ranks: Path, name: str) -> None:
    first, second = (found_by(two_ranks, name, rank) for rank in range(RANKS))
    assert first.ending == second.ending and first.history == second.history
    assert all(torch.equal(weight, second.weights[name]) for name, weight in first.weights.items())


def test_the_cases_are_what_they_are_called() -> None:
    """A case that shows nothing would pass unseen."""
    runs = {name: Found.of(trained(CASES[name], spread=False)) for name in ("AdamW", "early stopping", "plateau")}
    _, _, _, best = runs["early stopping"].ending[:4]
    assert runs["early stopping"].ending[0] == "stopped_early" and 1 < best < len(runs["early stopping"].history)
    assert len({record["lr"] for record in runs["plateau"].history}) > 1
    assert 0 < runs["AdamW"].history[-1]["num_zeros"] < 200


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_bfloat16_is_near(two_ranks: Path, strategy: str) -> None:
    expected, found = Found.of(trained(HALF, spread=False)), found_by(two_ranks, f"bfloat16, {strategy}")
    zeros = [(found.weights[name] == 0) != (weight == 0) for name, weight in expected.weights.items()]
    assert torch.cat([differs.flatten() for differs in zeros]).float().mean() < 0.01
    assert all(weight.dtype == torch.float32 for weight in found.weights.values())
    losses = [found.history[-1][part]["loss"] for part in ("train", "valid")]
    assert losses == pytest.approx([expected.history[-1][part]["loss"] for part in ("train", "valid")], rel=0.01)
    assert not all(torch.equal(found.weights[name], weight) for name, weight in expected.weights.items())


@pytest.mark.slow
def test_compiled(two_ranks: Path) -> None:
    check_same(found_by(two_ranks, "compiled, fsdp"), Found.of(trained(COMPILED, spread=False)))
