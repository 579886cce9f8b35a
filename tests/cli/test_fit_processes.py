"""``meden fit`` of texts, and on several processes: what it refuses, what it writes, and how it goes on."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

import meden as library
from meden._files import write_json
from meden.cli import main
from meden.cli.training_file import TRAINING, TrainingFile

from ..ranks import run_ranks
from .conftest import Command

pytestmark = [pytest.mark.distributed, pytest.mark.filterwarnings("ignore::FutureWarning")]

SMALL = ["--set", "width=16", "--set", "depth=1", "--set", "num_heads=2", "--set", "epochs=2", "--context", "16"]
TWO = ["--processes", "2"]
WORDS = "to be or not that is the question whether tis nobler in mind suffer slings and arrows".split()


def write_data(folder: Path) -> None:
    draws = random.Random(0)
    lines = [" ".join(draws.choice(WORDS) for _ in range(9)) + "\n" for _ in range(60)]
    (folder / "book.txt").write_text("".join(lines))
    (folder / "odd.txt").write_text("".join(lines) + "Zq")
    (folder / "tiny.txt").write_text("to be or not")
    rows = [f"{draws.random():.3f},{draws.random():.3f},{draws.choice('uv')}\n" for _ in range(60)]
    (folder / "rows.csv").write_text("a,b,y\n" + "".join(rows))


@pytest.fixture
def data(folder: Path) -> Path:
    write_data(folder)
    return folder


TABLE = ["rows.csv", "--target", "y", "--set", "epochs=2", "--set", "width=8"]
TEXT = ["book.txt", *SMALL]
YAML = """data: book.txt
lr: 0.01
epochs: 2
settings: {width: 16, depth: 1, num_heads: 2}
context: 16
sharding: {strategy: ddp, micro_batch_size: 3}
"""
TRAININGS = {"text": TEXT, "table": TABLE, "file": ["spec.yaml"]}


def on_two(rank: int, folder: str) -> None:
    """Run the commands as torchrun's or Ray's processes do."""
    os.chdir(folder)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    statuses = [main(["fit", *arguments, "--out", f"two/{name}"]) for name, arguments in TRAININGS.items()]
    statuses.append(main(["fit", "book.txt", *SMALL, "--sharding", "blocks=layers", "--out", "two/refused"]))
    statuses += [program(Path("first.pt")), program(Path("second.pt"))]
    Path(f"statuses.{rank}").write_text(json.dumps(statuses))


def program(path: Path) -> int:
    """Do what a program under torchrun does, more than once."""
    x = torch.arange(24.0).reshape(12, 2) / 24
    run = library.fit(torch.nn.Linear(2, 1), (x, x.sum(1)), recipe=library.Recipe(epochs=2, batch_size=4))
    if dist.get_rank() == 0:
        torch.save([param.detach() for param in run.model.parameters()], path)
    return len(run.history)


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("two")
    write_data(folder)
    (folder / "spec.yaml").write_text(YAML)
    run_ranks(on_two, folder, 2)
    yield folder


def losses(run: library.Run) -> list[float]:
    return [loss for record in run.history for loss in (record.train["loss"], record.valid["loss"])]


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_equal_one(by_two: Path, data: Path, meden: Command, name: str) -> None:
    (data / "spec.yaml").write_text(YAML)
    assert meden("fit", *TRAININGS[name], "--out", "one").status == 0
    check_equal(by_two / "two" / name, data / "one")


def check_equal(found: Path, expected: Path, tolerance: float = 1e-5) -> None:
    first, second = (library.load_run(folder) for folder in (found, expected))
    assert losses(first) == pytest.approx(losses(second), rel=tolerance)
    assert first.held_out.losses == pytest.approx(second.held_out.losses, rel=tolerance)
    weights = zip(first.model.parameters(), second.model.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=tolerance) for one, other in weights)
    assert {path.name for path in found.iterdir()} == {path.name for path in expected.iterdir()}
    ours, theirs = (json.loads((folder / "run.json").read_text()) for folder in (found, expected))
    for fields in ("model_name", "model_args", "vocabulary", "num_rows", "best_step", "status", "encoder"):
        assert ours[fields] == theirs[fields]


def test_statuses_and_what_is_left(by_two: Path) -> None:
    for rank in range(2):
        assert json.loads((by_two / f"statuses.{rank}").read_text()) == [0, 0, 0, 2, 2, 2]
    assert {path.name for path in (by_two / "two").iterdir()} == set(TRAININGS)
    first, second = (torch.load(by_two / name, weights_only=True) for name in ("first.pt", "second.pt"))
    assert [param.shape for param in first] == [param.shape for param in second]


def refused(name: str, text: str) -> list[str]:
    Path(name).write_text(text)
    return ["fit", name]


BAD: dict[str, tuple[list[str], str]] = {
    "a setting": (["fit", *TEXT, *TWO, "--set", "wdith=3"], "--set name must be one of .* did you mean 'width'"),
    "a spread": (["fit", *TEXT, *TWO, "--sharding", "stratgy=ddp"], "no field 'stratgy'; did you mean 'strategy'"),
    "a strategy": (["fit", *TEXT, *TWO, "--sharding", "strategy=zero"], "strategy should be 'fsdp' or 'ddp'"),
    "no value": (["fit", *TEXT, *TWO, "--sharding", "strategy"], "--sharding must look like micro_batch_size=4"),
    "rows of a batch": (
        ["fit", *TEXT, "--processes", "5", "--set", "batch_size=4"],
        "batch_size must be at least the number of processes, 5, so that each has rows, got 4",
    ),
    "no process": (["fit", *TEXT, "--processes", "0"], "processes should be greater than or equal to 1, got 0"),
    "a short text": (["fit", "tiny.txt", *SMALL, *TWO], "'tiny.txt' must hold at least context . 1 = 17 tokens"),
    "a short stop part": (["fit", "book.txt", "--context", "600", *TWO], "must hold at least context . 1 = 601 tokens"),
    "a short scored part": (["fit", *TEXT, *TWO, "--held-out", "0.001"], "must hold at least context . 1 = 17 tokens"),
    "other characters": (
        ["fit", "odd.txt", *SMALL, *TWO],
        "only the 20 characters seen in training, got 1",
    ),
    "a port": (["fit", *TEXT, *TWO, "--port", "99999"], r"port must be a whole number in \[0, 65535\], got 99999"),
    "a backend": (["fit", *TEXT, *TWO, "--backend", "slurm"], "--backend must be one of local, ray, got 'slurm'"),
    "no text": (["fit", "none.txt", *TWO], "text 'none.txt' cannot be read: No such file"),
    "no file": (["fit", "none.yaml", *TWO], "'none.yaml' cannot be read"),
    "blocks": (["fit", *TEXT, *TWO, "--sharding", "blocks=layers"], "blocks: on must select at least one layer"),
    "a share": (["fit", *TEXT, *TWO, "--held-out", "1.5"], "--held-out must be a finite number in"),
    "a target": (["fit", *TEXT, *TWO, "--target", "y"], "target must not be given for a text, got 'y' for 'book.txt'"),
    "a context": (
        ["fit", *TABLE, *TWO, "--context", "9"],
        "context must not be given for a table, got 9",
    ),
    "a model": (["fit", *TEXT, *TWO, "--model", "mlp"], "must be one of decoder, causal_transformer"),
    "a table's model": (["fit", *TABLE, *TWO, "--model", "decoder"], "--model must be one of tabular, mlp, linear"),
    "a tokenizer": (["fit", *TEXT, *TWO, "--tokenizer", "none.json"], "tokenizer 'none.json' must be an existing file"),
    "tokens": (
        ["fit", *TEXT, *TWO, "--set", "num_tokens=3"],
        "num_tokens must not be given, since the text determines it",
    ),
    "an address": (["fit", *TEXT, *TWO, "--address", "1.2.3.4:5"], "--address must be given only with --backend ray"),
}
FILES: dict[str, tuple[str, str]] = {
    "a field": ("data: book.txt\nlearning_rate: 3\n", "has no field 'learning_rate'"),
    "a spread": ("data: book.txt\nsharding: {stratgy: ddp}\n", "no field 'stratgy'; did you mean 'strategy'"),
    "no data": ("lr: 0.1\n", "must name the data"),
    "a list": ("- 1\n", "must be a mapping of fields to values"),
    "no YAML": ("a: [\n", "cannot be read: must be YAML"),
    "two places": ("data: book.txt\nrecipe: {lr: 0.1}\nlr: 0.2\n", "the recipe's fields in one place"),
    "a word": ("data: book.txt\ncontext: many\n", "context should be a valid integer"),
    "a list of data": ("data: [1]\n", "data should be a valid string"),
    "settings": ("data: book.txt\nsettings: [1]\n", "settings should be a valid dictionary"),
    "a setting": ("data: book.txt\nsettings: {wdith: 1}\n", "wdith"),
    "a recipe": ("data: book.txt\nrecipe: {lr: -1}\n", "lr should be greater than 0, got -1"),
    "a list of a recipe": ("data: book.txt\nrecipe: [1]\n", "recipe"),
    "another version": ("format: '99.0'\ndata: book.txt\n", "99"),
    "a target": ("data: book.txt\ntarget: y\n", "target must not be given for a text"),
    "not a number": ("data: book.txt\nheld_out: .nan\n", "held.out must be a finite number|held_out should be"),
}


def check_refused(meden: Command, folder: Path, arguments: list[str], told: str) -> None:
    before = set(folder.rglob("*"))
    started = meden(*arguments, "--out", "runs/new")
    assert started.status == 2, started
    assert started.out == "" and started.err.startswith("error: ") and len(started.err.splitlines()) == 1
    assert re.search(told, started.err), started.err
    assert set(folder.rglob("*")) == before


@pytest.mark.parametrize("name", BAD)
def test_bad_input_on_two_processes(data: Path, meden: Command, wide: None, name: str) -> None:
    check_refused(meden, data, *BAD[name])


@pytest.mark.parametrize("name", FILES)
def test_bad_files(data: Path, meden: Command, wide: None, name: str) -> None:
    text, told = FILES[name]
    (data / "bad.yaml").write_text(text)
    check_refused(meden, data, ["fit", "bad.yaml", *TWO], told)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have messages on one line each."""
    from meden.cli.console import stderr

    monkeypatch.setattr(stderr, "width", 4000, raising=False)


