"""Is the corrected score honest? Searches by real training, on labels of chance and on labels that can be learnt.

    python benchmarks/noise_coverage.py                        every setting
    python benchmarks/noise_coverage.py noise-100 signal-100   some of them
    python benchmarks/noise_coverage.py --strategy tpe         proposals that learn from the scores

Rows are 10 normal numbers and two classes: half of each by chance (noise), or with log odds of 1.5 times the sum of
the first two and the product of the third and fourth (signal). There are three truths of a choice, all measured on
5,000 rows that nothing else has seen:

    own     the mean over the models of the search's own folds: what the naive number is the flattered estimate of
    fresh   the mean over 10 trainings on as many fresh rows as in a fold: ``own`` without the luck of the search's rows
            and seeds, which draws of rows cannot know
    refit   the one model trained on all rows of the search, which has more of them and one luck of its own

A gain is the loss of a fixed plain configuration, trained alike, less that of the choice. Bias is estimate less truth,
with the standard error of its mean over searches.

How the estimator was chosen is in known_truth.py, which needs no training.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import time
from typing import Any, NamedTuple

import numpy as np
import torch

import meden
from meden.data import Dataset, Fold, as_dataset
from meden.noise import derive
from meden.objective import evaluate
from meden.study import Score, Study
from meden.study.selection import corrected_score

NUM_FRESH, NUM_SETS, NUM_FOLDS, STOP = 5000, 10, 5, 0.15
SPACE = {
    "lr": meden.LogUniform(3e-3, 1e-1),
    "l2": meden.LogUniform(1e-3, 1.0),
    "dropout": meden.Uniform(0.0, 0.6),
    "width": meden.Choice(8, 16),
}
RECIPE = meden.Recipe(epochs=8, batch_size=32, early_stopping=meden.EarlyStopping(patience=3))
PLAIN = {"lr": 1e-2, "l2": 0.0, "dropout": 0.0, "width": 16}


class Setting(NamedTuple):
    """Searches of one kind."""

    signal: bool
    num_rows: int
    racing: bool
    num_searches: int
    num_configurations: int


SETTINGS = {
    "noise-100": Setting(False, 100, False, 20, 32),
    "noise-100-race": Setting(False, 100, True, 20, 32),
    "signal-100": Setting(True, 100, False, 20, 32),
    "signal-100-race": Setting(True, 100, True, 20, 32),
    "signal-1000": Setting(True, 1000, False, 12, 32),
    "signal-1000-race": Setting(True, 1000, True, 12, 32),
}
CASES = (
    ("loss", "best", "loss"),
    ("loss", "one_se", "loss"),
    ("accuracy", "best", "accuracy"),
    ("accuracy", "one_se", "accuracy"),
    ("loss", "best", "gain"),
    ("loss", "one_se", "gain"),
)
"""What decides, which choice, and what is told."""


class Result(NamedTuple):
    """What one search told, and what is true."""

    score: Score
    own: float
    fresh: float
    refit: float


class Worth(NamedTuple):
    """Of a configuration, on rows that nothing else has seen."""

    loss: float
    accuracy: float


def rows_of(random: np.random.Generator, num: int, signal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows and classes."""
    x = random.normal(size=(num, 10)).astype(np.float32)
    if not signal:  # of unequal halves a stratified fold would know which is the larger, and fresh rows would not
        return x, random.permutation(np.arange(num) % 2)
    odds = 1.5 * (x[:, 0] + x[:, 1] + x[:, 2] * x[:, 3])
    return x, (random.random(num) < 1 / (1 + np.exp(-odds))).astype(np.int64)


class Truth:
    """What configurations are worth on rows that a search has not seen."""

    def __init__(self, random: np.random.Generator, setting: Setting, x: np.ndarray, y: np.ndarray, seed: int) -> None:
        size = setting.num_rows * (NUM_FOLDS - 1) // NUM_FOLDS
        parts = [rows_of(random, num, setting.signal) for num in [size] * NUM_SETS + [NUM_FRESH]]
        self.rows, self.labels = (np.concatenate(part) for part in zip((x, y), *parts, strict=True))
        self.data, self.seed, self.known = as_dataset((self.rows, self.labels)), seed, dict[str, list[Worth]]()
        self.scored = np.arange(len(self.rows))[-NUM_FRESH:]
        num_stop, starts = round(STOP * size), len(x) + size * np.arange(NUM_SETS)
        sets = [np.arange(start, start + size) for start in starts]
        self.fresh = [Fold(rows[num_stop:], rows[:num_stop], self.scored) for rows in sets]

    def of(self, params: dict[str, Any], study: Study) -> list[Worth]:
        """Return the means over the models of the search's own folds, and over fresh ones."""
        key = repr(params)
        if key not in self.known:
            own = [Fold(fold.fit, fold.stop, self.scored) for fold in study.folds]
            seeds = [of_folds(self.seed)] * NUM_FOLDS + [derive(self.seed, "fresh", k) for k in range(NUM_SETS)]
            losses, right = held_out(params, self.data, [*own, *self.fresh], seeds)
            parts = slice(None, NUM_FOLDS), slice(NUM_FOLDS, None)
            self.known[key] = [Worth(float(np.mean(losses[part])), float(np.mean(right[part]))) for part in parts]
        return self.known[key]

    def of_model(self, study: Study, which: str) -> Worth:
        """Return that of the model trained on all rows of the search."""
        fresh = torch.from_numpy(self.rows[self.scored]), torch.from_numpy(self.labels[self.scored])
        found = evaluate(study.refit(which).model, [fresh], "classification")
        return Worth(found["loss"], found["accuracy"])


