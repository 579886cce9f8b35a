"""Who the processes are: by torchrun's variables, by Slurm's, or one alone."""

from __future__ import annotations

import os

import pytest
import torch
import torch.distributed as dist

from meden._checks import InputError
from meden.distributed import World, joined, num_processes
from meden.distributed.world import _take_from_slurm

CPU = torch.device("cpu")
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
SLURM = {
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7",
    "SLURM_JOB_ID": "1234567",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*NAMES, *SLURM):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({}, 1),
        ({"WORLD_SIZE": "4"}, 4),
        ({"WORLD_SIZE": ""}, 1),
        ({"WORLD_SIZE": "many"}, 1),
        ({"SLURM_STEP_NUM_TASKS": "8"}, 8),
        ({"WORLD_SIZE": "2", "SLURM_STEP_NUM_TASKS": "8"}, 2),
    ],
)
def test_number(environment: pytest.MonkeyPatch, given: dict[str, str], size: int) -> None:
    for name, value in given.items():
        environment.setenv(name, value)
    assert num_processes() == size


def test_slurm(environment: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        environment.setenv(name, value)
    _take_from_slurm()
    assert [os.environ[name] for name in NAMES] == ["3", "8", "1", "10.0.0.7", "24567"]


def test_torchrun_comes_before_slurm(environment: pytest.MonkeyPatch) -> None:
    for name, value in {**SLURM, "RANK": "0", "WORLD_SIZE": "2"}.items():
        environment.setenv(name, value)
    _take_from_slurm()
    assert os.environ["RANK"] == "0" and "MASTER_ADDR" not in os.environ


def test_what_is_missing_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="environment must have RANK, MASTER_ADDR, MASTER_PORT for 2 processes"):
        joined(CPU).__enter__()


def test_a_port_that_cannot_be_listened_on(environment: pytest.MonkeyPatch) -> None:
    given = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "none"}
    for name, value in given.items():
        environment.setenv(name, value)
    with pytest.raises(InputError, match=r"MASTER_ADDR and MASTER_PORT must be .* got 127\.0\.0\.1:none") as refused:
        joined(CPU).__enter__()
    assert "\n" not in str(refused.value)


def test_one_alone() -> None:
    with joined(CPU) as world:
        assert dist.is_initialized() and world.is_first
        assert world.agreed({"a": [1, None]}) == {"a": [1, None]}
        with joined(CPU) as same:
            assert same.size == 1
        assert dist.is_initialized()
    assert not dist.is_initialized()


@pytest.mark.parametrize("size", range(1, 6))
@pytest.mark.parametrize("num_rows", range(8))
def test_shares_are_all_rows_in_order_and_even(size: int, num_rows: int) -> None:
    rows = range(10, 10 + num_rows)
    shares = [World(rank, size, CPU, None).share(rows) for rank in range(size)]  # type: ignore[arg-type]
    assert [row for share in shares for row in share] == list(rows)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
