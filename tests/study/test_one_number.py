"""One corrected score of one choice: on the terminal, on the page, as JSON, read back, and from the estimators."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import meden
from meden import Choice, Recipe, Uniform
from meden.cli import main
from meden.cli.found import summary
from meden.data.files import bundled_table
from meden.integrations.sklearn import MLPClassifierCV, MLPRegressorCV
from meden.search import racing
from meden.study import Score, Study
from meden.study.metrics import spoken
from meden.study.verdict import value_text
from tests.integrations.conftest import one_by_one as one_by_one
from tests.report.test_page import Tags

RECIPE = {"epochs": 8, "batch_size": 64, "lr": 0.03, "optimizer": "adam", "early_stopping": {"patience": 9}}
SPACE = {"dropout": Uniform(0.0, 0.1), "depth": Choice(1)}
SEARCHED = ("--search", "dropout=0:0.1", "--search", "depth=1", "--folds", 3, "--seed", 7, "--recipe", "quick.yaml")
pytestmark = pytest.mark.usefixtures("one_by_one")


class Case(NamedTuple):
    table: str
    options: tuple[Any, ...] = ("--no-baselines",)
    """Of the command line, beside those that all have."""
    estimated: bool = True
    """Whether an estimator has these settings."""


ALONE = ("--no-baselines", "--target", "y")
CASES = {
    "classification": Case("wine", ()),
    "regression": Case("diabetes"),
    "groups": Case("grouped.csv", (*ALONE, "--groups", "patient")),
    "balanced_accuracy": Case("uneven.csv", (*ALONE, "--metric", "balanced_accuracy"), False),
    "race": Case("iris", ("--no-baselines", "--budget", 8, "--racing", "--search", "lr=1e-5:0.1:log"), False),
}


class Shown(NamedTuple):
    """A study, and what shows it."""

    name: str
    study: Study
    json: dict[str, Any]
    terminal: str
    page: str


def grouped() -> pd.DataFrame:
    """Patients of three visits each, who have a level of their own."""
    random = np.random.default_rng(0)
    patient = np.repeat(np.arange(40), 3)
    level = random.normal(size=40)[patient]
    x = level + 0.5 * random.normal(size=120)
    return pd.DataFrame({"x": x, "z": random.normal(size=120), "patient": patient, "y": np.where(level > 0, "a", "b")})


def uneven() -> pd.DataFrame:
    """Three classes of which one is rare."""
    random = np.random.default_rng(1)
    y = random.choice([0, 1, 2], 150, p=[0.6, 0.3, 0.1])
    return pd.DataFrame({"x": y + random.normal(size=150), "z": random.normal(size=150), "y": np.take(list("abc"), y)})


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture(params=CASES)
def shown(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shown]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(racing.survivors, "__kwdefaults__", {"errors": 1.0, "share": 0.4, "least": 2})  # few suffice
    Path("quick.yaml").write_text("\n".join(f"{name}: {value}" for name, value in RECIPE.items()))
    grouped().to_csv("grouped.csv", index=False)
    uneven().to_csv("uneven.csv", index=False)
    case = CASES[request.param]
    budget = () if "--budget" in case.options else ("--budget", 4)
    found = said(capsys, "tune", case.table, *SEARCHED, *budget, *case.options, "--out", "study", "--json")
    terminal = said(capsys, "resume", "study")  # finished: it shows, and trains nothing
    page = Tags(Path("study/report.html").read_text(encoding="utf-8")).text
    yield Shown(request.param, meden.load_study("study"), json.loads(found), one_line(terminal), one_line(page))


def one_line(text: str) -> str:
    return " ".join(text.split())


def plain(score: Score) -> dict[str, Any]:
    return dataclasses.asdict(score)


def told(score: Score) -> str:
    low, high = (value_text(score.metric, end) for end in (score.low, score.high))
    return f"{spoken(score.metric)} {value_text(score.metric, score.estimate)} ({low} to {high})"


def test_one_number(shown: Shown) -> None:
    study, scores = shown.study, (shown.study.score, shown.study.score_of())
    if shown.name == "race":
        assert any(trial.status == "dropped" for trial in study.trials)
    if shown.name == "regression":
        assert study.one_se is not study.best, "the study should show the harder case"

    assert shown.json["scores"] == [plain(score) for score in scores]
    assert [shown.json["verdict"][name] for name in ("loss", "told")] == [plain(score) for score in scores]
    assert shown.json[shown.json["choice"]]["params"] == study.choice.params
    assert summary(study)["scores"] == shown.json["scores"]

    expected = ", ".join(told(score) for score in reversed(scores))
    assert f"Expected on new rows: {expected}" in shown.terminal
    assert f"Expected on new rows: {expected}" in shown.page
    for score in scores:
        low, high, naive = (value_text(score.metric, value) for value in (score.low, score.high, score.naive))
        tile = f"Expected {spoken(score.metric)} of the choice{value_text(score.metric, score.estimate)}"
        assert f"{tile}90% interval {low} to {high}; mean over 3 folds {naive}, uncorrected" in shown.page

    if CASES[shown.name].estimated:
        same_as_estimator(shown)


def same_as_estimator(shown: Shown) -> None:
    options: dict[str, Any] = {}
    if shown.name == "groups":
        frame, target = grouped(), "y"
        options["groups"] = frame.pop("patient")
    else:
        frame, target = bundled_table(CASES[shown.name].table)
    made = MLPRegressorCV if shown.name == "regression" else MLPClassifierCV
    model = made(budget=4, cv=3, space=SPACE, recipe=Recipe(**RECIPE), random_state=7, families=("network",))
    model.fit(frame.drop(columns=target), frame[target], **options)
    study, choice = shown.study, shown.study.choice
    assert [model.study_.score, model.study_.score_of()] == [study.score, study.score_of()]
    assert model.best_params_ == choice.params == model.cv_results_["params"][model.best_index_]
    assert model.best_recipe_ == study.recipe_of(choice)[0]
    assert model.cv_results_["mean_test_score"][model.best_index_] == -choice.loss
