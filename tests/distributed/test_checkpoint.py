"""Checkpoints of several processes: whole or not there at all, and known again when they are damaged."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from meden._checks import Damaged
from meden.distributed import World, checkpoint, joined
from meden.distributed.checkpoint import Form

from ..ranks import IMPORTED

pytestmark = [pytest.mark.distributed, pytest.mark.filterwarnings("ignore::FutureWarning")]

KILLS = 10
CPU = torch.device("cpu")


@pytest.fixture
def world() -> Iterator[World]:
    with joined(CPU) as one:
        yield one


def tensors(step: int) -> dict[str, Tensor]:
    return {
        "model.a": torch.full((5, 3), float(step)),
        "best.b": torch.arange(4.0),
        "optimizer.0.step": torch.tensor(3),
    }


def blank(_name: str, form: Form) -> Tensor:
    return torch.zeros(form.shape, dtype=form.dtype)


def save(folder: Path, step: int, world: World, keep: int = 2) -> None:
    checkpoint.save(folder, step, tensors(step), {"step": step}, world, keep=keep)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_there_and_back(tmp_path: Path, world: World) -> None:
    assert checkpoint.newest(tmp_path / "none", world) is None
    save(tmp_path, 3, world)
    found = checkpoint.newest(tmp_path, world)
    assert found is not None and found.values == {"step": 3} and found.folder == tmp_path / "step-3"
    read = checkpoint.load(found, blank)
    assert read.keys() == tensors(3).keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors(3).items())
    assert checkpoint.forms(found)["model.a"] == Form(torch.Size([5, 3]), torch.float32)


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_are_kept(tmp_path: Path, world: World, keep: int) -> None:
    for step in (8, 9, 10, 11):
        save(tmp_path, step, world, keep)
    assert names(tmp_path) == sorted(f"step-{step}" for step in range(12 - keep, 12))


def test_what_was_left_of_a_beginning_is_no_checkpoint_and_is_removed(tmp_path: Path, world: World) -> None:
    save(tmp_path, 3, world)
    shutil.copytree(tmp_path / "step-3", tmp_path / "step-9.part")
    (tmp_path / "step-nine").mkdir()
    (tmp_path / "notes.txt").write_text("a person's own")
    assert checkpoint.newest(tmp_path, world).folder.name == "step-3"
    save(tmp_path, 4, world)
    assert names(tmp_path) == ["notes.txt", "step-3", "step-4", "step-nine"]


def test_one_that_is_there_is_not_written_again(tmp_path: Path, world: World) -> None:
    save(tmp_path, 3, world)
    before = (tmp_path / "step-3" / checkpoint.STATE).stat()
    save(tmp_path, 3, world)
    assert (tmp_path / "step-3" / checkpoint.STATE).stat().st_mtime_ns == before.st_mtime_ns


def shard(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def flip(folder: Path) -> None:
    content = bytearray(shard(folder).read_bytes())
    content[-3] ^= 1
    shard(folder).write_bytes(content)


def cut(folder: Path) -> None:
    shard(folder).write_bytes(shard(folder).read_bytes()[:-4])


def add(folder: Path) -> None:
    shutil.copy(shard(folder), folder / "shard-00002-model-00001-of-00001.safetensors")


def change(folder: Path) -> None:
    state = folder / checkpoint.STATE
    state.write_text(state.read_text().replace('"step": 3', '"step": 4'))


def forge(**fields: Any) -> Any:
    def put(folder: Path) -> None:
        from meden._files import write_json

        own = json.loads((folder / checkpoint.STATE).read_text())
        own = {name: value for name, value in {**own, **fields}.items() if value is not None}
        own = {name: value for name, value in own.items() if name in ("values", "files")}
        write_json(folder / checkpoint.STATE, own)

    return put


DAMAGES = {
    "a bit": flip,
    "the end": cut,
    "a shard more": add,
    "no shard": lambda folder: shard(folder).unlink(),
    "no state": lambda folder: (folder / checkpoint.STATE).unlink(),
    "another state": change,
    "half a state": lambda folder: (folder / checkpoint.STATE).write_text('{"values": {'),
    "no values": forge(values=None),
    "no files": forge(files=None),
    "files elsewhere": forge(files={"../step-2/state.json": {"size": 1, "sha256": "0" * 64}}),
    "nothing": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named(tmp_path: Path, world: World, damage: str) -> None:
    save(tmp_path, 2, world)
    save(tmp_path, 3, world)
    DAMAGES[damage](tmp_path / "step-3")
    with pytest.raises(Damaged, match="step-3") as refused:
        checkpoint.load(checkpoint.newest(tmp_path, world), blank)
    assert "\n" not in str(refused.value)


def save_on(rank: int, folder: str, begun: Any) -> None:
    """Save one checkpoint after another."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    with joined(CPU) as world:
        from torch.distributed.tensor import Shard, distribute_tensor

        for step in range(1, 10_000):
            big = distribute_tensor(torch.full((401, 999), float(step)), world.mesh, [Shard(0)])
            checkpoint.save(Path(folder, "c"), step, {"big": big}, {"step": step}, world, keep=2)
            if step == 2:
                begun.set()


@contextmanager
def two_that_save(folder: Path) -> Iterator[list[Any]]:
    own = multiprocessing.get_context("forkserver")
    own.set_forkserver_preload(IMPORTED)
    begun = own.Event()
    processes = [own.Process(target=save_on, args=(rank, str(folder), begun)) for rank in range(2)]
    try:
        for process in processes:
            process.start()
        assert begun.wait(60)
        yield processes
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.join()


def test_a_process_is_killed_while_it_saves(tmp_path: Path) -> None:
    """Whenever one of two is killed, the last whole checkpoint is there, and is of one step."""
    draws, found_steps, left = random.Random(0), [], 0
    for number in range(KILLS):
        folder = tmp_path / str(number)
        folder.mkdir()
        with two_that_save(folder) as processes:
            time.sleep(draws.uniform(0, 0.3))
            os.kill(processes[number % 2].pid, signal.SIGKILL)
            processes[number % 2].join()
        with joined(CPU) as world:
            found = checkpoint.newest(folder / "c", world)
            assert found is not None
            big = checkpoint.load(found, blank)["big"]
            assert big.shape == (401, 999) and bool((big == found.values["step"]).all())
            left += any(name.endswith(".part") for name in names(folder / "c"))
            checkpoint.save(folder / "c", 10_000, {"big": big}, {"step": 10_000}, world, keep=1)
            assert names(folder / "c") == ["step-10000"]
        found_steps.append(found.values["step"])
    assert left, "none was killed while it saved"
    assert min(found_steps) >= 2


def test_a_full_disk_is_an_error_of_the_system_and_the_checkpoint_before_stays(tmp_path, world, monkeypatch):
    save(tmp_path, 3, world)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("torch.distributed.checkpoint.filesystem._write_files_from_queue", full)
    with pytest.raises(OSError, match="No space left") as refused:
        save(tmp_path, 4, world)
    assert refused.value.errno == errno.ENOSPC and refused.value.filename == str(tmp_path / "step-4")
    found = checkpoint.newest(tmp_path, world)
    assert found is not None and found.folder.name == "step-3"
