"""Cross-validating a network: meden's population against what people use, side by side in one run.

    python benchmarks/population.py                    all workloads
    python benchmarks/population.py W1 --repeats 3     one of them

W1  digits, 64-64-10 with dropout 0.5, Adam, batch 32, 30 epochs, 10 strengths x 5 folds
W2  5,000 MNIST digits, 784-128-10, Adam, batch 64, 10 epochs, 10 strengths x 5 folds
W3  2,000 MNIST digits, 784-1024-1024-2048-10, Adam, batch 128, 2 epochs, 2 strengths x 3 folds
W5  on a GPU: 20,000 made rows, 100-256-256-256-10, Adam, batch 256, 5 epochs, 16 strengths x 4 folds

All contenders get the same folds, strengths, epochs and batch size, and two processes (ours: two threads). The
strength is L2 on the weights, decoupled for ours and the plain loop (AdamW), coupled for skorch and scikit-learn, whose
optimizer has no other. Contenders take turns; medians are printed. MNIST is looked for under MEDEN_DATA.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.datasets import load_digits, make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from torch import nn

import meden
from meden.data import Fold, make_folds
from meden.penalties import L2
from meden.speed import matmul_rate

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))
JOBS = 2
Result = tuple[float, float]
"""Seconds, mean accuracy over folds and strengths."""


@dataclass(frozen=True)
class Work:
    """One workload."""

    name: str
    x: np.ndarray
    y: np.ndarray
    sizes: tuple[int, ...]
    dropout: float
    batch_size: int
    epochs: int
    strengths: np.ndarray
    num_folds: int
    device: str = "cpu"

    @property
    def folds(self) -> list[Fold]:
        """The folds that all contenders share."""
        return make_folds(meden.as_dataset((self.x, self.y)), self.num_folds, seed=0, stop_fraction=0)

    @property
    def gflop(self) -> float:
        """Arithmetic of training: six operations per weight and row."""
        per_row = 6 * sum(a * b for a, b in pairwise(self.sizes))
        rows = sum(len(fold.fit) for fold in self.folds)
        return per_row * rows * self.epochs * len(self.strengths) / 1e9


def network(sizes: tuple[int, ...], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes[:-1]):
        layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def ours(work: Work) -> Result:
    recipes = [
        meden.Recipe(
            optimizer="adam",
            lr=1e-3,
            batch_size=work.batch_size,
            epochs=work.epochs,
            eval_rows=128,
            regularizers=[meden.Regularizer(L2(float(strength)))],
        )
        for strength in work.strengths
    ]
    folds = work.folds
    members = [meden.Member(recipe, fold) for recipe in recipes for fold in folds]
    started = time.perf_counter()
    runs = meden.fit_many(lambda: network(work.sizes, work.dropout).to(work.device), members, (work.x, work.y))
    return time.perf_counter() - started, float(np.mean([run.held_out.scores.mean() for run in runs]))


def fit_plainly(work: Work, fold: Fold, strength: float) -> float:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = (torch.from_numpy(part[fold.fit]).to(work.device) for part in (work.x, work.y))
    model = network(work.sizes, work.dropout).to(work.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=strength)
    loss_of = nn.CrossEntropyLoss()
    for _ in range(work.epochs):
        for rows in torch.randperm(len(y), device=work.device).split(work.batch_size):
            optimizer.zero_grad()
            loss_of(model(x[rows]), y[rows]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        held_out = torch.from_numpy(work.x[fold.score]).to(work.device)
        return float((model(held_out).argmax(1).cpu().numpy() == work.y[fold.score]).mean())


def plain(work: Work) -> Result:
    started = time.perf_counter()
    folds = work.folds
    jobs = (delayed(fit_plainly)(work, fold, s) for s in work.strengths for fold in folds)
    scores = Parallel(n_jobs=JOBS if work.device == "cpu" else 1)(jobs)
    return time.perf_counter() - started, float(np.mean(scores))


def skorch(work: Work) -> Result:
    net = NeuralNetClassifier(
        network,
        module__sizes=work.sizes,
        module__dropout=work.dropout,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=work.batch_size,
        max_epochs=work.epochs,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    return _grid(work, net, "optimizer__weight_decay")


def scikit(work: Work) -> Result:
    net = MLPClassifier(
        work.sizes[1:-1],
        batch_size=work.batch_size,
        max_iter=work.epochs,
        learning_rate_init=1e-3,
        n_iter_no_change=10**6,
    )
    return _grid(work, net, "alpha")


def _grid(work: Work, estimator: object, name: str) -> Result:
    cv = [(fold.fit, fold.score) for fold in work.folds]
    search = GridSearchCV(estimator, {name: work.strengths.tolist()}, cv=cv, n_jobs=JOBS, refit=False)
    started = time.perf_counter()
    search.fit(work.x, work.y)
    return time.perf_counter() - started, float(np.mean(search.cv_results_["mean_test_score"]))


def workloads() -> dict[str, tuple[Work, dict[str, Callable[[Work], Result]]]]:
    x, y = load_digits(return_X_y=True)
    strengths = np.logspace(-6, -1, 10)
    digits = (x / 16).astype(np.float32), y.astype(np.int64)
    everyone = {"meden": ours, "plain loop, joblib": plain, "scikit-learn, no dropout": scikit, "skorch": skorch}
    found = {"W1": (Work("W1", *digits, (64, 64, 10), 0.5, 32, 30, strengths, 5), everyone)}
    if (path := DATA / "mnist" / "mnist.npz").exists():
        with np.load(path) as mnist:
            images = mnist["x_train"][:5000].reshape(5000, -1).astype(np.float32) / 255
            labels = mnist["y_train"][:5000].astype(np.int64)
        two = {"meden": ours, "plain loop, joblib": plain}
        found["W2"] = Work("W2", images, labels, (784, 128, 10), 0.5, 64, 10, strengths, 5), two
        large = (784, 1024, 1024, 2048, 10)
        found["W3"] = Work("W3", images[:2000], labels[:2000], large, 0.5, 128, 2, strengths[:2], 3), two
    if torch.cuda.is_available():
        many = make_classification(20_000, 100, n_informative=40, n_classes=10, random_state=0)
        made = many[0].astype(np.float32), many[1].astype(np.int64)
        sizes, strengths = (100, 256, 256, 256, 10), np.logspace(-6, -1, 16)
        found["W5"] = Work("W5", *made, sizes, 0.5, 256, 5, strengths, 4, "cuda"), {"meden": ours, "plain loop": plain}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="*", help="W1, W2, W3, W5; all unless given")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], help="contenders to leave out")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
    card = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    print(f"{card}{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    for name, (work, contenders) in workloads().items():
        if arguments.work and name not in arguments.work:
            continue
        contenders = {who: run for who, run in contenders.items() if who not in arguments.without}
        rate = matmul_rate(work.device) / 1e9
        results: dict[str, list[Result]] = {who: [] for who in contenders}
        for _ in range(arguments.repeats):
            for who, run in contenders.items():
                results[who].append(run(work))
        print(
            f"\n{name}: {work.gflop:.0f} GFLOP, floor {work.gflop / rate:.2f} s at {rate:.0f} GFLOP/s, "
            f"medians of {arguments.repeats}"
        )
        print(f"{'':26}{'seconds':>9}{'meden is':>12}{'GFLOP/s':>9}{'share':>7}{'accuracy':>10}")
        base = statistics.median(seconds for seconds, _ in results["meden"])
        for who, runs in results.items():
            seconds = statistics.median(s for s, _ in runs)
            accuracy = statistics.median(a for _, a in runs)
            speed = work.gflop / seconds
            print(f"{who:26}{seconds:9.2f}{seconds / base:10.1f} x{speed:9.1f}{speed / rate:7.1%}{accuracy:10.4f}")


if __name__ == "__main__":
    main()
