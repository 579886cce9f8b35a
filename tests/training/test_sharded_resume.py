"""A training that two processes began, and saved when it was asked to stop, goes on with three, with one, and alone."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from meden import InputError, Record, Regularizer
from meden.penalties import L1, L2, PullTo
from meden.training.sharded import Stopped

from ..ranks import run_ranks
from .sharded_cases import CASES, STOPPING, Case, Found, decoder, plain, tied, tokens, trained
from .test_sharded import check_same

pytestmark = [pytest.mark.distributed, pytest.mark.filterwarnings("ignore::FutureWarning")]

PULLED = [Regularizer(L1(2e-3)), Regularizer(PullTo(L2(0.05)), on="last.*")]
BEGUN: dict[str, Case] = {
    "averaged and pulled": Case({"epochs": 4, "averaging": "ema", "regularizers": PULLED}),
    "plateau": Case({"epochs": 5, "schedule": {"kind": "plateau", "every": 1}, "lr": 0.3}),
    "the best is kept": Case({**STOPPING, "averaging": "ema"}),
    "tokens": Case({"batch_size": 4, "epochs": 3, "regularizers": []}, {}, decoder, tokens),
    "whole on each": Case({"steps_per_epoch": 2, "epochs": 4}, {"strategy": "ddp"}),
    "rates of layers": Case({"epochs": 4, "lr_factors": {"biases": 2.0}}),
}
FEW = Case({"batch_size": 3}, {"micro_batch_size": 2})
"""Its last batch is of two rows."""


def begin(rank: int, folder: str) -> None:
    """Train until the end of the second epoch, where one of the processes is asked to stop."""

    def stop(record: Record) -> None:
        if record.epoch == 2 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    for name, case in BEGUN.items():
        with pytest.raises(Stopped) as stopped:
            trained(case, spread=True, seed=rank, checkpoint=Path(folder, name), on_epoch=stop)
        assert stopped.value.code == 0


def go_on(rank: int, folder: str) -> None:
    for name, case in BEGUN.items():
        _note(case._replace(sharding={}), folder, name, rank, checkpoint=Path(folder, name))
    _note(FEW, folder, "few", rank)


def _note(case: Case, folder: str, name: str, rank: int, **given: Any) -> None:
    try:
        Found.of(trained(case, spread=True, seed=rank, **given)).save(Path(folder, f"{name}.{rank}.pt"))
    except Exception:
        Path(folder, f"{name}.{rank}.error").write_text(traceback.format_exc())


@pytest.fixture(scope="module")
def begun() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        run_ranks(begin, folder, 2)
        yield Path(folder)


@pytest.fixture(scope="module")
def by_three(begun: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        for name in BEGUN:
            shutil.copytree(begun / name, Path(folder, name))
        run_ranks(go_on, folder, 3)
        yield Path(folder)


def found_by(folder: Path, name: str) -> Found:
    error = folder / f"{name}.0.error"
    assert not error.exists(), error.read_text()
    return Found.load(folder / f"{name}.0.pt")


@pytest.mark.parametrize("name", BEGUN)
def test_three_go_on(by_three: Path, name: str) -> None:
    check_same(found_by(by_three, name), Found.of(trained(BEGUN[name], spread=False)))


@pytest.mark.parametrize("name", BEGUN)
def test_one_goes_on(begun: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(begun / name, tmp_path / name)
    epochs = []
    given = {"checkpoint": tmp_path / name, "on_epoch": lambda record: epochs.append(record.epoch)}
    found = Found.of(trained(BEGUN[name], spread=True, **given))
    check_same(found, Found.of(trained(BEGUN[name], spread=False)))
    assert epochs[0] == 3, "two epochs were not done again"


def test_it_stopped_within_an_epoch(begun: Path) -> None:
    steps = {path.name for path in (begun / "averaged and pulled").iterdir()}
    assert steps == {"step-6", "step-7"}, "three steps are an epoch"


def test_a_last_batch_of_fewer_rows_than_processes(by_three: Path) -> None:
    check_same(found_by(by_three, "few"), Found.of(trained(FEW, spread=False)))


def test_nothing_of_a_checkpoint_is_a_pickle(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    files = [path for name in BEGUN for path in (begun / name).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    for path in files:
        content = path.read_bytes()
        header = content[8 : 8 + int.from_bytes(content[:8], "little")] if path.suffix == ".safetensors" else content
        assert header.lstrip().startswith(b"{"), "JSON"
        assert not content.startswith((b"PK", b"\x80")) and b"PK\x03\x04" not in header

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    shutil.copytree(begun / "plateau", tmp_path / "plateau")
    trained(BEGUN["plateau"], spread=True, checkpoint=tmp_path / "plateau")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (tied, "must come from the same model, whose into.weight is of shape (9, 5), got none; remove it"),
        (lambda: _without(1), "must come from the same model, whose blocks.1.0.bias is none, got of shape (9,)"),
        (
            lambda: _without(2),
            "must come from the same model, whose last.weight is of shape (4, 9), got of shape (3, 9)",
        ),
    ],
)
def test_a_checkpoint_of_another_model(begun: Path, make, told: str) -> None:
    with pytest.raises(InputError) as refused:
        trained(BEGUN["plateau"]._replace(make=make), spread=True, checkpoint=begun / "plateau")
    assert told in str(refused.value)


def _without(number: int) -> torch.nn.Module:
    model = BEGUN["plateau"].make()
    if number == 1:
        del model.blocks[1]
    else:
        model.last = torch.nn.Linear(9, 4).double()
    return model


def test_a_checkpoint_of_another_recipe_or_precision(begun: Path) -> None:
    with pytest.raises(InputError, match="got a different recipe; remove it or name another"):
        trained(BEGUN["averaged and pulled"], spread=True, checkpoint=begun / "plateau")
    with pytest.raises(InputError, match="got a different train and valid"):
        trained(BEGUN["plateau"]._replace(make=plain), spread=True, checkpoint=begun / "plateau")


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="checkpoint must be a folder for training on several processes"):
        trained(CASES["AdamW"], spread=True, checkpoint=tmp_path / "file")


def test_a_folder_where_a_file_should_be(begun: Path) -> None:
    with pytest.raises(InputError, match="checkpoint must be a file without sharding, got the folder"):
        trained(BEGUN["plateau"], spread=False, checkpoint=begun / "plateau")
