"""Handwritten digits: a small network as it comes, stopped early, and regularised by random maps of the plane.

The 784-128-10 network (or a small convolutional one) is trained on MNIST in three ways, from the same starting
weights with the same rows in the same order: plain; stopped early, at a constant rate; and as the plain one, but each
image turned, resized and moved a little whenever it is seen. 5,000 of the 60,000 training rows are held out to stop
early; the test rows decide nothing and are scored once.

Run: python examples/digit_images.py --data DIR     where DIR/mnist/mnist.npz holds x_train, y_train, x_test, y_test
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from torch import nn

import meden
from meden.augment import Affine
from meden.data import Fold, read_images

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))
NUM_HELD_OUT = 5000
EPOCHS = {"mlp": 40, "conv": 8}
USUAL = {"optimizer": "adamw", "batch_size": 128, "eval_rows": 5000}
FALLING = {"lr": 3e-3, "schedule": "cosine"}


def load(folder: Path, num_rows: int | None) -> tuple[tuple[np.ndarray, np.ndarray], Fold]:
    """Return images and labels, training rows first, and which of them fit, stop and score."""
    path = folder / "mnist" / "mnist.npz"
    x = np.concatenate([read_images(path, key) for key in ("x_train", "x_test")])
    with np.load(path) as arrays:
        y, num_train = np.concatenate([arrays["y_train"], arrays["y_test"]]), len(arrays["y_train"])
    rows = np.random.default_rng(0).permutation(num_train)[:num_rows]
    num_stop = min(NUM_HELD_OUT, len(rows) // 5)
    return (x, y), Fold(fit=rows[num_stop:], stop=rows[:num_stop], score=np.arange(num_train, len(y)))


def recipes(epochs: int) -> dict[str, meden.Recipe]:
    maps = Affine(degrees=10.0, translate=0.07, scale=0.1)
    return {
        "plain": meden.Recipe(epochs=epochs, **USUAL, **FALLING),
        "stopped early": meden.Recipe(epochs=epochs, **USUAL, early_stopping=meden.EarlyStopping(patience=5)),
        "regularised": meden.Recipe(epochs=epochs, **USUAL, **FALLING, augment=[maps]),
    }


def make_model(net: str) -> nn.Module:
    if net == "mlp":
        return meden.models.MLP(784, 10, width=128, depth=1)
    return meden.models.ConvNet(10, width=8)


def train(net: str, ways: dict[str, meden.Recipe], seeds: int, data: object, fold: Fold) -> list[meden.Run]:
    """Return the runs: all seeds of the first way, then of the next."""
    members = [meden.Member(way, fold, seed, {"net": net}) for way in ways.values() for seed in range(seeds)]
    columns = TextColumn("epochs"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=sum(member.recipe.epochs for member in members))
        return meden.fit_many(make_model, members, data, on_epoch=lambda *_: bar.advance(task))


def errors(run: meden.Run) -> tuple[float, float]:
    """Return the errors in % on the test rows and on the fitting rows, both in evaluation mode."""
    fitted = next(record for record in run.history if record.epoch == run.best_epoch)
    return 100 * (1 - float(run.held_out.scores.mean())), 100 * (1 - fitted.train["accuracy"])


def mean_and_error(values: Sequence[float]) -> str:
    """Return mean ± standard error of the mean (of one value, the value)."""
    spread = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{spread}"


def show(net: str, ways: dict[str, meden.Recipe], runs: list[meden.Run], seeds: int) -> None:
    table = Table(title=f"{net}: error in %, mean ± standard error of {seeds} seeds")
    for column in ("", "test", "train", "gap", "difference", "epochs", "seconds"):
        table.add_column(column, justify="left" if column == "" else "right", no_wrap=True)
    plain = [errors(run)[0] for run in runs[:seeds]]
    for number, way in enumerate(ways):
        own = runs[number * seeds : (number + 1) * seeds]
        test, fitted = np.array([errors(run) for run in own]).T
        told = [mean_and_error(part) for part in (test, fitted, test - fitted)]
        against = mean_and_error(test - plain) if number else ""
        seconds = np.mean([run.history[-1].seconds for run in own])
        table.add_row(way, *told, against, f"{np.mean([len(run.history) for run in own]):.0f}", f"{seconds:.0f}")
    Console(width=120).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help=f"folder with mnist/mnist.npz ({DATA})")
    parser.add_argument("--net", choices=sorted(EPOCHS), default="mlp")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each way (3)")
    parser.add_argument("--epochs", type=int, help=f"passes over the training rows ({EPOCHS})")
    parser.add_argument("--rows", type=int, help="use so many training rows only")
    options = parser.parse_args(arguments)
    if not (options.data / "mnist" / "mnist.npz").is_file():
        parser.error(f"--data must name a folder with mnist/mnist.npz, got {options.data}")
    data, fold = load(options.data, options.rows)
    ways = recipes(options.epochs or EPOCHS[options.net])
    runs = train(options.net, ways, options.seeds, data, fold)
    show(options.net, ways, runs, options.seeds)


if __name__ == "__main__":
    main()