def test_a_port_in_use_and_no_gloo(data: Path, meden: Command, wide: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check_refused(meden, data, ["fit", *TEXT, *TWO, "--port", str(port)], f"port must be free, got {port}")
    monkeypatch.setattr(dist, "is_gloo_available", lambda: False)
    for how in (TWO, []):
        check_refused(meden, data, ["fit", *TEXT, *how], "torch must be built with torch.distributed and gloo")


def test_a_run_of_a_text(data: Path, meden: Command, wide: None) -> None:
    ended = meden("fit", *TEXT, "--out", "run", "--json")
    assert ended.status == 0 and json.loads(ended.out)["status"] == "completed"
    assert {path.name for path in (data / "run").iterdir()} == {
        "recipe.yaml", "history.json", "model.safetensors", "run.json", "report.html",
    }  # fmt: skip
    scored = meden("evaluate", "run", "book.txt", "--json")
    assert scored.status == 0 and {"loss", "perplexity", "accuracy"} <= set(json.loads(scored.out)["scores"])
    for arguments, told in (
        (["evaluate", "run", "odd.txt"], "only the 20 characters seen in training"),
        (["evaluate", "run", "tiny.txt"], "context + 1 = 17 tokens"),
        (["evaluate", "run", "book.txt", "--groups", "a"], "--groups must not be given for a language model"),
        (["predict", "run", "book.txt"], "language model: score it on a text with meden evaluate"),
        (["fit", *TEXT, "--out", "run"], "--out must be a new or empty folder"),
    ):
        refused = meden(*arguments)
        assert refused.status == 2 and told in refused.err, refused
    assert meden("report", "run", "--out", "again.html").status == 0 and (data / "again.html").is_file()
    assert meden("diagnose", "run", "--json").status == 0
    run = library.load_run("run")
    assert run.vocabulary.decode(run.vocabulary.encode("to be")) == "to be"
    check_forged(data / "run")


FORGED: list[Any] = [[], {"pickle": "x"}, {"tokenizer": "{"}, *({"characters": known} for known in (3, "", "ba"))]


def check_forged(folder: Path) -> None:
    """A vocabulary that cannot be, or is of another model, is damage."""
    whole = json.loads((folder / "run.json").read_text())
    for forged in FORGED[1:]:
        write_json(
            folder / "run.json",
            {k: v for k, v in whole.items() if k not in ("format", "sha256")} | {"vocabulary": forged},
        )
        with pytest.raises(library.InputError) as refused:
            library.load_run(folder)
        assert "\n" not in str(refused.value)


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "meden"]
LONG = [*SMALL[:-4], "--context", "16", "--set", "epochs=12"]


