"""``meden evaluate``: what it prints is what Python finds; rows that cannot be scored get one line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meden import evaluate, load_run
from meden.cli.evaluate import MOST_CLASSES
from tests.cli.conftest import Command

FIT = ("--target", "y", "--out", "run", "--model", "mlp", "--set", "epochs=3")


def table(num: int = 90, labels: tuple[str, ...] = ("=no", "yes")) -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=num), "b": random.normal(size=num), "who": np.arange(num) // 3})
    frame["y"] = [labels[int(k)] for k in np.clip(len(labels) * (frame["a"] + 2) / 4, 0, len(labels) - 1)]
    return frame


@pytest.fixture
def labelled(meden: Command, folder: Path) -> pd.DataFrame:
    frame = table()
    frame.to_csv("x.csv", index=False)
    ended = meden("fit", "x.csv", *FIT, "--drop", "who")
    assert ended.status == 0, ended.err
    return frame


def test_what_is_printed_is_what_python_finds(meden: Command, labelled: pd.DataFrame) -> None:
    ended = meden("evaluate", "run", "x.csv", "--groups", "who", "--json")
    assert ended.status == 0 and ended.err == ""
    found = evaluate(load_run("run"), labelled, groups="who")
    assert json.loads(ended.out) == json.loads(json.dumps(found.to_dict()))
    shown = meden("evaluate", "run", "x.csv", "--groups", "who").out
    assert "90 rows of 'y'; intervals by bootstrap over 30 groups" in shown and "=no" in shown
    for text in ("ROC AUC", "average precision", "F1 (macro)", "balanced accuracy", "90 % interval", "calibration"):
        assert text in shown
    assert all(str(count) in shown for count in found.confusion.ravel())


def test_folders_of_tune_are_evaluated_one_model_or_one_a_fold(meden: Command, labelled: pd.DataFrame) -> None:
    quick = ("--model", "mlp", "--search", "l2=0.1", "--budget", "1", "--folds", "2", "--drop", "who")
    Path("quick.yaml").write_text("epochs: 2\n")
    for refit in ("all", "folds"):
        ended = meden("tune", "x.csv", "-t", "y", "-o", refit, "--refit", refit, "--recipe", "quick.yaml", *quick)
        assert ended.status == 0, ended.err
        told = json.loads(meden("evaluate", refit, "x.csv", "--json").out)
        assert told["scores"]["f1"]["value"] == evaluate(load_run(refit), labelled).scores["f1"].value


def test_numbers_are_read_as_in_training_or_as_is_said(meden: Command, folder: Path) -> None:
    frame = table().assign(y=lambda f: 3 * f["a"] + 20)
    frame.to_csv("x.csv", index=False, sep=";", decimal=",")
    assert meden("fit", "x.csv", *FIT).status == 0
    first = meden("evaluate", "run", "x.csv", "--json")
    assert first.status == 0, first.err
    frame.to_csv("point.csv", index=False, sep="|")
    again = meden("evaluate", "run", "point.csv", "--sep", "|", "--decimal", ".", "--json")
    for name, score in json.loads(first.out)["scores"].items():
        assert json.loads(again.out)["scores"][name] == pytest.approx(score)
    shown = meden("evaluate", "run", "x.csv").out
    assert all(text in shown for text in ("RMSE", "MAE", "R2", "mean (bias)", "median", "95 % are below"))


def test_of_many_classes_the_frequent_mistakes_are_shown(meden: Command, folder: Path) -> None:
    labels = tuple(f"c{k:02}" for k in range(MOST_CLASSES + 1))
    table(300, labels).to_csv("x.csv", index=False)
    assert meden("fit", "x.csv", *FIT).status == 0
    shown = meden("evaluate", "run", "x.csv").out
    assert "most frequent mistakes" in shown
    matrix = evaluate(load_run("run"), pd.read_csv("x.csv")).confusion
    most = (matrix * (1 - np.eye(len(labels), dtype=int))).max()
    assert f" {most} " in shown.split("most frequent mistakes")[1]


BAD = {
    "no target": (lambda f: f.drop(columns="y"), (), "target must be a column of the table (a, b, who), got 'y'"),
    "no label": (lambda f: f.assign(y=f["y"].where(f.index != 7)), (), "1 missing of 90; leave those rows out"),
    "another label": (lambda f: f.assign(y="maybe"), (), "labels seen in training ('=no', 'yes'), got 'maybe' (row 0)"),
    "no rows": (lambda f: f[:0], (), "rows, got none"),
    "another table": (lambda f: f.rename(columns={"a": "aa"}), (), "lacks 'a'; did you mean 'aa'?"),
    "no groups": (lambda f: f, ("--groups", "whom"), "got 'whom'; did you mean 'who'?"),
    "a mark": (lambda f: f, ("--na", "yes"), "missing of 90"),
    "on-missing": (lambda f: f, ("--on-missing", "guess"), "--on-missing must be one of error, empty, got 'guess'"),
}


@pytest.mark.parametrize(("spoiled", "options", "told"), BAD.values(), ids=BAD)
def test_rows_that_cannot_be_scored(meden: Command, labelled: pd.DataFrame, spoiled, options, told) -> None:  # type: ignore[no-untyped-def]
    spoiled(labelled).to_csv("new.csv", index=False)
    ended = meden("evaluate", "run", "new.csv", *options)
    assert ended.status == 2 and ended.out == ""
    assert told in ended.err and ended.err.count("\n") == 1, ended.err


def test_rows_without_an_answer_are_left_out_when_asked(meden: Command, labelled: pd.DataFrame) -> None:
    labelled.astype({"a": object}).assign(a=labelled["a"].where(labelled.index != 4, "broken")).to_csv("new.csv")
    assert "'broken' (row 4)" in meden("evaluate", "run", "new.csv").err
    ended = meden("evaluate", "run", "new.csv", "--on-missing", "empty")
    assert ended.status == 0 and "89 rows of 'y', 1 row without a prediction left out" in ended.out
