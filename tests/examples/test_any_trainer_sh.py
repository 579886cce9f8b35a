"""The example in shell and awk trains what numpy trains, searched from the command line."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

import meden
from meden.cli import main
from meden.study import load_study

PATH = Path(__file__).parents[2] / "examples" / "any_trainer.sh"


def test_it_equals_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(24, 2)).round(4)
    y = (1 + x @ [2, -1] + random.normal(scale=0.5, size=24)).round(4)
    np.savetxt(tmp_path / "data.csv", np.c_[x, y], fmt="%.4f", delimiter=",", header="a,b,y", comments="")
    (tmp_path / "recipe.yaml").write_text("epochs: 2\n")
    (tmp_path / "meden").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m meden "$@"\n')
    (tmp_path / "meden").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(meden.__file__).parents[1]))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    command = f"bash {shlex.quote(str(PATH))} data.csv {{lr}} {{decay}}"
    options = "--search lr=0.1:1:log --search decay=0.1:1 --folds 2 --budget 1 --recipe recipe.yaml -o study".split()
    assert main(["tune", "data.csv", "--target", "y", "--command", command, *options]) == 0
    study = load_study("study")
    (trial,), ones = study.trials, np.c_[np.ones(24), x]
    for row, fold in zip(trial.rows, study.folds, strict=True):
        w = np.zeros(3)
        for loss in row.stop_loss:
            slope = ones[fold.fit].T @ (ones[fold.fit] @ w - y[fold.fit]) / len(fold.fit)
            w = w - trial.params["lr"] * (slope + trial.params["decay"] * w * [0, 1, 1])
            assert loss == pytest.approx(np.mean((ones[fold.stop] @ w - y[fold.stop]) ** 2) / 2, rel=1e-4)
        assert row.num_epochs == 2
        assert row.scores == pytest.approx((ones[fold.score] @ w - y[fold.score]) ** 2, rel=1e-2, abs=1e-4)
