"""``meden tune FILE`` and the estimator, with the same seed and limits, are one search: bit for bit the same rows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import meden as package
from meden.data import as_dataset, read_table
from meden.data.files import bundled_table
from meden.integrations.sklearn import MLPClassifierCV, MLPRegressorCV
from meden.study import Study
from meden.study.ledger import Ledger
from tests.cli.conftest import Command

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[3] / "shared" / "data"))


def same_search(meden: Command, source: Path | str, frame: pd.DataFrame, target: str, budget: int = 3) -> None:
    """Run both with recipe ``quick.yaml``, and compare data, configurations and the loss of each scored row."""
    limits = ("--budget", budget, "--folds", 3, "--seed", 5, "--recipe", "quick.yaml", "--no-baselines")
    ended = meden("tune", source, "--target", target, *limits, "--out", "study", "--json")
    assert ended.status == 0, ended.err
    made = MLPClassifierCV if as_dataset(frame, target=target).classes else MLPRegressorCV
    recipe = package.Recipe.load("quick.yaml")
    model = made(budget=budget, cv=3, random_state=5, recipe=recipe, families=("network",))
    model.fit(frame.drop(columns=target), frame[target])
    found = json.loads(ended.out)
    header, *rows = [json.loads(line) for line in Path("study/ledger.jsonl").read_text().splitlines()]
    assert header["identity"]["data"] == model.study_.dataset.content_hash()
    assert sorted(map(untimed, rows), key=place) == sorted(map(untimed, ledger_rows(model.study_)), key=place)
    assert found[found["choice"]]["params"] == model.best_params_


def ledger_rows(study: Study) -> list[dict[str, Any]]:
    """Return what the estimator's study would have in its ledger, written there by the ledger itself."""
    with Ledger(Path("estimator.jsonl"), {}) as ledger:
        for trial in (*study.trials, *study.baselines):
            for row in trial.rows:
                ledger.append(row)
    return [json.loads(line) for line in Path("estimator.jsonl").read_text().splitlines()[1:]]


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("seconds", "sha256")}


def place(row: dict[str, Any]) -> tuple[str, int, int]:
    return row.get("baseline", ""), row["configuration"], row["fold"]


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_of_a_bundled_table(meden: Command, folder: Path, name: str) -> None:
    Path("quick.yaml").write_text("epochs: 3\nbatch_size: 64\nlr: 0.04\nearly_stopping: {patience: 9}\n")
    frame, target = bundled_table(name)
    same_search(meden, name, frame, target)


def test_of_a_real_table(meden: Command, folder: Path) -> None:
    source = DATA / "credit_g" / "credit_g.csv"
    if not source.exists():
        pytest.skip("needs the real tables (MEDEN_DATA)")
    Path("quick.yaml").write_text("epochs: 4\nbatch_size: 256\nlr: 0.04\nearly_stopping: {patience: 9}\n")
    same_search(meden, source, read_table(source), "class")


def test_defaults_are_the_same(meden: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the stop split: what only predicts learns from it, too, and trains to the end of its schedule."""
    asked: list[dict[str, Any]] = []

    def tune(make_model: Any, data: Any, space: Any, **options: Any) -> None:
        recipe = options["recipe"].replace(early_stopping=None)
        told = {name: options[name] for name in ("first", "strategy")}
        asked.append(told | {"recipe": recipe, "space": space, "data": data.content_hash()})
        raise package.InputError("stop")

    monkeypatch.setattr("meden.search.tune", tune)
    assert "stop" in meden("tune", "wine").err
    frame, target = bundled_table("wine")
    with pytest.raises(package.InputError, match="stop"):
        MLPClassifierCV(families=("network",)).fit(frame.drop(columns=target), frame[target])
    assert asked[0] == asked[1]
