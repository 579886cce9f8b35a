"""How far is the corrected score from the truth? Thousands of searches whose truth is known, without training.

    python benchmarks/known_truth.py                 every world
    python benchmarks/known_truth.py 100 1000-race   some of them

A search is a matrix of row losses of 40 configurations in 5 folds. A configuration's latent number of a row is its own
level, how hard the row is for all, what it has in common with its neighbours there (a direction of its own in 6
dimensions) and a rest; the loss is exp(half of it), the row is right where it is below 0.5. So the worth of each
configuration is known. Levels are equal (nothing to choose), or 0.3 times exponential numbers: many good ones and a
tail of bad ones. Gains are those over a configuration of the mean level that is never chosen.

In a race, configurations leave by the rules of meden.search.racing, by losses of a sixth of each fold's training rows,
which are the scored rows of other folds; losses of the same rows at four rungs grow less noisy. In groups, rows of
five are as hard, and alike. With fold levels, all configurations are better in some folds than in others, as different
training rows make them.

Bias is estimate less truth with the standard error of its mean; "sd" is how far apart estimates and truth lie,
"width" that of the interval in standard deviations of a normal one; "sign" is how often the correction makes the choice
look better. Used to choose the estimator (docs/log.md).
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from meden.search.racing import rounds, survivors
from meden.study.selection import Score, best, corrected_score, one_standard_error

Array = NDArray[np.float64]
NUM_CONFIGURATIONS, NUM_FOLDS, NUM_DIMENSIONS, REST, CUT = 40, 5, 6, 0.3, 0.5
CASES = [(rule, told) for rule in ("best", "one_se") for told in ("loss", "accuracy", "gain")]


class World(NamedTuple):
    """What searches are like."""

    num_rows: int
    spread: float = 0.3
    racing: bool = False
    group_size: int = 1
    fold_level: float = 0.0

    @property
    def num_searches(self) -> int:
        """As many as a few minutes allow."""
        return 600 if self.num_rows <= 200 else 250


WORLDS = {
    f"{num}{name}": World(num, **options)
    for num in (100, 1000)
    for name, options in {
        "": {},
        "-race": {"racing": True},
        "-equal": {"spread": 0.0},
        "-equal-race": {"spread": 0.0, "racing": True},
        "-levels": {"fold_level": 2 / np.sqrt(num)},
    }.items()
} | {"200-groups": World(200, group_size=5)}


class Search(NamedTuple):
    """Losses (M, n) and right answers (M, n) of those that stayed in the race, and what all of them are worth, (M,).

    The last row is the plain one.
    """

    losses: Array
    right: Array
    folds: NDArray[np.int64]
    loss: Array
    accuracy: Array


def search(world: World, random: np.random.Generator) -> Search:
    """Make up a search."""
    num, num_groups = NUM_CONFIGURATIONS + 1, world.num_rows // world.group_size
    levels = world.spread * random.exponential(size=num)
    levels[-1] = world.spread
    directions = random.normal(size=(num, NUM_DIMENSIONS))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    common = random.normal(size=num_groups) + directions @ random.normal(size=(NUM_DIMENSIONS, num_groups))
    common = levels[:, None] + np.repeat(common, world.group_size, axis=1)
    folds = np.repeat(np.arange(NUM_FOLDS), world.num_rows // NUM_FOLDS)
    of_folds = world.fold_level * random.normal(size=NUM_FOLDS)
    latent = common + of_folds[folds] + REST * random.normal(size=common.shape)
    stay = np.arange(NUM_CONFIGURATIONS)
    if world.racing:
        stay = race(common[:-1] - levels[:-1, None], levels[:-1], folds, random)
    kept = [*stay, num - 1]
    variance = 2 + REST**2 + world.fold_level**2
    worth = np.exp(levels / 2 + variance / 8), norm.cdf((CUT - levels) / np.sqrt(variance))
    return Search(np.exp(latent[kept] / 2), (latent[kept] < CUT) * 1.0, folds, worth[0][kept], worth[1][kept])


def race(common: Array, levels: Array, folds: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Return the configurations that stay: judged at rungs in the first folds, at the end, and in all folds."""
    losses = np.empty((len(levels), NUM_FOLDS))
    for fold in range(NUM_FOLDS):
        others = np.flatnonzero(folds != fold)
        rows = random.choice(others, len(others) // 6, replace=False)
        latent = levels[:, None] + common[:, rows] + REST * random.normal(size=(len(levels), len(rows)))
        losses[:, fold] = np.exp(latent / 2).mean(axis=1)
    stay = np.arange(len(levels))
    first, _ = rounds(NUM_FOLDS)
    for noise in (0.2, 0.1, 0.05, 0.0):
        judged = losses[stay][:, first] + noise * random.normal(size=(len(stay), len(first)))
        stay = stay[survivors(judged)]
    return stay[survivors(losses[stay])]


def told_of(found: Search, rule: str, told: str, world: World, seed: int) -> tuple[Score, float]:
    """Return the corrected score of a search's choice, and the truth."""
    losses, right = found.losses[:-1], found.right[:-1]
    values, worth = {
        "loss": (losses, found.loss),
        "accuracy": (right, found.accuracy),
        "gain": (found.losses[-1] - losses, found.loss[-1] - found.loss),
    }[told]
    decides = 1 - right if told == "accuracy" else losses
    simplicity = None if rule == "best" else list(np.random.default_rng(seed).random(len(losses)))
    means = np.stack(np.split(decides, NUM_FOLDS, axis=1)).mean(axis=2).T
    choice = best(means) if simplicity is None else one_standard_error(means, simplicity)
    score = corrected_score(
        decides,
        naive=float(values[choice].mean()),
        values=values,
        folds=found.folds,
        simplicity=simplicity,
        units=None if world.group_size == 1 else np.arange(world.num_rows) // world.group_size,
        num_draws=200,
        seed=seed,
    )
    return score, float(worth[choice])


def row_of(name: str, rule: str, told: str, results: list[tuple[Score, float]]) -> str:
    """Return a row of the table."""
    naive, estimate, low, high, truth = np.array([[s.naive, s.estimate, s.low, s.high, t] for s, t in results]).T
    better = estimate < naive if told == "loss" else estimate > naive
    cells = [name, f"{rule} / {told}", f"{truth.mean():.3f}"]
    cells += [f"{b.mean():+.4f} ± {b.std() / np.sqrt(len(b)):.4f}" for b in (naive - truth, estimate - truth)]
    cells += [f"{(estimate - truth).std():.4f}", f"{(high - low).mean() / 3.29:.4f}"]
    cells += [f"{np.mean((low <= truth) & (truth <= high)):.1%}", f"{better.mean():.0%}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("worlds", nargs="*", default=list(WORLDS), help=", ".join(WORLDS))
    parser.add_argument("--searches", type=int, help="of each world")
    arguments = parser.parse_args()
    print("| world | choice / told | truth | bias of naive | bias | sd | width | covered | sign |")
    print("|" + "---|" * 9)
    started = time.perf_counter()
    for name in arguments.worlds:
        world, random = WORLDS[name], np.random.default_rng(list(WORLDS).index(name))
        made = [search(world, random) for _ in range(arguments.searches or world.num_searches)]
        for rule, told in CASES:
            results = [told_of(found, rule, told, world, seed) for seed, found in enumerate(made)]
            print(row_of(name, rule, told, results), flush=True)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
