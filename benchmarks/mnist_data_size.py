"""Figure 10 of the dropout paper: dropout against none as training images grow, and what `meden.tune` would choose.

    python benchmarks/mnist_data_size.py                                 6 sizes x 3 seeds
    python benchmarks/mnist_data_size.py --sizes 100 --seeds 1 --steps 20       a try
    python benchmarks/mnist_data_size.py --report                        the table of what is there

784-512-512-10, ReLU: smaller than the paper's, so that it takes hours and not days. For each size and seed so many of
the training images are drawn. `meden.tune` chooses by cross-validation inside them whether hidden units are dropped,
and how often; then each candidate trains on all of them, and the test images say what each is worth. The choice is one
of these models, so that its difference to the network without dropout has no noise but that of rows and seeds. Each
size and seed is a line of a file; several processes may work at one file at a time. MNIST is looked for under
MEDEN_DATA.

Reference: N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, Dropout: a simple way to prevent
neural networks from overfitting, 2014, figure 10.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import meden
from meden.data import make_folds, read_images

sys.path.insert(0, str(Path(__file__).parent))

from mnist_regularizers import Line, Lines, parser_of, told, work

SIZES = (100, 500, 1_000, 5_000, 10_000, 50_000)
DROPOUTS = (0.0, 0.25, 0.5)
NUM_TEST = 10_000
FOLDS = 5
FEW = 5_000
"""Up to so many rows all five folds are scored; of more rows two of the five, which leave less noise than that."""
EPOCHS = 15
"""At least, however many steps these are."""


def make_model() -> meden.models.MLP:
    """Return the network; its dropout is the recipe's."""
    return meden.models.MLP(784, 10, width=512, depth=2)


def recipe_for(size: int, steps: int) -> meden.Recipe:
    """Return how so many rows are trained on: ``steps`` or more, in batches of a tenth of few rows, of 100 of many."""
    batch_size = min(50 if size <= FEW else 100, max(1, size // 10))
    epochs = max(min(EPOCHS, steps), math.ceil(steps * batch_size / size))
    warmup = meden.Schedule(kind="linear", warmup_epochs=epochs / 20)
    rate = {"optimizer": "sgd", "lr": 0.02, "momentum": 0.95, "schedule": warmup}
    return meden.Recipe(**rate, batch_size=batch_size, epochs=epochs, eval_rows=100)


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels, those of the test last."""
    path = folder / "mnist" / "mnist.npz"
    with np.load(path) as arrays:
        y = np.concatenate([arrays["y_train"], arrays["y_test"]])
    return np.concatenate([read_images(path, part) for part in ("x_train", "x_test")]), y


def train(key: Line, data: tuple[np.ndarray, np.ndarray], study_dir: Path) -> Line:
    """Return the line of one size and seed: what is chosen, and the test error in % of each candidate."""
    (x, y), size, seed = data, key["size"], key["seed"]
    num_train = len(y) - NUM_TEST
    rows = np.random.default_rng([seed, size]).permutation(num_train)[:size]
    recipe, started = recipe_for(size, key["steps"]), time.process_time()
    own = x[rows], y[rows]
    folds = make_folds(meden.as_dataset(own), FOLDS, seed=seed, stop_fraction=0)[: FOLDS if size <= FEW else 2]
    study = meden.tune(
        make_model,
        own,
        {"dropout": meden.Choice(*DROPOUTS)},
        folds=folds,
        strategy="grid",
        budget=len(DROPOUTS),
        metric="accuracy",
        baselines=False,
        recipe=recipe,
        study_dir=study_dir,
        seed=seed,
    )
    members = [meden.Member(recipe.replace(dropout=p), seed=seed) for p in DROPOUTS]  # one is what study.refit() gives
    runs = meden.fit_many(make_model, members, own)
    errors = [100 * float((run.predict(x[num_train:]).values != y[num_train:]).mean()) for run in runs]
    chosen = {"chosen": study.choice.params["dropout"], "best": study.best.params["dropout"]}
    return key | chosen | {"errors": errors, "cpu_seconds": round(time.process_time() - started, 1)}


def cell(values: Sequence[float]) -> str:
    """Return mean ± standard error; of one value, the value."""
    return f"{np.mean(values):.2f}" + (
        f" ± {np.std(values, ddof=1) / math.sqrt(len(values)):.2f}" if len(values) > 1 else ""
    )


def table(given: argparse.Namespace, lines: Lines) -> list[str]:
    """Return the table of what is there; differences are paired by seed."""
    head = ["images", "seeds", *(f"p = {p:g}" for p in DROPOUTS), "chosen", "chosen: error", "chosen less none"]
    rows = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for size in given.sizes:
        found = [line for line in lines.find({"size": size, "steps": given.steps}) if line["seed"] < given.seeds]
        if not found:
            rows.append(f"| {size:,} | 0 of {given.seeds} |")
            continue
        errors = np.asarray([line["errors"] for line in found])
        picks = [line["chosen"] for line in found]
        chosen = errors[np.arange(len(found)), [DROPOUTS.index(pick) for pick in picks]]
        apart = chosen - errors[:, 0]
        bound = np.std(apart, ddof=1) / math.sqrt(len(apart)) if len(apart) > 1 else 0.0
        worse = " (worse)" if apart.mean() > bound else ""
        cells = [
            f"{size:,}",
            f"{len(found)} of {given.seeds}",
            *(cell(column) for column in errors.T),
            ", ".join(f"{pick:g}" for pick in picks),
            cell(chosen),
            cell(apart) + worse,
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main(arguments: Sequence[str] | None = None) -> list[str]:
    parser = parser_of(__doc__, "mnist_data_size.jsonl")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1_500, help="optimizer steps of each training, at least")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    lines = Lines(given.out)
    keys = [{"size": n, "steps": given.steps, "seed": seed} for seed in range(given.seeds) for n in given.sizes]
    if not given.report:
        data = read(given.data)
        work(keys, lines, lambda key, path: train(key, data, path.with_suffix(".study")))
    return told(table(given, lines), lines, keys)


if __name__ == "__main__":
    main()
