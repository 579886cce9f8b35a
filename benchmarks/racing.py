"""W6, choosing among 64 configurations: a race against training all of them to the end.

    python benchmarks/racing.py                      all tables
    python benchmarks/racing.py vehicle digits       some of them

Both are given the same rows, folds, seeds and configurations; a quarter of the rows is kept aside. The configuration
with the lowest held-out loss is trained on the rows of the search and scored on those kept aside. "Same" means that
the two scores differ by no more than one standard error of their difference, row by row. The two searches take turns
in who goes first, after a small one that imports what they need. Baselines, which would cost both the same, are left
out. Tables are looked for under MEDEN_DATA.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

import meden
from meden.data import Dataset, Fold, holdout
from meden.models import MLP
from meden.study import Study

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))
TABLES = ("digits", "vehicle", "credit_g", "phoneme")
SPACE = {
    "lr": meden.LogUniform(5e-4, 2e-2),
    "l1": meden.LogUniform(1e-6, 1e-2),
    "l2": meden.LogUniform(1e-5, 0.3),
    "dropout": meden.Uniform(0.0, 0.6),
    "width": meden.Choice(32, 64),
}
RECIPE = meden.Recipe(epochs=100, batch_size=64, early_stopping=meden.EarlyStopping(patience=10))


class Found(NamedTuple):
    """What one search gave."""

    study: Study
    seconds: float
    losses: np.ndarray
    """Of the rows kept aside."""
    accuracy: float

    @property
    def num_epochs(self) -> int:
        """Of all trainings together."""
        return sum(row.num_epochs for trial in self.study.trials for row in trial.rows)

    @property
    def num_left(self) -> int:
        """Configurations that were not dropped."""
        return sum(trial.status == "ok" for trial in self.study.trials)


def read(name: str) -> Dataset:
    if name == "digits":
        return meden.as_dataset("digits")
    path = DATA / name / f"{name}.csv"
    return meden.as_dataset(path, target=pd.read_csv(path, nrows=0).columns[-1])


def search(data: Dataset, rows: np.ndarray, kept_aside: np.ndarray, *, racing: bool) -> Found:
    started = time.perf_counter()
    options = {"folds": 5, "budget": 64, "strategy": "random", "recipe": RECIPE, "baselines": False}
    study = meden.tune(MLP, data.take(rows), SPACE, racing=racing, **options)
    seconds = time.perf_counter() - started
    recipe, model_args = study.final("best")
    fold = Fold(fit=rows, stop=rows[:0], score=kept_aside)
    held_out = meden.fit_many(MLP, [meden.Member(recipe, fold, 0, model_args)], data)[0].held_out
    return Found(study, seconds, held_out.losses.astype(np.float64), float(held_out.scores.mean()))


def line(name: str, first_races: bool) -> str:
    data = read(name)
    rows, kept_aside = holdout(data, 0.25, seed=0)
    found = {racing: search(data, rows, kept_aside, racing=racing) for racing in (first_races, not first_races)}
    race, whole = found[True], found[False]
    differences = race.losses - whole.losses
    error = float(differences.std(ddof=1) / math.sqrt(len(differences)))
    cells = (
        name,
        f"{whole.losses.mean():.4f}",
        f"{race.losses.mean():.4f}",
        f"{differences.mean():+.4f} ± {error:.4f}",
        "yes" if differences.mean() <= error else "no",
        f"{100 * whole.accuracy:.1f}",
        f"{100 * race.accuracy:.1f}",
        str(whole.num_epochs),
        str(race.num_epochs),
        f"{race.num_epochs / whole.num_epochs:.2f}",
        f"{whole.seconds:.0f}",
        f"{race.seconds:.0f}",
        f"{race.seconds / whole.seconds:.2f}",
        f"{race.num_left}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], help="default: all")
    names = parser.parse_args().tables or TABLES
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| table | loss, all | race | difference | same | accuracy, all | race | epochs, all | race | ratio", end="")
    print(" | seconds, all | race | ratio | left |\n|" + " --- |" * 14)
    warm_up = meden.Recipe(epochs=8, early_stopping=RECIPE.early_stopping)
    meden.tune(MLP, "iris", SPACE, folds=3, budget=8, recipe=warm_up, racing=True, baselines=False)
    for number, name in enumerate(names):
        print(line(name, first_races=number % 2 == 0), flush=True)


if __name__ == "__main__":
    main()
