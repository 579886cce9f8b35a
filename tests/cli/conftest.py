"""Run commands in this process, as a shell would see them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from meden.cli import main


class Ended(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def meden(capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Return what runs ``meden ARGUMENTS``; warnings are lines on standard error, not exceptions."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Ended(status, *capsys.readouterr())

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
