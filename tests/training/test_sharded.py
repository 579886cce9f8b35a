"""The same recipe on two processes and on one: weights, zeros, history, and how it ended."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

import meden
from meden import InputError, Recipe

from ..ranks import run_ranks
from .sharded_cases import CASES, COMPILED, HALF, Case, Found, decoder, net, normed, numbers, rows, tokens, trained

pytestmark = [pytest.mark.distributed, pytest.mark.filterwarnings("ignore::FutureWarning")]

RANKS = 2
STRATEGIES = ("fsdp", "ddp")
ALL = {
    f"{name}, {strategy}": case._replace(sharding={**case.sharding, "strategy": strategy})
    for name, case in {**CASES, "bfloat16": HALF, "batch norm": Case(make=normed)}.items()
    for strategy in STRATEGIES
}
ALL |= {"compiled, fsdp": COMPILED}
"""Each is trained by all processes."""
OTHERS = {
    "recipe": "recipe must be the same on all 2 processes, got different values on 1",
    "model": "model must be the same on all 2 processes, got different values on 1",
    "seed": "seed must be the same on all 2 processes, got different values on 1",
}


def work(rank: int, folder: str) -> None:
    for name, case in ALL.items():
        try:
            found = Found.of(trained(case, spread=True, seed=rank))
        except Exception as error:
            told = str(error) if isinstance(error, InputError) else traceback.format_exc()
            Path(folder, f"{name}.{rank}.error").write_text(told)
            continue
        found.save(Path(folder, f"{name}.{rank}.pt"))
    others = [{"lr": 0.1 + rank}, {"make": decoder, "data": tokens} if rank else {}, {"seed": 3 + rank}]
    for name, own in zip(OTHERS, others, strict=True):
        with pytest.raises(InputError) as refused:
            differing(**own)
        Path(folder, f"{name}.{rank}.error").write_text(str(refused.value))


def differing(make: Any = net, data: Any = rows, seed: int = 3, **recipe: Any) -> None:
    fit, _ = data()
    meden.fit(make(), fit, recipe=Recipe(epochs=1, batch_size=4, **recipe), seed=seed)


@pytest.fixture(scope="module")
def two_ranks() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        run_ranks(work, folder, RANKS)
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


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_batch_norm_is_refused_on_all(two_ranks: Path, strategy: str) -> None:
    for rank in range(RANKS):
        told = (two_ranks / f"batch norm, {strategy}.{rank}.error").read_text()
        assert told.startswith("model must process each row independently on 2 processes, got a Net that does not")


@pytest.mark.parametrize("rank", range(RANKS))
@pytest.mark.parametrize(("name", "told"), OTHERS.items())
def test_what_differs_between_processes_is_named_on_all(two_ranks: Path, name: str, told: str, rank: int) -> None:
    assert (two_ranks / f"{name}.{rank}.error").read_text() == told


@pytest.mark.slow
def test_compiled(two_ranks: Path) -> None:
    check_same(found_by(two_ranks, "compiled, fsdp"), Found.of(trained(COMPILED, spread=False)))


@pytest.mark.parametrize("case", ["AdamW", "EMA", "early stopping", "groups", "PullTo", "tokens", "Dataset", "frozen"])
def test_alone_and_spread_is_alone_bit_for_bit(case: str) -> None:
    one = CASES[case]._replace(sharding={})
    expected, found = (Found.of(trained(one, spread=spread)) for spread in (False, True))
    assert found.ending == expected.ending and found.history == expected.history
    assert all(torch.equal(found.weights[name], weight) for name, weight in expected.weights.items())


def test_batch_norm_with_idle_biases_alone_and_spread() -> None:
    expected, found = (Found.of(trained(Case(make=normed), spread=spread)) for spread in (False, True))
    check_same(found, expected)


def test_no_group_is_left_by_one_process() -> None:
    trained(CASES["AdamW"], spread=True)
    assert not dist.is_initialized()
