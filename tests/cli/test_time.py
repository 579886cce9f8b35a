"""Time from the start of the command, presets, more of a study that has ended, a look at one that runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meden import load_study
from meden.study.ledger import LEDGER, read_rows
from tests.cli.conftest import Command

QUICK = "epochs: 2\nbatch_size: 64\n"
LEAST = ("--folds", "2", "--model", "linear", "--recipe", "quick.yaml", "--no-baselines")


@pytest.fixture(autouse=True)
def quick(folder: Path) -> None:
    (folder / "quick.yaml").write_text(QUICK)


def run(*arguments: str) -> subprocess.Popen[str]:
    """Begin a command in a process of its own."""
    source = str(Path(__file__).parents[2] / "src")
    return subprocess.Popen(
        [sys.executable, "-m", "meden", *arguments],
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_command_is_done_within_its_time_limit() -> None:
    started = time.perf_counter()
    command = run("tune", "digits", "--time-limit", "40", "-o", "study", "--json")
    out, err = command.communicate(timeout=100)
    assert time.perf_counter() - started < 44, err
    assert command.returncode == 0, err
    told = json.loads(out)
    assert re.fullmatch(r"the time limit of 40 s allowed .*\d+ of 256 epochs.*", told["shortened"])
    assert Path("study/report.html").exists() and Path("study/model.safetensors").exists()


@pytest.mark.slow
def test_a_study_can_be_looked_at_while_it_runs_and_after_it_was_killed(meden: Command) -> None:
    options = ("--epochs-budget", "1000000", "--budget", "100000", "--strategy", "random", "-o", "study")
    command = run("tune", "digits", *LEAST, *options)
    try:
        while not (Path("study") / LEDGER).exists() or len(read_rows(Path("study") / LEDGER).rows) < 8:
            assert command.poll() is None, command.stderr and command.stderr.read()
            time.sleep(0.1)
        while command.poll() is None and not load_study("study").trials:
            time.sleep(0.1)
        running = load_study("study")
        assert command.poll() is None and running.status == "unfinished" and running.trials
        ended = meden("report", "study", "-o", "running.html")
        assert ended.status == 0 and "unfinished: " in ended.err, ended.err
    finally:
        command.send_signal(signal.SIGKILL)
        command.communicate()
    with (Path("study") / LEDGER).open("ab") as ledger:
        ledger.write(b'{"torn')
    killed = load_study("study")
    assert killed.status == "unfinished" and len(killed.trials) >= len(running.trials)
    assert meden("report", "study", "-o", "killed.html").status == 0
    assert Path("running.html").stat().st_size > 1000 and Path("killed.html").stat().st_size > 1000


def test_a_larger_budget_extends_a_study_that_has_ended(meden: Command) -> None:
    first = json.loads(meden("tune", "iris", *LEAST, "--budget", "2", "-o", "study", "--json").out)
    more = meden("resume", "study", "--budget", "4", "--json")
    assert more.status == 0, more.err
    assert "2 configurations of a budget of 2 done already" in more.err
    told = json.loads(more.out)
    assert (first["configurations"], told["configurations"]) == (2, 4)
    whole = json.loads(meden("tune", "iris", *LEAST, "--budget", "4", "-o", "whole", "--json").out)
    assert told["best"] == whole["best"]
    assert Path("study/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    refused = meden("resume", "study", "--budget", "3")
    assert refused.status == 2 and "budget must be at least 4, the configurations that 'study' holds" in refused.err
    assert json.loads(meden("resume", "study", "--json").out)["best"] == told["best"], (
        "the larger budget is the study's"
    )


def test_a_grid_is_not_extended(meden: Command) -> None:
    options = (*LEAST, "-s", "l2=1e-4:1:log", "--strategy", "grid", "--budget", "2")
    assert meden("tune", "iris", *options, "-o", "study").status == 0
    ended = meden("resume", "study", "--budget", "4")
    assert ended.status == 2 and "got one with different budget" in ended.err and ended.err.count("error:") == 1


def test_more_time_is_counted_from_the_command_that_goes_on(meden: Command) -> None:
    assert meden("tune", "iris", *LEAST, "--budget", "2", "-o", "study").status == 0
    more = meden("resume", "study", "--budget", "4", "--time-limit", "60", "--json")
    assert more.status == 0 and json.loads(more.out)["configurations"] == 4, more.err
    limit = json.loads(Path("study/study.json").read_text())["settings"]["time_limit"]
    assert 60 < limit < 90, "what was spent before is on top"


@pytest.mark.parametrize("limit", ["0", "-5", "nan"])
@pytest.mark.parametrize("command", ["tune", "resume"])
def test_a_limit_must_be_a_time(meden: Command, command: str, limit: str) -> None:
    subject = "iris"
    if command == "resume":
        assert meden("tune", "iris", *LEAST, "--budget", "1", "-o", "study").status == 0
        subject = "study"
    ended = meden(command, subject, "--time-limit", limit)
    assert ended.status == 2 and "must be a finite number" in ended.err


def test_presets_are_overruled_by_what_is_given(meden: Command) -> None:
    ended = meden(
        "tune", "iris", "--model", "linear", "--preset", "fast", "--no-baselines", "--folds", "2", "-o", "study"
    )
    assert ended.status == 0, ended.err
    written = json.loads(Path("study/study.json").read_text())
    assert written["settings"]["budget"] == 3 and written["recipe"]["epochs"] == 32
    assert len(load_study("study").folds) == 2
    ended = meden("tune", "iris", "--preset", "quick")
    assert ended.status == 2 and "--preset must be one of fast, good, best, got 'quick'" in ended.err
