"""Spoken digits: one convolutional network on log-mel spectrograms, trained plainly and with regularisation.

The Free Spoken Digit Dataset has 3,000 recordings at 8 kHz: 6 speakers, 10 digits, 50 each. Two questions:

official    recordings 0 to 4 of each speaker and digit are tested (300), the others train (2,700)
speakers    each speaker in turn is tested, the other five train: does masking help with a voice never heard?

Settings were chosen on recordings 5 to 9 of the official split, with 0 to 4 not used at all (--split validation is that
test). Those of the second question were set beforehand; no speaker's score chose any.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor

import meden
from meden.augment import Augmentation, FrequencyMask, TimeMask, TimeShift
from meden.data import ChannelScaler, Fold, LogMel, read_wavs
from meden.models import ConvNet
from meden.optim import Averaging
from meden.penalties import L2

EXAMPLES = """examples:
  python examples/spoken_digits.py --data ../shared/data
  python examples/spoken_digits.py --data ../shared/data --split speakers --seeds 3
  python examples/spoken_digits.py --data ../shared/data --epochs 2 --seeds 1   # a quick look
"""
NETWORK = {"width": 16, "depth": 4}
EPOCHS = {"official": 30, "validation": 30, "speakers": 10}
MASKS: list[Augmentation] = [TimeMask(0.15, num_masks=2), FrequencyMask(0.15, num_masks=2)]


class Digits(NamedTuple):
    """Spectrograms (n, 1, M, T), digits (n,), speakers (n,) and the numbers of their recordings (n,)."""

    x: Tensor
    y: Tensor
    speaker: np.ndarray
    number: np.ndarray

    def of_number(self, low: int, high: int) -> np.ndarray:
        """Return the rows whose recording has a number in [low, high)."""
        return np.flatnonzero((self.number >= low) & (self.number < high))


def load(data: Path) -> Digits:
    """Read fsdd/fsdd_wavs.tar, or a folder fsdd of wav files named {digit}_{speaker}_{number}.wav."""
    archive = data / "fsdd" / "fsdd_wavs.tar"
    recordings = read_wavs(archive if archive.exists() else data / "fsdd")
    digit, speaker, number = zip(*(Path(name).stem.split("_") for name in recordings.names), strict=True)
    spectrograms = LogMel(rate=recordings.rate, num_frames=32, hop=recordings.rate // 40, num_mels=24)
    y = torch.tensor([int(d) for d in digit])
    return Digits(spectrograms.encode(recordings.waveforms), y, np.array(speaker), np.array(number, dtype=int))


def recipes(split: str, epochs: int) -> dict[str, meden.Recipe]:
    """Return the two ways to train that are compared."""
    plain = meden.Recipe(lr=3e-3, epochs=epochs, batch_size=32, schedule="one_cycle", eval_rows=300)
    decay = [meden.Regularizer(L2(1e-2))]
    regularised = plain.replace(regularizers=decay, dropout=0.2, averaging=Averaging(decay=0.99))
    moved = [TimeShift(0.1)]
    if split == "speakers":  # all else is equal
        return {
            "without masks": regularised.replace(augment=moved),
            "with masks": regularised.replace(augment=moved + MASKS),
        }
    return {"plain": plain, "regularised": regularised.replace(augment=moved + MASKS)}


def folds(split: str, digits: Digits) -> dict[str, Fold]:
    """Return what trains and what is tested, by the name of the test; no rows decide when to stop."""
    nothing = np.array([], dtype=int)
    if split == "speakers":
        rows = {name: digits.speaker == name for name in np.unique(digits.speaker)}
        return {name: Fold(np.flatnonzero(~own), nothing, np.flatnonzero(own)) for name, own in rows.items()}
    if split == "validation":
        return {"recordings 5-9": Fold(digits.of_number(10, 50), nothing, digits.of_number(5, 10))}
    return {"recordings 0-4": Fold(digits.of_number(5, 50), nothing, digits.of_number(0, 5))}


def train(digits: Digits, ways: Sequence[meden.Recipe], tests: Sequence[Fold], seeds: int) -> np.ndarray:
    """Return the accuracy of each way, test and seed, (ways, tests, seeds)."""
    columns = TextColumn("epochs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    total = seeds * len(tests) * sum(recipe.epochs for recipe in ways)
    accuracy = np.empty((len(tests), len(ways), seeds))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        job = bar.add_task("", total=total)
        for place, fold in enumerate(tests):
            x = ChannelScaler.fit(digits.x[fold.fit]).encode(digits.x)  # by the rows that train, and no others
            members = [meden.Member(r, fold, s, NETWORK) for r, s in itertools.product(ways, range(seeds))]
            runs = meden.fit_many(ConvNet, members, (x, digits.y), chunk=1, on_epoch=lambda *_: bar.advance(job))
            accuracy[place] = np.reshape([run.held_out.scores.mean() for run in runs], (len(ways), seeds))
    return accuracy.transpose(1, 0, 2)


def mean_and_error(values: np.ndarray) -> str:
    """Return mean and standard error of independent values in percent; of a single value itself."""
    if values.size == 1:
        return f"{100 * values.item():.2f}"
    return f"{100 * values.mean():.2f} ± {100 * values.std(ddof=1) / np.sqrt(values.size):.2f}"


def table(names: Sequence[str], tests: Sequence[str], accuracy: np.ndarray) -> Table:
    """Return test accuracy in percent, mean ± standard error over seeds; the last column is paired.

    For several tests two more rows: over the tests, each the mean of its seeds, and over all trainings of a way.
    """
    seeds = accuracy.shape[2]
    shown = Table(title=f"test accuracy, %: mean ± standard error over {seeds} seeds")
    for column in ("tested", *names, "difference"):
        shown.add_column(column, justify="left" if column == "tested" else "right")
    rows = [*zip(tests, accuracy.transpose(1, 0, 2), strict=True)]
    for test, values in rows:
        shown.add_row(
            test, *map(mean_and_error, values), mean_and_error(values[1] - values[0]), end_section=test == tests[-1]
        )
    if len(tests) > 1:
        means, pairs = accuracy.mean(2), accuracy.reshape(2, -1)
        for name, values in {"mean of seeds": means, f"all {pairs.shape[1]} trainings": pairs}.items():
            shown.add_row(name, *map(mean_and_error, values), mean_and_error(values[1] - values[0]))
    return shown


def main(arguments: Sequence[str] | None = None) -> np.ndarray:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds fsdd/fsdd_wavs.tar")
    parser.add_argument("--split", choices=sorted(EPOCHS), default="official", help="what is tested (official)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each way (3)")
    parser.add_argument("--epochs", type=int, help="30; for speakers 10")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    digits = load(options.data)
    ways = recipes(options.split, options.epochs or EPOCHS[options.split])
    tests = folds(options.split, digits)
    accuracy = train(digits, list(ways.values()), list(tests.values()), options.seeds)
    console = Console()
    console.print(table(list(ways), list(tests), accuracy))
    console.print(f"{time.perf_counter() - started:.0f} s on {torch.get_num_threads()} cores")
    return accuracy


if __name__ == "__main__":
    main()
