"""W7, which inputs matter: a path of group penalties against LassoNet, the lasso and boosted trees.

    python benchmarks/input_selection.py                        all
    python benchmarks/input_selection.py mice_protein linear    some of them

mice_protein (77 proteins, 8 classes; a mouse's 15 rows stay in one fold) and 10,000 MNIST digits: on each outer fold
both choose 50 inputs (10 of the proteins, too) from the training rows; what these are worth is the accuracy, on the
other rows, of extremely randomised trees and of logistic regression trained on them. linear, additive, pairwise: 2,000
rows, 500 columns of which 20 matter; how many of the 20 are among the 20 ranked first, and precision and recall of what
each tool chooses by itself.

LassoNet runs with its own defaults (100 hidden units, as ours) down to no input, unless --cap ends it. Seconds are
those of the CPU, on one thread, with everything a call needs; contenders take turns in who goes first. Data are looked
for under MEDEN_DATA.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from lassonet import LassoNetClassifier, LassoNetRegressor
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingRegressor
from sklearn.linear_model import LassoCV, LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch import nn

import meden
from meden.models import MLP

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))
TABLES = ("mice_protein", "mnist")
MADE = ("linear", "additive", "pairwise")
NUM_COLUMNS, NUM_MATTER = 500, 20
make = functools.partial(MLP, depth=1, width=100)
Split = tuple[np.ndarray, np.ndarray]


class Chosen(NamedTuple):
    """What a contender says of the inputs."""

    ranking: np.ndarray
    """All of them, the most important first."""
    own: np.ndarray
    """Those that it would keep."""
    said: str = ""


def mice_protein() -> tuple[np.ndarray, np.ndarray, list[Split]]:
    table = pd.read_csv(DATA / "mice_protein" / "mice_protein.csv")
    x = table[[name for name in table if name.endswith("_N")]]
    x, y = x.fillna(x.mean()).to_numpy(), pd.factorize(table["class"])[0]
    mouse = table.MouseID.str.split("_").str[0]
    return standard(x), y, list(StratifiedGroupKFold(5, shuffle=True, random_state=0).split(x, y, mouse))


def mnist() -> tuple[np.ndarray, np.ndarray, list[Split]]:
    images = np.load(DATA / "mnist" / "mnist.npz")
    rows = np.random.default_rng(0).permutation(60_000)[:10_000]
    x, y = images["x_train"][rows].reshape(len(rows), -1) / 255, images["y_train"][rows].astype(int)
    return x.astype(np.float32), y, list(StratifiedKFold(3, shuffle=True, random_state=0).split(x, y))


def standard(x: np.ndarray) -> np.ndarray:
    return StandardScaler().fit_transform(x).astype(np.float32)


def known_truth(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, set[int]]:
    """Return rows, targets, and which columns decide them; a fifth of the targets' variance is noise."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(2000, NUM_COLUMNS))
    matter = random.permutation(NUM_COLUMNS)[:NUM_MATTER]
    z = x[:, matter].T
    if kind == "linear":
        parts = [
            sign * size * part
            for sign, size, part in zip(random.choice([-1, 1], 20), random.uniform(0.5, 1.5, 20), z, strict=True)
        ]
    elif kind == "additive":
        shapes = (lambda v: np.sin(2 * v), np.abs, lambda v: v**2 / 2, lambda v: np.tanh(3 * v))
        parts = [shapes[place % 4](part) for place, part in enumerate(z)]
    else:
        parts = [a * b for a, b in zip(z[::2], z[1::2], strict=True)]
    y = standard(np.sum(parts, axis=0)[:, None])[:, 0] + 0.5 * random.normal(size=len(x))
    return x.astype(np.float32), y.astype(np.float32), set(matter.tolist())


def ours(x: np.ndarray, y: np.ndarray, *, folds: int) -> Chosen:
    """At each of 20 strengths and more 25 steps of 128 rows, or an epoch; six times that for the dense model."""
    each = max(1, round(25 * 128 / (len(x) * (1 - 1 / folds))))
    recipe = meden.Recipe(optimizer="adam", lr=1e-3, batch_size=128, epochs=6 * each)
    path = meden.path(make, (x, y), num=20, ratio=0.01, epochs=each, folds=folds, recipe=recipe)
    ranking, own = ([int(name[1:]) for name in names] for names in (path.ranking(), path.support()))
    return Chosen(np.array(ranking), np.array(own, dtype=int), f"{len(path.points)} strengths")


def lassonet(x: np.ndarray, y: np.ndarray, *, cap: float) -> Chosen:
    kind = LassoNetClassifier if y.dtype.kind == "i" else LassoNetRegressor
    masks, losses, started = [], [], time.process_time()

    def note(model: LassoNetClassifier, history: list) -> None:
        masks.append(model.model.input_mask().numpy())
        losses.append(history[-1].val_loss)
        if time.process_time() - started > cap:
            raise TimeoutError

    said = "to the end"
    try:
        kind(verbose=0, random_state=0, torch_seed=0).path(x, y, callback=note)
    except TimeoutError:
        said = f"cut off after {cap:.0f} s, with {masks[-1].sum()} inputs left"
    stays = np.sum(masks, axis=0)
    return Chosen(np.argsort(-stays, kind="stable"), np.flatnonzero(masks[int(np.argmin(losses))]), said)


