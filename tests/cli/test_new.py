"""``meden new``: the project that it writes runs, and nothing that was there is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.conftest import Command

SRC = Path(__file__).parents[2] / "src"
FILES = ("Makefile", "README.md", "data/new.csv", "data/train.csv", "model.py", "predict.py", "tune.py")


def python(folder: Path, *arguments: str) -> str:
    """Run a script of the project in a process of its own, as its Makefile does."""
    environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_project_is_checked_tuned_and_predicts(meden: Command, folder: Path) -> None:
    ended = meden("new", "mine", "--json")
    assert ended.status == 0, ended.err
    assert tuple(json.loads(ended.out)["files"]) == FILES
    mine = folder / "mine"
    assert sorted(str(path.relative_to(mine)) for path in mine.rglob("*") if path.is_file()) == sorted(FILES)
    assert meden("check", mine / "data" / "train.csv", "--target", "diagnosis").status == 0
    told = python(mine, "tune.py", "--budget", "2", "--folds", "2", "--epochs", "12")
    assert "configurations" in told and "Expected on new rows" in told
    assert (mine / "runs" / "report.html").stat().st_size > 100_000
    assert "100 rows" in python(mine, "predict.py")
    answers = pd.read_csv(mine / "runs" / "predictions.csv")
    bundle = pd.read_csv(mine / "data" / "new.csv")
    assert len(answers) == len(bundle) == 100 and set(answers["prediction"]) == {"benign", "malignant"}
    assert answers["p_benign"].gt(0.5).eq(answers["prediction"] == "benign").all()


def test_makefile_and_readme_name_files_that_are_there(meden: Command, folder: Path) -> None:
    assert meden("new", "mine").status == 0
    made = subprocess.run(
        ["make", "--no-print-directory", "-n", "all"], cwd=folder / "mine", capture_output=True, text=True, check=True
    )
    commands = made.stdout.splitlines()
    check = "python3 -m meden check data/train.csv --target diagnosis"
    assert commands == [check, "python3 tune.py", "python3 predict.py"]
    readme = (folder / "mine" / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in FILES if name not in ("README.md",))


@pytest.mark.parametrize("before", ["file", "folder"])
def test_what_is_there_is_not_touched(meden: Command, folder: Path, before: str) -> None:
    there = folder / "mine" if before == "file" else folder / "mine" / "notes.txt"
    there.parent.mkdir(exist_ok=True)
    there.write_text("mine")
    ended = meden("new", "mine")
    assert ended.status == 2 and "must be new or empty, got 'mine'" in ended.err
    assert there.read_text() == "mine"
    assert [path for path in folder.rglob("*") if path.is_file()] == [there]


def test_an_empty_folder_is_taken(meden: Command, folder: Path) -> None:
    (folder / "mine").mkdir()
    assert meden("new", "mine").status == 0
    assert (folder / "mine" / "tune.py").is_file()


def test_what_to_do_next_can_be_pasted_into_a_shell(meden: Command, folder: Path) -> None:
    assert meden("new", "my project").out.endswith("Next: cd 'my project' && make tune\n")


def test_the_project_s_own_code_is_as_clean_as_ours(meden: Command, folder: Path) -> None:
    assert meden("new", "mine").status == 0
    for command in (["check", "--select", "E,F,I,UP,B"], ["format", "--check"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", "."],
            cwd=folder / "mine", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout
