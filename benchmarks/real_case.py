"""150 fits at once on real data: 10 strengths of L2 x 5 folds x 3 seeds, the honest curve that nobody waits for.

    python benchmarks/real_case.py                 vehicle, adult (5,000 rows), a conv net on 5,000 MNIST digits
    python benchmarks/real_case.py vehicle         one of them

Prints the held-out loss and accuracy of each strength with their standard errors, the choices, and the seconds beside
an estimate for a plain loop: the same members, as many as fit into --witness, trained one by one by `meden.fit` on as
many cores. Data are looked for under MEDEN_DATA.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import meden
from meden.data import make_folds
from meden.models import MLP, ConvNet
from meden.penalties import L2
from meden.study.selection import best, one_standard_error, standard_error

DATA = Path(os.environ.get("MEDEN_DATA", Path(__file__).parents[2] / "shared" / "data"))
STRENGTHS = np.logspace(-5, -0.5, 10)
FOLDS, SEEDS = 5, 3


def vehicle() -> tuple[Any, Callable[..., nn.Module], meden.Recipe]:
    data = meden.as_dataset(DATA / "vehicle" / "vehicle.csv", target="Class")
    return data, lambda num_inputs, num_outputs: MLP(num_inputs, num_outputs, width=128), recipe(epochs=60)


def adult() -> tuple[Any, Callable[..., nn.Module], meden.Recipe]:
    frame = pd.read_csv(DATA / "adult" / "adult.csv").sample(5000, random_state=0)
    data = meden.as_dataset(frame, target="income")
    return (
        data,
        lambda num_inputs, num_outputs: MLP(num_inputs, num_outputs, width=64),
        recipe(epochs=20, batch_size=64),
    )


def mnist() -> tuple[Any, Callable[..., nn.Module], meden.Recipe]:
    with np.load(DATA / "mnist" / "mnist.npz") as file:
        x, y = file["x_train"][:5000, None].astype(np.float32) / 255, file["y_train"][:5000].astype(np.int64)
    return (x, y), lambda: ConvNet(10, width=8), recipe(epochs=6, batch_size=64, eval_rows=500)


def recipe(**fields: Any) -> meden.Recipe:
    return meden.Recipe(lr=2e-3, early_stopping=meden.EarlyStopping(patience=10), **fields)


def members_of(data: Any, base: meden.Recipe) -> list[meden.Member]:
    folds = make_folds(meden.as_dataset(data), FOLDS, seed=0)
    recipes = [base.replace(regularizers=[meden.Regularizer(L2(float(s)), coupling="proximal")]) for s in STRENGTHS]
    return [meden.Member(r, fold, seed) for r in recipes for fold in folds for seed in range(SEEDS)]


def show(name: str, losses: np.ndarray, scores: np.ndarray, console: Console) -> None:
    chosen = {best(losses): "best"}
    row = one_standard_error(losses, list(STRENGTHS))
    chosen[row] = f"{chosen[row]}, one_se" if row in chosen else "one_se"
    table = Table(title=f"{name}: {FOLDS} folds x {SEEDS} seeds, mean and standard error")
    for head in ("L2", "held-out loss", "accuracy", "chosen"):
        table.add_column(head, justify="right")
    for number, strength in enumerate(STRENGTHS):
        told = [f"{v[number].mean():.4f} ± {standard_error(v[number]):.4f}" for v in (losses, scores)]
        table.add_row(f"{strength:.1e}", *told, chosen.get(number, ""))
    console.print(table)


def main() -> None:
    works = {"vehicle": vehicle, "adult": adult, "mnist": mnist}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", choices=[*works, []], help="default: all")
    parser.add_argument("--witness", type=float, default=20.0, help="seconds for the members trained one by one")
    options = parser.parse_args()
    console = Console(width=100)
    console.print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    for name in options.works or works:
        data, make_model, base = works[name]()
        members = members_of(data, base)
        started = time.perf_counter()
        runs = meden.fit_many(make_model, members, data)
        seconds = time.perf_counter() - started
        losses, scores = (
            np.array([getattr(run.held_out, part).mean(dtype=np.float64) for run in runs]).reshape(len(STRENGTHS), -1)
            for part in ("losses", "scores")
        )
        show(name, losses, scores, console)
        alone, num_alone = witness(make_model, members, data, options.witness)
        epochs = sum(len(run.history) for run in runs)
        console.print(
            f"{len(runs)} fits, {epochs:,} epochs in {seconds:.1f} s; one by one {alone * len(runs) / num_alone:.0f} s "
            f"({num_alone} of them measured): {alone / num_alone * len(runs) / seconds:.1f}x\n"
        )


def witness(
    make_model: Callable[..., nn.Module], members: list[meden.Member], data: Any, limit: float
) -> tuple[float, int]:
    """Return the seconds, and the number, of members spread over all strengths and trained one by one."""
    order = np.random.default_rng(0).permutation(len(members))
    cores, seconds, num = torch.get_num_threads(), 0.0, 0
    while seconds < limit and num < len(members):
        some = [members[i] for i in order[num : num + 2 * cores]]
        started = time.perf_counter()
        meden.fit_many(make_model, some, data, chunk=1)
        seconds, num = seconds + time.perf_counter() - started, num + len(some)
    return seconds, num


if __name__ == "__main__":
    main()
