"""From how many configurations on are shares of importance worth showing? Studies whose true shares are known.

The loss is a sum of a bowl, a slope and a step, of 0.7, 0.2 and 0.1 of its variance, and further names that do
nothing; five folds add noise to each configuration of its own, given in standard deviations of the sum. True shares
are those of ranks, from 200,000 points. Ranks do not see how the losses are scaled, nor whether their tail is long.

    python benchmarks/importance.py [studies a line, 24]
"""

from __future__ import annotations

import math
import sys

import numpy as np
from scipy.stats import rankdata

from meden.study.importance import PREDICTED, explained_shares, predicted_share

WEIGHTS = 0.7, 0.2, 0.1
NUM_FOLDS = 5
LINES = [
    (d, m, noise)
    for d, sizes in ((4, (8, 16, 24, 32, 64)), (9, (24, 64)))
    for m in sizes
    for noise in (0.5, 1.0, math.inf)
]


def losses(x: np.ndarray) -> np.ndarray:
    """Return the noiseless losses of places (m, D), of variance 1."""
    bowl, slope, step = (x[:, 0] - 0.6) ** 2, x[:, 1], x[:, 2] < 0.5
    parts = (bowl / 0.0943, slope / math.sqrt(1 / 12), step / 0.5)
    return sum(math.sqrt(weight) * part for weight, part in zip(WEIGHTS, parts, strict=True))


def true_shares(num_names: int) -> np.ndarray:
    """Return the variance of the mean rank at each place, over that of all ranks."""
    x = np.random.default_rng(0).random((200_000, 3))
    ranks, bins = rankdata(losses(x)), (x * 100).astype(int)
    means = [np.bincount(column, ranks) / np.bincount(column) for column in bins.T]
    return np.array([*(mean.var() / ranks.var() for mean in means), *[0.0] * (num_names - 3)])


def main() -> None:
    num_studies = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    print(
        "names, configurations, noise of a fold | shares | largest error | right first | predicted: 5, 50, 95 % | shown"
    )
    for d, m, noise in LINES:
        truth, found, predicted = true_shares(d), [], []
        for study in range(num_studies):
            random = np.random.default_rng([d, m, study])
            x, noises = random.random((m, d)), random.normal(size=(m, NUM_FOLDS)).mean(axis=1)
            y = noises if math.isinf(noise) else losses(x) + noise * noises
            found.append(explained_shares(x, y, 0))
            predicted.append(predicted_share(x, y, 0))
        shares, low = np.array(found), np.quantile(predicted, [0.05, 0.5, 0.95]).round(2)
        error, first = np.abs(shares - truth).max(axis=1).mean(), np.mean(shares.argmax(axis=1) == 0)
        shown = np.mean(np.array(predicted) >= PREDICTED)
        print(
            d,
            m,
            noise,
            "|",
            shares.mean(axis=0).round(2)[:4],
            f"| {error:.2f} | {first:.2f} |",
            low,
            f"| {shown:.2f}",
            flush=True,
        )
    print("true shares", true_shares(4).round(2))


if __name__ == "__main__":
    main()
