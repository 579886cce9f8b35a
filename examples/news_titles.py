"""Short texts: a small transformer on few rows, trained plainly and with regularisation.

titles   Chinese news titles by their characters, 10 classes (10,000 rows train, 10,000 are tested)
sst2     English sentences from film reviews by their words, good or bad (6,920 rows train, 1,821 are tested)

Both ways train the same network on the same rows for the same number of epochs. The regularised one may stop before,
by rows that neither trains on: the development rows of sst2, a tenth of the training rows of the titles. The settings
were chosen on those rows; the tested rows chose nothing.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor

import meden
from meden.augment import LabelSmoothing, TokenDrop
from meden.data import Fold, Vocabulary, read_table
from meden.data.text import Unit
from meden.models import Transformer
from meden.penalties import L2

EXAMPLES = """examples:
  python examples/news_titles.py --data ../shared/data
  python examples/news_titles.py --data ../shared/data --task sst2 --seeds 5
  python examples/news_titles.py --data ../shared/data --epochs 2 --seeds 1   # a quick look
"""


class Settings(NamedTuple):
    """What differs from task to task."""

    folder: str
    unit: Unit
    depth: int
    dropout: float
    decay: float
    token_drop: float


SETTINGS = {
    "titles": Settings("thucnews_titles", "chinese", depth=1, dropout=0.3, decay=0.1, token_drop=0.2),
    "sst2": Settings("sst2", "word", depth=0, dropout=0.5, decay=1.0, token_drop=0.3),
}


class Texts(NamedTuple):
    """Tokens (n, T) and classes (n,) of all rows, what each row is for, and how many tokens are known."""

    x: Tensor
    y: Tensor
    fold: Fold
    num_tokens: int


def load(task: str, data: Path) -> Texts:
    """Read train.csv, test.csv and, if it is there, dev.csv; the vocabulary is that of the rows that train."""
    folder = data / SETTINGS[task].folder
    parts = [read_table(folder / f"{name}.csv", as_text=["text"]) for name in ("train", "test")]
    if (folder / "dev.csv").exists():
        parts.insert(1, read_table(folder / "dev.csv", as_text=["text"]))
    else:
        order = np.random.default_rng(0).permutation(len(parts[0]))
        parts[:1] = parts[0].iloc[order[len(order) // 10 :]], parts[0].iloc[order[: len(order) // 10]]
    vocabulary = Vocabulary.fit(parts[0]["text"], unit=SETTINGS[task].unit, length=40, min_count=2)
    rows = pd.concat(parts)
    y = torch.from_numpy(pd.factorize(rows["label"], sort=True)[0])
    ends = np.cumsum([len(part) for part in parts])
    fold = Fold(*np.split(np.arange(ends[-1]), ends[:-1]))
    return Texts(vocabulary.encode(rows["text"]), y, fold, vocabulary.num_tokens)


def members(task: str, texts: Texts, epochs: int, seeds: int) -> list[meden.Member]:
    """Return the trainings: all seeds of the plain way, then all of the regularised one."""
    plain = meden.Recipe(lr=2e-3, epochs=epochs, batch_size=64, eval_rows=1000)
    settings = SETTINGS[task]
    regularised = plain.replace(
        schedule="cosine",
        dropout=settings.dropout,
        regularizers=[meden.Regularizer(L2(settings.decay))],
        augment=[TokenDrop(settings.token_drop), LabelSmoothing(0.1)],
        averaging="ema",
        early_stopping=meden.EarlyStopping(patience=5),
    )
    network = {"num_tokens": texts.num_tokens, "width": 64, "depth": settings.depth}
    ways = itertools.product((plain, regularised), range(seeds))
    return [meden.Member(recipe, texts.fold, seed, network) for recipe, seed in ways]


def train(texts: Texts, trainings: Sequence[meden.Member]) -> np.ndarray:
    """Return the accuracy on the tested rows, (2, seeds)."""
    columns = TextColumn("epochs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        job = bar.add_task("", total=sum(member.recipe.epochs for member in trainings))
        runs = meden.fit_many(Transformer, trainings, (texts.x, texts.y), chunk=1, on_epoch=lambda *_: bar.advance(job))
    return np.reshape([run.held_out.scores.mean() for run in runs], (2, -1))


def mean_and_error(values: np.ndarray) -> str:
    """Return mean and standard error over seeds in percent; of a single value itself."""
    if values.size == 1:
        return f"{100 * values.item():.2f}"
    return f"{100 * values.mean():.2f} ± {100 * values.std(ddof=1) / np.sqrt(values.size):.2f}"


def table(accuracy: np.ndarray) -> Table:
    """Return test accuracy in percent, mean ± standard error over seeds; the difference is paired."""
    seeds = accuracy.shape[1]
    shown = Table(title=f"test accuracy, %: mean ± standard error over {seeds} seeds")
    for column in ("", *(f"seed {seed}" for seed in range(seeds)), "mean"):
        shown.add_column(column, justify="right" if column else "left")
    rows = {"plain": accuracy[0], "regularised": accuracy[1], "difference": accuracy[1] - accuracy[0]}
    for name, values in rows.items():
        shown.add_row(name, *(f"{100 * value:.2f}" for value in values), mean_and_error(values))
    return shown


def main(arguments: Sequence[str] | None = None) -> np.ndarray:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds thucnews_titles/ and sst2/")
    parser.add_argument("--task", choices=list(SETTINGS), default="titles", help="which texts (titles)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each way (3)")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the rows that train, at most (10)")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    texts = load(options.task, options.data)
    accuracy = train(texts, members(options.task, texts, options.epochs, options.seeds))
    console = Console()
    console.print(table(accuracy))
    console.print(f"{time.perf_counter() - started:.0f} s on {torch.get_num_threads()} cores")
    return accuracy


if __name__ == "__main__":
    main()