def lasso(x: np.ndarray, y: np.ndarray) -> Chosen:
    found = LassoCV(cv=5).fit(x, y)
    return Chosen(np.argsort(-np.abs(found.coef_), kind="stable"), np.flatnonzero(found.coef_))


def trees(x: np.ndarray, y: np.ndarray) -> Chosen:
    """Keeps what is above the mean, as scikit-learn's SelectFromModel does."""
    importance = GradientBoostingRegressor(subsample=0.5, random_state=0).fit(x, y).feature_importances_
    return Chosen(np.argsort(-importance, kind="stable"), np.flatnonzero(importance > importance.mean()))


def worth(x: np.ndarray, y: np.ndarray, split: Split, kept: np.ndarray) -> tuple[float, float]:
    """Return the accuracy of trees and of logistic regression on some inputs, in %."""
    fit, test = split
    learners = ExtraTreesClassifier(300, random_state=0), LogisticRegression(max_iter=1000)
    return tuple(100 * one.fit(x[fit][:, kept], y[fit]).score(x[test][:, kept], y[test]) for one in learners)


def turns(
    contenders: dict[str, Callable[..., Chosen]], number: int, *data: np.ndarray
) -> Iterator[tuple[str, Chosen, float]]:
    """Yield what each finds, and its seconds; they take turns in who goes first."""
    names = list(contenders)
    for name in names[number % len(names) :] + names[: number % len(names)]:
        started = time.process_time()
        chosen = contenders[name](*data)
        yield name, chosen, time.process_time() - started


def table(name: str, cap: float, num_folds: int, outer: list[int] | None) -> None:
    x, y, splits = {"mice_protein": mice_protein, "mnist": mnist}[name]()
    contenders = {"meden": functools.partial(ours, folds=num_folds), "lassonet": functools.partial(lassonet, cap=cap)}
    sizes = (50, 10) if name == "mice_protein" else (50,)
    seconds, scores, said = defaultdict(list), defaultdict(list), {}
    splits = splits if outer is None else [splits[number] for number in outer]
    for number, split in enumerate(splits):
        scores["all inputs", x.shape[1]].append(worth(x, y, split, np.arange(x.shape[1])))
        for who, chosen, took in turns(contenders, number, x[split[0]], y[split[0]]):
            seconds[who].append(took)
            said[who] = chosen.said
            for size in sizes:
                scores[who, size].append(worth(x, y, split, chosen.ranking[:size]))
            print(f"  {name} fold {number}: {who} {took:.1f} s, {scores[who, sizes[0]][-1]}", flush=True)
    heads = "inputs | trees, % | logistic regression, % | CPU seconds a fold | "
    print(f"\n| {name}, {len(splits)} folds | {heads}|\n|---|---|---|---|---|---|")
    for (who, size), pairs in scores.items():
        cells = [told(own) for own in zip(*pairs, strict=True)]
        took = f"{np.mean(seconds[who]):.1f}" if who in seconds else ""
        print(f"| {who} | {size} | {' | '.join(cells)} | {took} | {said.get(who, '')} |")
    for size in sizes:
        difference = np.array(scores["meden", size]) - np.array(scores["lassonet", size])
        print(f"meden less lassonet, {size} inputs: {', '.join(told(own) for own in difference.T)}")
    print(f"seconds: 1/{np.mean(seconds['lassonet']) / np.mean(seconds['meden']):.1f}\n", flush=True)


def told(values: np.ndarray) -> str:
    """Return the mean, and its standard error where there are several."""
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{error}"


def truth(kind: str, cap: float, num_seeds: int) -> None:
    contenders = {"meden": functools.partial(ours, folds=5), "lassonet": functools.partial(lassonet, cap=cap)}
    contenders |= {"lasso": lasso, "boosted trees": trees}
    found = defaultdict(list)
    for seed in range(num_seeds):
        x, y, matter = known_truth(kind, seed)
        for who, chosen, took in turns(contenders, seed, x, y):
            first, own = set(chosen.ranking[:NUM_MATTER].tolist()), set(chosen.own.tolist())
            precision = len(own & matter) / max(1, len(own))
            found[who].append((len(first & matter), len(own), precision, len(own & matter) / NUM_MATTER, took))
    heads = "of 20 among the first 20 | keeps | precision | recall | CPU seconds"
    print(f"\n| {kind}, {num_seeds} data sets | {heads} |\n|---|---|---|---|---|---|")
    for who in contenders:
        first, kept, precision, recall, took = np.mean(found[who], axis=0)
        print(f"| {who} | {first:.1f} | {kept:.0f} | {precision:.2f} | {recall:.2f} | {took:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=(*TABLES, *MADE, []), help="which; all by default")
    parser.add_argument("--cap", type=float, default=1800.0, help="CPU seconds after which LassoNet is cut off")
    parser.add_argument("--folds", type=int, default=2, help="inner folds of ours on the tables")
    parser.add_argument(
        "--outer", type=int, nargs="+", help="numbers of the outer folds of a table that are used; all by default"
    )
    parser.add_argument("--seeds", type=int, default=2, help="data sets of each known truth")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lassonet|sklearn")
    meden.groups_of(nn.Linear(2, 1), torch.zeros(2, 2), kind="inputs")  # imports are not timed
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    for name in options.names or (*TABLES, *MADE):
        table(name, options.cap, options.folds, options.outer) if name in TABLES else truth(
            name, options.cap, options.seeds
        )
