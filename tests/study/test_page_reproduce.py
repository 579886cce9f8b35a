"""The recipe on the page is the refit's file, and what it says makes the study again does so."""

import dataclasses
import functools

import numpy as np
import pytest

import meden
from meden.study.page import study_report
from tests.report.reading import codes_of, sections_of
from tests.report.studies import EVIL, study

QUICK = meden.Recipe(epochs=3, batch_size=32, dropout=0.2)
SPACE = {
    "l2": meden.LogUniform(1e-4, 1.0),
    "mixup": meden.Maybe(meden.Uniform(0.1, 1.0)),
    "width": meden.Choice(4, 8),
    "optimizer": meden.Choice("adam", "sgd"),
}


def searched(make_model=meden.models.MLP, **options):
    settings = {"folds": 3, "budget": 3, "strategy": "random", "recipe": QUICK, "seed": 7, "baselines": False}
    return meden.tune(make_model, "iris", SPACE, **settings | options)


@pytest.mark.parametrize("refit", ["all", "folds"])
def test_the_recipe_is_the_file_of_the_refit_to_the_letter(tmp_path, refit):
    made = searched(notes={"refit": refit})
    made.refit(policy=refit).save(tmp_path)
    page = made.report(tmp_path / "report.html").read_text()
    assert codes_of(page)["recipe.yaml"] == (tmp_path / "recipe.yaml").read_text()
    assert str(tmp_path) in codes_of(page)["In Python"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seeds": 2, "racing": True, "metric": "accuracy", "stop_fraction": 0.3, "budget": 4},
        {"first": [{"l2": 0.5, "mixup": None, "width": 4, "optimizer": "sgd"}], "strategy": "tpe"},
        {"make_model": functools.partial(meden.models.MLP, depth=1), "epochs_budget": 30},
    ],
    ids=["plain", "race", "first", "partial"],
)
def test_the_call_makes_the_same_study(tmp_path, monkeypatch, options):
    made = searched(**options)
    monkeypatch.chdir(tmp_path)
    codes = codes_of(made.report(tmp_path / "report.html").read_text())
    (tmp_path / "start.yaml").write_text(codes["start.yaml"])
    found: dict = {}
    exec(codes["The search in Python"], found)
    again = found["study"]
    assert again.table().equals(made.table()) and again.settings == made.settings
    assert again.data.hash == made.data.hash


def test_a_loaded_study_says_the_same_as_the_one_that_was_made(tmp_path):
    made = searched(study_dir=tmp_path / "study")
    found = meden.load_study(tmp_path / "study")
    assert (found.settings, found.notes, found.versions) == (made.settings, made.notes, made.versions)
    assert found.versions["torch"] and found.notes["division"]["folds"] == 3
    pages = [one.report(tmp_path / f"{place}.html").read_text() for place, one in enumerate((made, found))]
    assert pages[0] == pages[1]
    assert f"Trained with </dt><dd>meden {found.versions['meden']}".replace(" </dt>", "</dt>") in pages[0]


def test_folds_that_were_given_are_taken_from_the_study(tmp_path):
    folds = meden.data.make_folds(meden.as_dataset("iris"), 2, seed=3)
    made = searched(folds=folds)
    assert "division" not in made.notes
    assert f"folds=meden.load_study({str(tmp_path)!r}).folds" in made.report(tmp_path / "r.html").read_text().replace(
        "&#39;", "'"
    )


def test_rows_that_came_from_memory_are_named_by_their_hash(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 3))
    made = meden.tune(
        meden.models.MLP, (x, x[:, 0] > 0), {"l2": meden.Choice(0.1)}, folds=2, budget=1, recipe=QUICK, baselines=False
    )
    text = study_report(made, tmp_path / "r.html").read_text()
    assert f"hash begins with {made.data.hash[:12]}" in text and f"<dd>{made.data.hash}</dd>" in text


def test_a_command_is_shown_as_it_was_given(tmp_path):
    made = dataclasses.replace(study(), notes={"command": f"meden tune {EVIL}"})
    page = study_report(made, tmp_path / "r.html").read_text()
    assert codes_of(page)["Command"] == f"meden tune {EVIL}" and "start.yaml" not in codes_of(page)


def test_a_limit_of_time_is_said_to_depend_on_the_machine(tmp_path):
    made = dataclasses.replace(study(), settings={"time_limit": 60.0})
    assert "time limit" in sections_of(study_report(made, tmp_path / "r.html").read_text())["Reproduce"]


def test_a_study_made_by_hand_has_no_call(tmp_path):
    found = codes_of(study_report(study(), tmp_path / "r.html").read_text())
    assert set(found) == {"recipe.yaml", "In Python"}
