"""``meden job`` inside of a command, and the search of a command from the command line."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import meden as package
from meden._checks import InputError
from meden.job_files import REPLIES, SAID, TOLD, VARIABLE, JobFiles
from meden.study import load_study
from tests.cli.conftest import Command
from tests.test_imports import MAIN, loaded

SCRIPT = """
set -e
lr=$(meden job param lr)
[ "$lr" = "$1" ]
meden job rows fit --of data.csv > fit-$$.csv
mean=$(tail -n +2 fit-$$.csv | awk -F, -v r=$lr '{s += $2} END {print r * s / NR}')
for epoch in $(seq 1 $MEDEN_EPOCHS); do
  meden job report $epoch -0.$epoch --train-loss 0.5 || break
done
meden job rows score | sed "s/.*/$mean/" > scored-$$.txt
meden job score scored-$$.txt --as predictions
rm scored-$$.txt
"""


@pytest.fixture(autouse=True)
def this_meden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts find the meden that is tested."""
    monkeypatch.setenv("PYTHONPATH", str(Path(package.__file__).parents[1]))
    Path("bin").mkdir()
    Path("bin/meden").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m meden "$@"\n')
    Path("bin/meden").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> JobFiles:
    """Stand for the search: the files of a job."""
    values = {"params": {"lr": 1e-5, "kind": "a b", "deep": True}, "num_rows": 4, "checkpoint_dir": str(folder / "c")}
    values["rows"] = {"fit": str(folder / "fit.txt"), "stop": str(folder / "stop.txt"), "score": str(folder / "s.txt")}
    for name, rows in (("fit", "0\n3\n"), ("stop", ""), ("s", "1\n")):
        Path(f"{name}.txt").write_text(rows)
    Path(TOLD).write_text(json.dumps(values))
    monkeypatch.setenv(VARIABLE, str(folder / TOLD))
    return JobFiles.here()


@pytest.fixture
def pipe(told: JobFiles) -> int:
    """Return where the search hears what is said."""
    os.mkfifo(told.folder / SAID)
    return os.open(told.folder / SAID, os.O_RDONLY | os.O_NONBLOCK)


