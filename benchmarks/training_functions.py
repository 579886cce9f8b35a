"""meden.tune of training functions: what it costs beside them, and whether it is honest.

    python benchmarks/training_functions.py overhead | race | coverage

overhead: a job that takes a second, called by itself and by the engine, interleaved; medians.
race: epochs with a race and without, and the loss of the choice, of a loop written by hand on tables of scikit-learn.
coverage: random labels, where every honest answer is chance: how often the interval of the corrected accuracy holds it.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from torch import nn
from torch.nn.functional import cross_entropy

import meden

SPACE = {
    "lr": meden.LogUniform(1e-4, 3e-2),
    "weight_decay": meden.LogUniform(1e-5, 1.0),
    "dropout": meden.Uniform(0.0, 0.7),
    "width": meden.Choice(16, 64),
}


class Loop:
    """A training function as people write it: AdamW, mini-batches, the best state kept."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = torch.as_tensor(x).float(), torch.as_tensor(y)

    def __call__(self, job: meden.Job) -> torch.Tensor:
        """Train one job."""
        x, y, params = job.watch(self.x), job.watch(self.y), job.params
        mean, std = x[job.fit].mean(0), x[job.fit].std(0) + 1e-6
        num_classes = int(self.y.max()) + 1
        model = nn.Sequential(
            nn.Linear(self.x.shape[1], params["width"]),
            nn.ReLU(),
            nn.Dropout(params["dropout"]),
            nn.Linear(params["width"], num_classes),
        )
        job.keep_best(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=params["lr"], weight_decay=params["weight_decay"])
        for epoch in range(1, job.epochs + 1):
            model.train()
            for part in torch.randperm(len(job.fit)).split(64):
                rows = job.fit[part.numpy()]
                optimizer.zero_grad()
                cross_entropy(model((x[rows] - mean) / std), y[rows]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                stop_loss = cross_entropy(model((x[job.stop] - mean) / std), y[job.stop])
            if job.report(epoch, stop_loss):
                break
        model.eval()
        with job.scoring():
            return model((x[job.score] - mean) / std)


def overhead(repeats: int = 15) -> None:
    """Time a job of a second by itself and in the engine."""

    def train(job: meden.Job) -> np.ndarray:
        end = time.perf_counter() + 1.0
        for epoch in range(1, 51):
            while time.perf_counter() < end - 1.0 + epoch / 50:  # a job that computes all the time
                pass
            job.report(epoch, 1.0 / epoch)
        return np.ones(len(job.score))

    alone, engine = [], []
    space = {"lr": meden.Uniform(0, 1)}
    options = {"rows": 1000, "space": space, "folds": 5, "strategy": "random", "recipe": meden.Recipe(epochs=50)}
    for _ in range(repeats):
        job = meden.Job(params={}, fit=range(600), stop=range(600, 800), score=range(800, 1000), epochs=50)
        start = time.perf_counter()
        train(job)
        alone.append(time.perf_counter() - start)
        start = time.perf_counter()
        meden.tune(train, budget=1, **options)
        engine.append((time.perf_counter() - start) / 5)
    ratio = statistics.median(engine) / statistics.median(alone)
    print(
        f"alone {statistics.median(alone):.4f} s, in the engine {statistics.median(engine):.4f} s a job: {ratio:.4f} x"
    )


def race(budget: int = 32, epochs: int = 60) -> None:
    """Compare searches with and without a race."""
    print("table          early stopping  epochs  configurations to the end  held-out loss: race, all (1 SE)")
    for load in (load_iris, load_wine, load_breast_cancer, load_digits):
        x, y = load(return_X_y=True)
        for stopping in (None, meden.EarlyStopping(patience=10)):
            recipe = meden.Recipe(epochs=epochs, early_stopping=stopping)
            options = {"rows": y, "space": SPACE, "folds": 5, "budget": budget, "strategy": "random", "recipe": recipe}
            raced, whole = (meden.tune(Loop(x, y), racing=racing, **options) for racing in (True, False))
            spent, full = (sum(r.num_epochs for t in s.trials for r in t.rows) for s in (raced, whole))
            kept = sum(trial.status == "ok" for trial in raced.trials)
            losses = f"{raced.best.loss:.4f}, {whole.best.loss:.4f} ({whole.best.loss_error:.4f})"
            print(
                f"{load.__name__[5:]:14} {stopping is not None!s:15} {spent / full:.2f}    {kept:26} {losses}",
                flush=True,
            )


def coverage(studies: int = 10, num: int = 200) -> None:
    """Search on random labels."""
    held, scores = 0, []
    for seed in range(studies):
        random = np.random.default_rng(seed)
        x, y = random.normal(size=(num, 8)), random.integers(0, 2, num)
        options = {"folds": 5, "budget": 16, "strategy": "random", "recipe": meden.Recipe(epochs=15), "seed": seed}
        study = meden.tune(Loop(x, y), rows=y, space=SPACE, **options)
        score = study.score_of("accuracy")
        held += score.low <= 0.5 <= score.high
        scores.append(score.estimate)
        best = study.mean_of("accuracy", study.best)
        print(
            f"{seed}: accuracy {score.estimate:.3f} ({score.low:.3f} to {score.high:.3f}), best of folds {best:.3f}",
            flush=True,
        )
    print(f"chance lies in {held} of {studies} intervals; mean of the estimates {statistics.fmean(scores):.3f}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    {"overhead": overhead, "race": race, "coverage": coverage}[sys.argv[1] if len(sys.argv) > 1 else "overhead"]()
