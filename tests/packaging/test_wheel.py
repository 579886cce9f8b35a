"""What is released: every file that meden reads is in it, nothing of the tests, and two builds are one file."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.built import ROOT, build, sources


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_file_of_the_package_is_in_the_wheel(names: set[str]) -> None:
    inside = {name for name in names if name.startswith("meden/")}
    assert inside == {f"meden/{path.relative_to(ROOT / 'src' / 'meden').as_posix()}" for path in sources()}
    beside = {
        "py.typed",
        "report/plotly-basic.min.js",
        "report/report.html.j2",
        "cli/options.json",
        "cli/project/tune.py.in",
    }
    assert {f"meden/{name}" for name in beside} <= inside


def test_nothing_else_is_but_licences_metadata_and_the_manual_page(names: set[str]) -> None:
    others = {name.split("/", 1)[1] for name in names if not name.startswith("meden/")}
    licences = {"licenses/LICENSE", "licenses/src/meden/report/plotly-LICENSE.txt"}
    assert others == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "data/share/man/man1/meden.1"} | licences


def test_a_wheel_built_elsewhere_at_another_time_is_the_same(wheel: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copy)
    shutil.copytree(ROOT / "share", copy / "share")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for path in copy.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    again = build(copy, tmp_path / "dist")
    assert digest(again) == digest(wheel)
    (copy / "README.md").write_text("other")
    assert digest(build(copy, tmp_path / "other")) != digest(wheel)


def test_the_source_distribution_holds_what_the_wheel_is_built_from(tmp_path: Path) -> None:
    archive = build(ROOT, tmp_path, "sdist")
    with tarfile.open(archive) as inside:
        names = {name.split("/", 1)[1] for name in inside.getnames() if "/" in name}
    assert {path.relative_to(ROOT).as_posix() for path in sources()} <= names
    assert {"pyproject.toml", "share/man/man1/meden.1", "tests/packaging/test_wheel.py", "CITATION.cff"} <= names


def test_the_manual_page_and_the_completed_options_are_as_the_commands_say() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "tools" / "command_pages.py"), "--check"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}make man writes them again"