def test_what_a_job_is_told(meden: Command, told: JobFiles) -> None:
    assert json.loads(meden("job", "params").out) == told.params
    assert meden("job", "param", "lr").out == "1e-05\n" and meden("job", "param", "kind").out == "a b\n"
    assert meden("job", "param", "deep").out == "true\n"
    assert meden("job", "rows", "fit").out == "0\n3\n" and meden("job", "rows", "stop").out == ""
    assert meden("job", "checkpoint-dir").out == f"{told.folder / 'c'}\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_of_a_table_are_as_they_are_written(told: JobFiles, end: str) -> None:
    lines = [b"a;b", b'1;"two', b'lines"', b"2;x", b"", b'3;"1,5 \x80"', b"4; last"]
    Path("data.csv").write_bytes(end.encode().join(lines))
    run = subprocess.run(["meden", "job", "rows", "fit", "--of", "data.csv"], capture_output=True, check=True)
    assert run.stdout == end.encode().join([*lines[:3], b"4; last"]) + b"\n"
    assert list(told.lines("score", Path("data.csv")))[1] == f"2;x{end}"
    Path("data.csv").write_text('size,x\n5" pipe,1\n6,2\n7,3\n8,4')
    assert "".join(told.lines("fit", Path("data.csv"))) == 'size,x\n5" pipe,1\n8,4\n'
    Path("data.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"header and the study's 4 rows, got 'data\.csv' of 1 rows"):
        list(told.lines("fit", Path("data.csv")))


def test_a_report_waits_for_its_reply(meden: Command, told: JobFiles, pipe: int) -> None:
    def reply(stop: bool) -> None:
        with open(told.folder / REPLIES, "a") as file:
            file.write(json.dumps({"epoch": 1 + stop, "stop": stop}) + "\n")

    for stop, arguments in ((False, ("1", "nan")), (True, ("2", "-0.5", "--train-loss", "-1e3"))):
        later = threading.Timer(0.1, reply, (stop,))
        later.start()
        ended = meden("job", "report", *arguments)
        later.join()
        assert (ended.status, ended.out, ended.err) == (3 if stop else 0, "", "")
    said = [json.loads(line) for line in os.read(pipe, 4096).decode().splitlines() if line]
    assert said[0]["epoch"] == 1 and np.isnan(said[0]["stop_loss"])
    assert said[1:] == [{"epoch": 2, "stop_loss": -0.5, "train_loss": -1000.0}]
    os.close(pipe)


def test_a_report_to_a_search_that_is_gone_ends(meden: Command, told: JobFiles, pipe: int) -> None:
    closing = threading.Timer(0.1, os.close, (pipe,))
    closing.start()
    ended = meden("job", "report", "1", "0.5")  # it is heard, and never replied to
    assert ended.status == 2 and "has ended or was killed" in ended.err
    assert "has ended or was killed" in meden("job", "report", "1", "0.5").err
    Path("scored.txt").write_text("1\n")
    assert "has ended or was killed" in meden("job", "score", "scored.txt", "--as", "losses").err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("report one 0.5", "EPOCH must be a whole number, got 'one'"),
        ("report 1 low", "STOP_LOSS must be a number, got 'low'"),
        ("report 1 0.5 --train-loss low", "--train-loss must be a number, got 'low'"),
        ("report", "Missing argument"),
        ("report 1 0.5 --trainloss 0.5", "unexpected extra argument"),
        ("raport 1 0.5", "No such command 'raport'"),
        ("param l", "param must be one of lr, kind, deep, got 'l'; did you mean 'lr'?"),
        ("rows fits", "part must be one of"),
        ("rows fit --of none.csv", "--of must be a readable table, got 'none.csv': No such file"),
        ("score none.txt --as losses", "file must exist, got 'none.txt'"),
        ("score fit.txt --as loss", "kind must be one of"),
    ],
)
def test_what_is_wrong_is_said_here_and_to_the_search(meden: Command, pipe: int, arguments: str, words: str) -> None:
    """A script may go on after an error, and would be scored as if it had trained."""
    ended = meden("job", *arguments.split())
    assert ended.status == 2 and words in ended.err and ended.err.count("\n") == 1
    assert words in json.loads(os.read(pipe, 4096))["refused"]
    os.close(pipe)


def test_outside_of_a_job(meden: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for arguments in ("params", "rows fit", "report 1 0.5", "checkpoint-dir"):
        ended = meden("job", *arguments.split())
        assert ended.status == 2 and "must be called by a command that a search runs" in ended.err
    monkeypatch.setenv(VARIABLE, "nowhere/job.json")
    assert "job that has not ended, got 'nowhere/job.json'" in meden("job", "params").err


@pytest.mark.parametrize("command", ["param", "rows", "report", "score", "checkpoint-dir"])
def test_help_has_examples(meden: Command, command: str) -> None:
    ended = meden("job", command, "--help")
    assert ended.status == 0 and f"meden job {command} " in ended.out.replace(
        "job checkpoint-dir)", "job checkpoint-dir "
    )


def test_it_loads_no_torch(told: JobFiles) -> None:
    assert loaded(MAIN.format("job params") + "pass") <= {"pydantic"}


@pytest.fixture
def numbers() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=40), "y": 3 + random.normal(size=40), "site": np.arange(40) // 4})
    frame.to_csv("data.csv", index=False)
    Path("train.sh").write_text(SCRIPT)
    Path("quick.yaml").write_text("epochs: 2\n")
    return frame


SEARCH = ("--search", "lr=0.5:1.5", "--strategy", "random", "--folds", "2", "--budget", "1", "--recipe", "quick.yaml")
TRAIN = "bash train.sh {lr}"


