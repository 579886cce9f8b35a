"""``meden demo``: the main job on real digits, with few rows to train on, so that a plain network truly overfits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table
from scipy import stats

from meden import search
from meden.cli.console import JsonFlag, Seed, check_new_folder, print_json, progress, stdout
from meden.data import Dataset, Fold, as_dataset, holdout
from meden.member import Member
from meden.members import fit_many
from meden.models import MLP
from meden.recipe import Recipe
from meden.run import Run
from meden.search import LogUniform, Study, Uniform
from meden.stopping import EarlyStopping

TRAIN_ROWS = 150
PLAIN = Recipe(lr=3e-3, epochs=60)
SPACE = {"l2": LogUniform(1e-4, 1.0), "dropout": Uniform(0.0, 0.7)}
FOLDS = 5


class Outcome(NamedTuple):
    """Accuracy of one network on one split."""

    train: float
    held_out: float


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder of model and report.")] = Path("runs/demo"),
    repeats: Annotated[int, typer.Option("--repeats", min=2, help="Splits into training and held-out rows.")] = 5,
    budget: Annotated[int, typer.Option("--budget", min=1, help="Configurations tried on each split.")] = 16,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Show the whole job on handwritten digits: a plain network against one that meden regularised.

    Each split keeps 150 of 1,797 digits for training. meden sees only those: it cross-validates L2 and dropout on them,
    chooses, trains, and is then scored on the digits it never saw, as the plain network is.

    Example:

        meden demo --repeats 10
    """  # noqa: D412
    check_new_folder("--out", out)
    digits = as_dataset("digits")
    plain, chosen, studies = [], [], []
    with progress("training", repeats * (budget * FOLDS + 2)) as (bar, job):
        for repeat in range(repeats):
            train, held_out = holdout(digits, 1 - TRAIN_ROWS / digits.num_rows, seed=seed + repeat)
            study = search.tune(
                MLP,
                digits.take(train),
                SPACE,
                folds=FOLDS,
                budget=budget,
                recipe=PLAIN.replace(early_stopping=EarlyStopping(patience=15)),
                seed=seed + repeat,
                on_progress=lambda _: bar.advance(job),
            )
            studies.append(study)
            fold = Fold(train, np.empty(0, dtype=np.int64), held_out)
            plain.append(_outcome(_train(digits, fold, PLAIN, seed)))
            chosen.append(_outcome(_train(digits, fold, study.final()[0], seed)))
            bar.advance(job, 2)
    studies[0].refit().save(out)
    studies[0].report(out / "report.html")
    _show(np.array(plain), np.array(chosen), studies[0], out, as_json)


def _train(dataset: Dataset, fold: Fold, recipe: Recipe, seed: int) -> Run:
    return fit_many(MLP, [Member(recipe, fold, seed)], dataset)[0]


def _outcome(run: Run) -> Outcome:
    assert run.held_out is not None
    return Outcome(run.history[-1].train["accuracy"], float(run.held_out.scores.mean()))


def interval(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Return mean and half width of Student's interval.

    Example:
        >>> mean, half = interval(np.array([1.0, 2.0, 3.0]))
        >>> round(mean, 3), round(half, 3)
        (2.0, 2.484)
    """
    spread = stats.sem(values) * stats.t.ppf((1 + confidence) / 2, len(values) - 1)
    return float(values.mean()), float(spread)


def _show(plain: NDArray[Any], chosen: NDArray[Any], study: Study, out: Path, as_json: bool) -> None:
    """Print the table; ``plain`` and ``chosen`` are (repeats, 2): training and held-out accuracy."""
    rows = {
        "training accuracy": (plain[:, 0], chosen[:, 0]),
        "held-out accuracy": (plain[:, 1], chosen[:, 1]),
        "gap": (plain[:, 0] - plain[:, 1], chosen[:, 0] - chosen[:, 1]),
    }
    if as_json:
        found = {name: {"plain": interval(p), "chosen": interval(c)} for name, (p, c) in rows.items()}
        print_json(found | {"folder": str(out)})
        return
    table = Table("", "plain", "chosen by meden", "difference (paired)")
    for name, (p, c) in rows.items():
        table.add_row(name, *(_percent(values) for values in (p, c, c - p)))
    stdout.print(
        f"{TRAIN_ROWS} digits to train on, the other {1797 - TRAIN_ROWS} held out; {len(plain)} splits, 95 % intervals:"
    )
    stdout.print(table)
    picked = ", ".join(f"{name} {value:.3g}" for name, value in study.one_se.params.items())
    stdout.print(f"On the first split meden chose {picked}. Model and report: {out}/report.html")
    stdout.print("Now your own table:  meden tune your.csv --target COLUMN")


def _percent(values: NDArray[np.float64]) -> str:
    mean, half = interval(100 * values)
    return f"{mean:.1f} ± {half:.1f} %"