@pytest.mark.slow
@pytest.mark.parametrize("start", ["meden", "torchrun"])
def test_cut_off_and_gone_on(data: Path, meden: Command, start: str) -> None:
    """SIGTERM saves and ends with 0; what goes on with it, alone, comes out as if nothing had been."""
    how = ["meden", "fit", "book.txt", *TWO] if start == "meden" else [*TORCHRUN, "fit", "book.txt"]
    environment = os.environ | {
        "PYTHONPATH": str(Path(library.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", *how, *LONG, "--out", "cut"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while not list(Path("cut").glob("checkpoints/step-*[0-9]")) and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=60)[1]
    if start == "meden":  # torchrun says by its own status that it was asked to stop
        assert process.returncode == 0
    assert "; continue with: meden resume cut" in " ".join(told.split()), told
    assert (data / "cut" / TRAINING).is_file() and not (data / "cut" / "run.json").exists()
    other = meden("fit", "book.txt", *LONG, "--seed", "5", "--out", "cut")
    assert other.status == 2 and "which has another seed; continue that one with: meden resume cut" in " ".join(
        other.err.split()
    )
    gone_on = meden("resume", "cut", "--processes", "1")
    assert gone_on.status == 0 and "resuming after step" in gone_on.err
    assert meden("fit", "book.txt", *LONG, "--out", "one").status == 0
    check_equal(data / "cut", data / "one", tolerance=1e-4)


def test_a_table_of_two_processes_goes_on_with_one(data: Path, meden: Command) -> None:
    (data / "cut").mkdir()
    TrainingFile(data="rows.csv", target="y", settings={"epochs": 2, "width": 8}, processes=2).save(
        data / "cut" / TRAINING
    )
    assert meden("resume", "cut", "--processes", "1").status == 0
    assert meden("fit", *TABLE, "--out", "one").status == 0
    check_equal(data / "cut", data / "one")


def test_a_run_that_diverges_leaves_nothing_to_go_on_with(data: Path, meden: Command) -> None:
    ended = meden("fit", *TEXT, "--set", "lr=1e30", "--set", "clip_norm=none", "--out", "run")
    assert ended.status == 1 and "diverged" in ended.out
    assert not [path for path in (data / "run").iterdir() if path.name in (TRAINING, "checkpoints", "tokens")]