def test_a_shell_script_is_searched_by_labels_of_a_table(meden: Command, numbers: pd.DataFrame) -> None:
    ended = meden("tune", "data.csv", "-t", "y", "--groups", "site", "--command", TRAIN, *SEARCH, "-o", "study")
    assert ended.status == 0, ended.err
    assert "Choice:  lr" in ended.out and "Predict" not in ended.out and "40 rows" in ended.err
    study = load_study("study")
    assert study.told == "rmse" and study.model.text == TRAIN
    y, site = numbers["y"].to_numpy(), numbers["site"].to_numpy()
    for trial in study.trials:
        for row, fold in zip(trial.rows, study.folds, strict=True):
            assert not set(site[fold.score]) & set(site[fold.fit])
            predicted = trial.params["lr"] * y[fold.fit].mean()
            assert row.scores.mean() == pytest.approx(np.mean((y[fold.score] - predicted) ** 2), rel=1e-4)
            assert list(row.stop_loss) == [-0.1, -0.2] and list(row.train_loss) == [0.5, 0.5]
    assert (
        meden("report", "study", "-o", "again.html").status == 0 and "bash train.sh" in Path("again.html").read_text()
    )
    refused = meden("resume", "study", "--budget", "2")
    assert refused.status == 2 and f"--command must be given again: the study was started with '{TRAIN}'" in refused.err
    more = meden("resume", "study", "--budget", "2", "--command", TRAIN, "--json")
    assert more.status == 0 and json.loads(more.out)["configurations"] == 2
    Path("train.sh").write_text(SCRIPT + "true\n")
    assert "code may have changed" in meden("resume", "study", "--budget", "3", "--command", TRAIN).err


INTERRUPTED = """
[ -e once ] || { touch once; kill -INT $PPID; sleep 60; }
sed "s/.*/$1/" "${MEDEN_JOB%job.json}score.txt" > scored.txt
echo '{"predictions": "scored.txt"}'
"""


def test_an_interrupted_search_says_how_it_goes_on(meden: Command, numbers: pd.DataFrame) -> None:
    Path("train.sh").write_text(INTERRUPTED)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background process may have to ignore it
    try:
        ended = meden("tune", "data.csv", "-t", "y", "--order", "a", "--command", TRAIN, *SEARCH, "-o", "my study")
    finally:
        signal.signal(signal.SIGINT, before)
    words = shlex.split(ended.err.splitlines()[-1])
    assert ended.status == 1 and words[:4] == ["interrupted;", "continue", "with:", "meden"] and words[-1] == TRAIN
    ended = meden(*words[4:])
    assert ended.status == 0, ended.err
    study, a = load_study("my study"), numbers["a"].to_numpy()
    assert not study.num_missing and all(a[fold.fit].max() < a[fold.score].min() for fold in study.folds)


def test_an_error_of_a_script_that_goes_on_loses_the_job(meden: Command, numbers: pd.DataFrame) -> None:
    Path("train.sh").write_text(SCRIPT.replace("-0.$epoch", "loss"))
    ended = meden("tune", "data.csv", "-t", "y", "--command", TRAIN, *SEARCH, "-o", "study")
    assert ended.status == 2 and "meden job: STOP_LOSS must be a number, got 'loss' (in the first job" in ended.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--command", TRAIN), "--search must be given with --command"),
        (("--command", TRAIN, *SEARCH, "--model", "mlp"), "--model must not be given with --command"),
        (("--command", TRAIN, *SEARCH, "--refit", "all"), "--refit must not be given with --command"),
        (("--command", TRAIN, *SEARCH, "--no-baselines"), "--baselines must not be given with --command"),
        (("--command", TRAIN, *SEARCH, "--drop", "a"), "--drop must not be given with --command"),
        (("--command", TRAIN, *SEARCH, "--read", "a=number"), "--read must not be given with --command"),
        (("--command", TRAIN, "--search", "cocktail"), "must look like"),
        (("--command", TRAIN, "--search", "l1=data"), "space 'l1' must be"),
        (("--command", "", *SEARCH), "command must be a string or a list of strings"),
        (("--command", "nothing-such {lr}", *SEARCH), "executable program, got 'nothing-such'"),
    ],
)
def test_options_that_make_no_sense(
    meden: Command, numbers: pd.DataFrame, options: tuple[str, ...], words: str
) -> None:
    ended = meden("tune", "data.csv", "-t", "y", "-o", "study", *options)
    assert ended.status == 2 and words in ended.err and not Path("study").exists()
    assert len(numbers) == 40
