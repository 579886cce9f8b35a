"""Is the corrected score honest? Searches on labels that nothing can predict.

    python benchmarks/noise_coverage.py                        20 searches of 200 configurations, 5 folds
    python benchmarks/noise_coverage.py --strategy tpe         proposals that learn from the scores
    python benchmarks/noise_coverage.py --racing               losers are given up early

Each search has 100 rows of 10 normal numbers and two classes drawn at random. Its choice is trained on all rows and
scored on 5,000 fresh rows: that is the truth (for accuracy it is 0.5, whatever was chosen). The naive number is the
mean over the folds of the choice; the corrected one is ``study.score_of``, with its 90 % interval.
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
from meden.objective import evaluate
from meden.study import Score, Study

NUM_ROWS, NUM_FRESH, NUM_INPUTS = 100, 5000, 10
SPACE = {
    "lr": meden.LogUniform(3e-3, 1e-1),
    "l2": meden.LogUniform(1e-3, 1.0),
    "dropout": meden.Uniform(0.0, 0.6),
    "width": meden.Choice(8, 16),
}
RECIPE = meden.Recipe(epochs=6, batch_size=32, early_stopping=meden.EarlyStopping(patience=3))
CASES = (
    ("loss", "best", "loss"),
    ("loss", "one_se", "loss"),
    ("loss", "best", "accuracy"),
    ("accuracy", "best", "accuracy"),
)
"""What decides, which choice, and the metric that is told."""


class Result(NamedTuple):
    """One search."""

    score: Score
    truth: float


def one_search(seed: int, options: dict[str, Any]) -> list[Result]:
    """Search pure noise, and return a result for each case."""
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(NUM_ROWS, NUM_INPUTS)).astype(np.float32), random.integers(2, size=NUM_ROWS)
    study = meden.tune(meden.models.MLP, (x, y), SPACE, recipe=RECIPE, seed=seed, **options)
    fresh_x = torch.from_numpy(random.normal(size=(NUM_FRESH, NUM_INPUTS)).astype(np.float32))
    fresh_y = torch.from_numpy(random.integers(2, size=NUM_FRESH))
    return [_result(study, fresh_x, fresh_y, *case) for case in CASES]


def _result(study: Study, x: torch.Tensor, y: torch.Tensor, decides: str, which: str, told: str) -> Result:
    study = dataclasses.replace(study, chosen_by=decides)
    score = study.score_of(told, which)
    truth = 0.5 if told == "accuracy" else evaluate(study.refit(which).model, [(x, y)], "classification")["loss"]
    return Result(score, truth)


def main() -> None:
    """Search and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--configurations", type=int, default=200)
    parser.add_argument("--strategy", default="random")
    parser.add_argument("--racing", action="store_true")
    arguments = parser.parse_args()
    options = {"budget": arguments.configurations, "strategy": arguments.strategy, "racing": arguments.racing}
    started = time.perf_counter()
    found = [one_search(seed, options) for seed in range(arguments.repeats)]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}; "
        f"{arguments.repeats} searches of {arguments.configurations} configurations in 5 folds, {arguments.strategy}"
        f"{' and a race' * arguments.racing}, "
        f"{time.perf_counter() - started:.0f} s"
    )
    print(f"{'decides':10}{'choice':8}{'told':10}{'naive':>8}{'corrected':>11}{'truth':>8}{'width':>8}{'covered':>9}")
    for case, results in zip(CASES, zip(*found, strict=True), strict=True):
        scores, truths = [result.score for result in results], [result.truth for result in results]
        means = [np.mean([getattr(score, name) for score in scores]) for name in ("naive", "estimate")]
        width = np.mean([score.high - score.low for score in scores])
        covered = np.mean([score.low <= truth <= score.high for score, truth in zip(scores, truths, strict=True)])
        print(
            f"{case[0]:10}{case[1]:8}{case[2]:10}{means[0]:8.4f}{means[1]:11.4f}{np.mean(truths):8.4f}"
            f"{width:8.4f}{covered:9.0%}"
        )


if __name__ == "__main__":
    main()
