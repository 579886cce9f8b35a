"""A user's own code is checked against the types of the installed package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

USER = """
import meden
from meden.penalties import L1

recipe = meden.Recipe(lr=0.1, regularizers=[meden.Regularizer(L1(1e-3), on="weights")])
reveal_type(recipe.lr)
reveal_type(meden.load_study("runs/study"))
reveal_type(meden.convert(1.0, source="sklearn.Ridge", to="torch.SGD", n=442))
reveal_type(meden.fit)
"""
WRONG = """
import meden
from meden.penalties import L1

meden.Regularizer(L1(1e-3), coupling="proximate")
meden.load_study(3)
meden.no_such_name
"""


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and nothing that it needs: mypy reads only meden, not torch for a minute."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site(folder))
    return folder


def site(environment: Path) -> Path:
    (found,) = environment.glob("lib/python*/site-packages")
    return found


def mypy(environment: Path, folder: Path, program: str) -> tuple[int, str]:
    (folder / "user.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(environment / "bin" / "python")]
    command += ["--config-file", "", "--cache-dir", str(environment / "cache"), "user.py"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert not ended.stderr, ended.stderr
    return ended.returncode, ended.stdout


def test_types_reach_the_user(environment: Path, tmp_path: Path) -> None:
    status, told = mypy(environment, tmp_path, USER)
    assert status == 0, told
    for kind in ('"float"', '"meden.study.study.Study"', "meden.recipe.recipe.Recipe"):
        assert kind in told


def test_what_is_wrong_is_told(environment: Path, tmp_path: Path) -> None:
    status, told = mypy(environment, tmp_path, WRONG)
    assert status == 1
    lines = [line for line in told.splitlines() if ": error:" in line]
    assert [line.split(":")[1] for line in lines] == ["5", "6", "7"]


def test_without_the_marker_there_are_no_types(environment: Path, tmp_path: Path) -> None:
    marker = site(environment) / "meden" / "py.typed"
    marker.unlink()
    try:
        status, told = mypy(environment, tmp_path, USER)
    finally:
        marker.touch()
    assert status == 1 and "py.typed" in told