def of_folds(seed: int) -> int:
    """Return the seed that a search trains by in each of its folds."""
    return derive(seed, "seed", 0)


def held_out(params: dict[str, Any], data: Dataset, folds: list[Fold], seeds: list[int]) -> tuple[list[Any], list[Any]]:
    """Train a configuration in each fold as a search does; return losses and right answers, fold by fold."""
    recipe, model_args = meden.space.configure(RECIPE, params)
    members = [meden.Member(recipe, fold, seed, model_args) for fold, seed in zip(folds, seeds, strict=True)]
    runs = [run.held_out for run in meden.fit_many(meden.models.MLP, members, data)]
    return [np.asarray(run.losses, np.float64) for run in runs], [np.asarray(run.scores, np.float64) for run in runs]


def one_search(seed: int, setting: Setting, strategy: str) -> list[Result]:
    """Search, and return a result for each case."""
    random = np.random.default_rng(seed)
    x, y = rows_of(random, setting.num_rows, setting.signal)
    data = as_dataset((x, y))
    limits = {"budget": setting.num_configurations, "strategy": strategy, "racing": setting.racing}
    study = meden.tune(meden.models.MLP, data, SPACE, recipe=RECIPE, seed=seed, folds=NUM_FOLDS, **limits)
    truth = Truth(random, setting, x, y, seed)
    plain = np.concatenate(held_out(PLAIN, data, list(study.folds), [of_folds(seed)] * NUM_FOLDS)[0])
    return [_result(study, plain, truth, *case) for case in CASES]


def _result(study: Study, of_plain: np.ndarray, truth: Truth, decides: str, which: str, told: str) -> Result:
    study = dataclasses.replace(study, chosen_by=decides)
    trial = getattr(study, which)
    worths = [*truth.of(trial.params, study), truth.of_model(study, which)]
    if told != "gain":
        return Result(study.score_of(told, which), *(getattr(worth, told) for worth in worths))
    losses = study.values("loss")
    gains = of_plain - losses
    place = study.trials.index(trial)
    numbers = np.repeat(np.arange(len(study.folds)), [len(part.score) for part in study.folds])
    score = corrected_score(
        losses,
        naive=float(np.mean([gains[place, numbers == number].mean() for number in range(len(study.folds))])),
        values=gains,
        folds=numbers,
        simplicity=None if which == "best" else [other.simplicity for other in study.trials],
        metric="gain",
    )
    own, fresh = truth.of(PLAIN, study)
    plains = (own, fresh, fresh)  # none is trained on all rows
    return Result(score, *(plain.loss - worth.loss for plain, worth in zip(plains, worths, strict=True)))


def told_of(results: list[Result]) -> str:
    """Return the columns of a case."""
    scores = [result.score for result in results]
    truths = [np.array([getattr(result, name) for result in results]) for name in ("own", "fresh", "refit")]
    names = ("naive", "estimate", "low", "high")
    naive, estimate, low, high = (np.array([getattr(score, name) for score in scores]) for name in names)
    cells = [f"{part.mean():.3f}" for part in (naive, estimate, *truths)]
    for bias in (naive - truths[0], *(estimate - truth for truth in truths)):
        cells.append(f"{bias.mean():+.4f} ± {bias.std(ddof=1) / np.sqrt(len(bias)):.4f}")
    cells.append(" / ".join(f"{np.mean((low <= truth) & (truth <= high)):.0%}" for truth in truths))
    return " | ".join(cells)


def main() -> None:
    """Search and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", help=", ".join(SETTINGS))
    parser.add_argument("--strategy", default="random")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(
        "| setting | decides / choice / told | naive | corrected | own | fresh | refit | bias of naive to own ", end=""
    )
    print("| bias to own | to fresh | to refit | covers own / fresh / refit |")
    print("|" + "---|" * 12)
    for name in arguments.settings or SETTINGS:
        setting, started = SETTINGS[name], time.perf_counter()
        found = [one_search(seed, setting, arguments.strategy) for seed in range(setting.num_searches)]
        for case, results in zip(CASES, zip(*found, strict=True), strict=True):
            print(f"| {name} | {' / '.join(case)} | {told_of(list(results))} |", flush=True)
        print(f"{name}: {setting.num_searches} searches of {setting.num_configurations} configurations, ", end="")
        print(f"{time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
