"""Is the score of a mixture honest? Mixtures of simulated models, on labels of chance and on a weak signal.

    python benchmarks/ensemble_coverage.py                            both sizes
    python benchmarks/ensemble_coverage.py 100 --searches 400         one of them, more often
    python benchmarks/ensemble_coverage.py --candidates 10

Nothing is trained: 30 candidates answer each row, out of fold, by some part of what can be known of it, noise that all
share, and noise of their own, of which each has its own amount. So the same candidates answer 20,000 fresh rows, on
which the mixture (its weights, temperature and labels, chosen on the few rows) is truly worth what is measured there.
Folds are alike: that models of folds differ is what noise_coverage.py tells.

    chance     labels are flips of a fair coin, or normal numbers, of which candidates know nothing
    signal     log odds of standard deviation 1, or as much of a number's variance as 0.3; candidates know 0 to 1 of it

Bias is the score less the truth, in the mean, with its standard error; naive is that of the mixture on the rows that
have chosen it.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from typing import NamedTuple

import numpy as np

from meden.noise import derive
from meden.study.ensemble_score import Mixing, ensemble_score
from meden.study.metrics import MetricName, Truth
from meden.study.selection import Score

NUM_FRESH, NUM_FOLDS = 20_000, 5
SIGNALS = {"chance": 0.0, "signal": 1.0}
CASES: tuple[tuple[MetricName, MetricName], ...] = (
    ("loss", "accuracy"),
    ("loss", "loss"),
    ("balanced_accuracy", "balanced_accuracy"),
    ("r2", "r2"),
)
"""What the mixture is for, and what is told."""
SEARCHES = {100: 100, 1000: 20}
"""Of each number of rows."""


class World:
    """Candidates that know some of a signal."""

    def __init__(self, random: np.random.Generator, num_candidates: int, signal: float) -> None:
        self.signal = signal
        self.known = random.uniform(0, 1, num_candidates)[:, None]
        self.noise = random.uniform(0.2, 1.0, num_candidates)[:, None]

    def told(self, random: np.random.Generator, hidden: np.ndarray) -> np.ndarray:
        """Return what candidates say, (M, n), of what can be known, (n,)."""
        shared, own = random.normal(size=len(hidden)), random.normal(size=(len(self.known), len(hidden)))
        return self.known * hidden + 0.3 * shared + self.noise * own

    def classes(self, random: np.random.Generator, num_rows: int) -> tuple[np.ndarray, Truth]:
        """Draw rows of two classes: probabilities (M, n, 2), and what is true."""
        hidden = self.signal * random.normal(size=num_rows)
        labels = (random.random(num_rows) < 1 / (1 + np.exp(-hidden))).astype(np.int64)
        second = 1 / (1 + np.exp(-self.told(random, hidden)))
        return np.stack([1 - second, second], axis=-1), Truth(labels, 2)

    def numbers(self, random: np.random.Generator, num_rows: int) -> tuple[np.ndarray, Truth]:
        """Draw rows of a number of variance 1: what is said of it, (M, n), and what is true."""
        part = np.sqrt(0.3) * self.signal
        hidden = part * random.normal(size=num_rows)
        numbers = hidden + np.sqrt(1 - part**2) * random.normal(size=num_rows)
        return 0.5 * self.told(random, 2 * hidden), Truth(numbers, variance=float(numbers.var()))


class Result(NamedTuple):
    """What one search told, and what is true."""

    score: Score
    truth: float


def one_search(seed: int, num_rows: int, num_candidates: int, signal: float, case: int) -> Result:
    """Choose a mixture, and return its score and what it is worth on fresh rows."""
    metric, shown = CASES[case]
    random = np.random.default_rng(derive(seed, "ensemble", case))
    world = World(random, num_candidates, signal)
    draw = world.numbers if metric == "r2" else world.classes
    (outputs, truth), (fresh, fresh_truth) = draw(random, num_rows), draw(random, NUM_FRESH)
    folds = random.permutation(np.arange(num_rows) % NUM_FOLDS)
    score = ensemble_score(outputs, truth, metric, folds=folds, shown=shown, seed=seed)
    worth = Mixing.of(outputs, truth, metric, folds).values(fresh, fresh_truth, shown).mean()
    return Result(score, float(worth))


def told_of(results: list[Result]) -> str:
    """Return the columns of a case."""
    truth = np.array([result.truth for result in results])
    names = ("naive", "estimate", "low", "high")
    naive, estimate, low, high = (np.array([getattr(result.score, name) for result in results]) for name in names)
    cells = [f"{truth.mean():.3f}"]
    for bias in (naive - truth, estimate - truth):
        cells.append(f"{bias.mean():+.4f} ± {bias.std(ddof=1) / np.sqrt(len(bias)):.4f}")
    cells += [f"{np.mean((low <= truth) & (truth <= high)):.0%}", f"{np.mean(high - low):.3f}"]
    return " | ".join(cells)


def main() -> None:
    """Search and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, default=list(SEARCHES), help="of a search")
    parser.add_argument("--searches", type=int, help="of each kind")
    parser.add_argument("--candidates", type=int, default=30)
    arguments = parser.parse_args()
    started = time.process_time()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}")
    print("| rows | labels | told | searches | truth | bias of naive | bias of the score | covers | width |")
    print("|" + "---|" * 9)
    for num_rows in arguments.rows:
        searches = arguments.searches or SEARCHES.get(num_rows, 20)
        for name, signal in SIGNALS.items():
            for case, (_, shown) in enumerate(CASES):
                found = [one_search(seed, num_rows, arguments.candidates, signal, case) for seed in range(searches)]
                print(f"| {num_rows} | {name} | {shown} | {searches} | {told_of(found)} |", flush=True)
    print(f"{time.process_time() - started:.0f} s of one core")


if __name__ == "__main__":
    main()
