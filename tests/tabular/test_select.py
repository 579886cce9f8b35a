"""Planted columns are found, noise is said to be noise, and a column leaves as a whole."""

import numpy as np
import pandas as pd
import pytest

import meden
from meden import InputError
from meden.data import Dataset, as_dataset
from meden.penalties import L2
from meden.report import Format
from meden.search import CV
from meden.tabular.select import kept_by_fold, select_inputs
from meden.tabular.selection import InputSelection
from meden.tabular.selection_page import selection_report
from meden.training.fit_many import _Work

QUICK = meden.Recipe(optimizer="adam", lr=0.03, epochs=40, batch_size=64)


def planted(num_rows: int = 240, *, says: bool = True) -> Dataset:
    """Two columns that matter, a number and strings of four levels, some cells missing; and four that do not."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({f"noise {i}": random.normal(size=num_rows) for i in range(3)})
    frame["age"] = random.normal(40, 10, size=num_rows)
    frame["pet"] = random.choice(["ant", "cat", "dog", "emu"], size=num_rows)
    frame["colour"] = random.choice(["red", "blue"], size=num_rows)
    frame["y"] = random.normal(size=num_rows) * 0.3
    if says:
        frame["y"] += (frame["age"] - 40) / 10 + frame["pet"].map({"ant": -1.5, "cat": 1.5, "dog": 0.7, "emu": -0.7})
    frame.loc[::10, "age"], frame.loc[5::12, "pet"] = np.nan, None
    return as_dataset(frame, target="y")


@pytest.fixture(scope="module")
def quick() -> pytest.MonkeyPatch:
    """The network that is trained on what is kept needs no 128 epochs here."""
    from meden.tabular import defaults, setup

    usual = defaults.DEFAULTS["tabular"]
    short = {**defaults.DEFAULTS, "tabular": dataclasses.replace(usual, recipe=usual.recipe.replace(epochs=25))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "DEFAULTS", short)
        yield patch


@pytest.fixture(scope="module")
def found(quick: pytest.MonkeyPatch) -> InputSelection:
    return select_inputs(planted(), model="linear", num=8, recipe=QUICK, cv=CV(folds=3, seeds=2), rate=0.3)
