"""Models that become smaller: a group penalty makes whole units zero, and what is zero is cut out.

    python examples/smaller_model.py mlp mnist.npz            784-300-100-10 on MNIST, minutes on one core
    python examples/smaller_model.py conv mnist.npz           a small residual network
    python examples/smaller_model.py text input.txt           the feed-forward units of a small decoder
    python examples/smaller_model.py mlp mnist.npz --strengths 1e-4 3e-4 --seeds 0 1 2       the curve

Each model is trained without a penalty, and with one on whole units, filters or inputs (`groups_of` finds which rows,
biases, norms and columns belong to each). `meden.compact` cuts out what is zero and proves that the output stays; the
smaller models of images are then trained for a few epochs more without the penalty, which had also shrunk what it kept.
Printed are the score on the test rows, parameters, products of one row, and milliseconds of a batch, medians of calls
in turns.

MNIST as one file: arrays x_train, y_train, x_test, y_test. The text:
https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import meden
from meden.data import TextFile
from meden.models import Decoder
from meden.penalties import GroupLasso
from meden.training.scoring import score_model


@dataclass(frozen=True)
class Task:
    """What is made smaller, on which data."""

    make_model: Callable[[], nn.Module]
    train: Any
    test: Any
    example: Tensor
    recipe: meden.Recipe
    refit: meden.Recipe | None
    """How the smaller model is trained on; None leaves it as it is."""
    penalties: Callable[[float], list[meden.Regularizer]]
    """Of a strength."""
    unit: str
    """Of the score of the test rows: % for accuracy, nats for the loss."""
    ramp: meden.StrengthSchedule | None = None
    """How the strength sets in; None is whole from the first step on."""

    def score(self, model: nn.Module) -> float:
        """Return the accuracy in percent, or the loss in nats, of the test rows."""
        if self.unit == "nats":
            return float(score_model(model, self.test, "classification", 0).losses.mean(dtype=np.float64))
        x, y = self.test
        with torch.no_grad():
            hits = [(model.eval()(x[n : n + 1000]).argmax(1) == y[n : n + 1000]).sum() for n in range(0, len(x), 1000)]
        return 100 * float(sum(hits)) / len(x)


class Block(nn.Module):
    """Two convolutions with batch norm beside the identity."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(width, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.second, self.second_norm = nn.Conv2d(inner, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        hidden = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(x + self.second_norm(self.second(hidden)))


def mlp(path: Path) -> Task:
    """Return the perceptron that pruning papers use."""
    train, test = images(path, flat=True)
    recipe = meden.Recipe(
        optimizer="sgd", momentum=0.9, lr=0.05, epochs=30, batch_size=128, schedule={"kind": "cosine"}
    )

    def make_model() -> nn.Module:
        return nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))

    def penalties(strength: float) -> list[meden.Regularizer]:
        return [meden.Regularizer(GroupLasso(strength), groups=kind) for kind in ("units", "inputs")]

    refit = recipe.replace(epochs=15)
    return Task(make_model, train, test, train[0][:256], recipe, refit, penalties, "%")


def conv(path: Path, rows: int = 20_000) -> Task:
    """Return a residual network, whose filters are tied by its sums."""
    train, test = images(path, flat=False)
    train = train[0][:rows], train[1][:rows]
    recipe = meden.Recipe(optimizer="sgd", momentum=0.9, lr=0.05, epochs=6, batch_size=128, schedule={"kind": "cosine"})

    def make_model() -> nn.Module:
        stem = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        down = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
        return nn.Sequential(*stem, Block(16, 32), *down, Block(32, 64), Block(32, 64), *head)

    def penalties(strength: float) -> list[meden.Regularizer]:
        return [meden.Regularizer(GroupLasso(strength), groups="filters")]

    refit = recipe.replace(epochs=3, lr=0.02)
    return Task(make_model, train, test, train[0][:64], recipe, refit, penalties, "%")


