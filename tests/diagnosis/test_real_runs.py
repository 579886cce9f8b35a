"""Real tables: nothing above "info" on trainings that are sound, and what is wrong on those that are not."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import meden
from meden import EarlyStopping, Member, Recipe
from meden.data import Dataset, as_dataset, make_folds
from meden.models import MLP
from meden.training.fit_many import fit_many

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[3] / "shared" / "data"))
SOUND = Recipe(lr=1e-3, epochs=40, dropout=0.3, schedule="cosine", early_stopping=EarlyStopping(patience=10))
FOUND = {  # name: what is worth knowing of it
    "digits": {"gap_left"},
    "wine": set(),
    "breast_cancer": set(),
    "credit_g/credit_g.csv": {"gap_left"},
    "phoneme/phoneme.csv": set(),
}


def read(name: str) -> Dataset:
    if "/" not in name:
        return as_dataset(name)
    if not (DATA / name).is_file():
        pytest.skip(f"{name} is not at hand (MEDEN_DATA)")
    return as_dataset(DATA / name, target="class")


def found(data: Dataset, recipe: Recipe) -> meden.Diagnosis:
    fold = make_folds(data, 5, seed=0)[0]
    return meden.diagnose(fit_many(MLP, [Member(recipe, fold)], data)[0])


@pytest.mark.parametrize("name", FOUND)
def test_a_sound_training_raises_no_alarm(name):
    told = found(read(name), SOUND)
    print(f"{name}: {told}")
    assert {one.code for one in told.findings} == FOUND[name]
    assert all(one.severity == "info" for one in told.findings)


def codes(told: meden.Diagnosis) -> set[str]:
    return {one.code for one in told.findings}


def test_credit_learnt_by_heart_is_overfit_and_too_sure():
    assert {"overfit", "kept_too_late", "miscalibrated"} <= codes(
        found(read("credit_g/credit_g.csv"), Recipe(epochs=80))
    )


def test_random_labels_are_overfit_and_by_early_stopping_nothing_is_learnt():
    read("credit_g/credit_g.csv")
    frame = pd.read_csv(DATA / "credit_g" / "credit_g.csv")
    data = as_dataset(frame.assign(**{"class": np.random.default_rng(0).permutation(frame["class"])}), target="class")
    assert {"overfit", "kept_too_late"} <= codes(found(data, Recipe(epochs=40)))
    assert "overfit" not in codes(found(data, SOUND))


def patience(num: int) -> dict[str, EarlyStopping]:
    return {"early_stopping": EarlyStopping(patience=num)}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"lr": 1e-5}, "rate_too_low"),
        ({"optimizer": "sgd", "lr": 1.0, "momentum": 0.9}, "rate_too_high"),
        (
            {
                "optimizer": "sgd",
                "lr": 0.01,
                "early_stopping": EarlyStopping(patience=1, min_delta=0.02),
                "epochs": 100,
            },
            "stopped_too_early",
        ),
        ({"early_stopping": EarlyStopping(patience=60), "lr": 3e-3, "epochs": 80}, "stopped_late"),
    ],
)
def test_what_is_wrong_with_a_training_on_digits_is_named(change, code):
    recipe = SOUND.replace(**{"dropout": None, "schedule": "constant", **change})
    assert code in codes(found(as_dataset("digits"), recipe))