def text(path: Path) -> Task:
    """Return a decoder, whose feed-forward units may leave: each a row and a column.

    The strength sets in late: a layer that starts at zero, as those do that read the units, gives them nothing to hold
    on to in the first steps.
    """
    train = TextFile(path, 64, stop=0.9, shifts=True)
    test = TextFile(path, 64, start=0.9, vocabulary=train.vocabulary)
    num_tokens = train.vocabulary.num_tokens
    recipe = meden.Recipe(
        lr=8e-3,
        betas=(0.9, 0.95),
        batch_size=12,
        epochs=3,
        steps_per_epoch=750,
        schedule={"kind": "linear", "warmup_epochs": 0.1},
        clip_norm=1.0,
    )

    def make_model() -> nn.Module:
        return Decoder(64, num_tokens, width=96, depth=3, num_heads=2, hidden=384)

    example = torch.zeros(16, 64, dtype=torch.int64)
    units = meden.groups_of(make_model(), example[:2], "units", outgoing=True)

    def penalties(strength: float) -> list[meden.Regularizer]:
        return [meden.Regularizer(GroupLasso(strength), groups=units)]

    ramp = meden.StrengthSchedule(start=300, end=1200)
    return Task(make_model, train, test, example, recipe, None, penalties, "nats", ramp)


def images(path: Path, *, flat: bool) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return training and test images in [0, 1] with their digits."""
    arrays = np.load(path)

    def part(name: str) -> tuple[Tensor, Tensor]:
        x = torch.from_numpy(arrays[f"x_{name}"]).float() / 255
        return x.flatten(1) if flat else x.unsqueeze(1), torch.from_numpy(arrays[f"y_{name}"]).long()

    return part("train"), part("test")


@torch.no_grad()
def milliseconds(models: Sequence[nn.Module], example: Tensor, times: int = 30) -> list[float]:
    """Return the median time of a batch for each model, called in turns."""
    taken: list[list[float]] = [[] for _ in models]
    for _ in range(times):
        for model, own in zip(models, taken, strict=True):
            start = time.perf_counter()
            model.eval()(example)
            own.append(time.perf_counter() - start)
    return [1000 * statistics.median(own[times // 5 :]) for own in taken]


def experiment(task: Task, strength: float, seed: int, plain: meden.Run) -> dict[str, float]:
    """Train with the penalty, cut, train on; print and return what came of it beside a model without a penalty."""
    torch.manual_seed(seed)
    penalties = [dataclasses.replace(penalty, schedule=task.ramp) for penalty in task.penalties(strength)]
    recipe = task.recipe.replace(regularizers=[*task.recipe.regularizers, *penalties])
    run = meden.fit(task.make_model(), task.train, recipe=recipe, seed=seed)
    small = meden.compact(run.model, task.example[:2])
    cut = task.score(small.model)
    refit = copy.deepcopy(small.model)
    if task.refit is not None:
        refit = meden.fit(refit, task.train, recipe=task.refit, seed=seed + 1).model
    before, after = milliseconds([plain.model, refit], task.example)
    (was, now), products = small.plan.parameters, small.plan.products
    found = {
        "plain": task.score(plain.model),
        "sparse": task.score(run.model),
        "small": cut,
        "refit": task.score(refit),
        "parameters": was / now,
        "products": products[0] / products[1],
        "time": before / after,
    }
    print(
        f"strength {strength:g}, seed {seed}: {found['plain']:.3f} {task.unit} without, {found['sparse']:.3f} with the "
        f"penalty, {found['small']:.3f} once smaller, {found['refit']:.3f} trained on; parameters {was:,} -> {now:,} "
        f"({found['parameters']:.1f} x), products {found['products']:.1f} x, {before:.2f} -> {after:.2f} ms a batch "
        f"({found['time']:.1f} x)",
        flush=True,
    )
    return found


TASKS: dict[str, Callable[[Path], Task]] = {"mlp": mlp, "conv": conv, "text": text}
STRENGTHS = {"mlp": 1.05e-4, "conv": 1e-3, "text": 3e-5}


def main(name: str, path: Path, strengths: Sequence[float] | None = None, seeds: Sequence[int] = (0,)) -> None:
    """Run the experiments of one task."""
    task = TASKS[name](path)
    for seed in seeds:
        torch.manual_seed(seed)
        whole = task.recipe.replace(epochs=task.recipe.epochs + (task.refit.epochs if task.refit else 0))
        plain = meden.fit(task.make_model(), task.train, recipe=whole, seed=seed)
        for strength in strengths or [STRENGTHS[name]]:
            experiment(task, strength, seed, plain)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("path", type=Path)
    parser.add_argument("--strengths", type=float, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = parser.parse_args()
    main(given.task, given.path, given.strengths, given.seeds)
