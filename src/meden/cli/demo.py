"""``meden demo``: the main job on real digits, with few rows to train on, so that a plain network truly overfits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table
from scipy import stats

from meden import report as reports
from meden import search
from meden.cli.console import JsonFlag, Seed, describe, print_json, progress, say, stdout
from meden.cli.folders import REPORT, check_new_folder, filling
from meden.data import Dataset, Fold, as_dataset, holdout
from meden.member import Member
from meden.models import MLP
from meden.recipe import Recipe
from meden.report.numbers import number
from meden.run import Run
from meden.space import LogUniform
from meden.space.names import Space
from meden.study import Study
from meden.training.fit_many import fit_many

TRAIN_ROWS = 100
PLAIN = Recipe(lr=3e-3, epochs=60)
SPACE: Space = {"l1": LogUniform(1e-5, 1e-2), "l2": LogUniform(1e-4, 1e-1)}
FOLDS = 5
QUANTITIES = ("training accuracy, %", "held-out accuracy, %", "gap, %", "held-out loss")
"""Columns of the measurements."""


class Measured(NamedTuple):
    """The demo's evidence: quantities of both networks on each split, (splits, quantities)."""

    plain: NDArray[np.float64]
    chosen: NDArray[np.float64]


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder of model and report.")] = Path("runs/demo"),
    repeats: Annotated[int, typer.Option("--repeats", min=2, help="Splits into training and held-out rows.")] = 5,
    budget: Annotated[int, typer.Option("--budget", min=1, help="Configurations tried on each split.")] = 16,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Show the whole job on handwritten digits: a plain network against one that meden regularised.

    Each split keeps 100 of 1,797 digits for training. meden sees only those: it cross-validates strengths of L1 and L2
    on them, chooses, trains, and is then scored on the digits it never saw, as the plain network is.

    Example:

        meden demo --repeats 10
    """  # noqa: D412
    check_new_folder("--out", out)
    digits = as_dataset("digits")
    say(describe(digits))
    splits = [holdout(digits, 1 - TRAIN_ROWS / digits.num_rows, seed=seed + repeat)[0] for repeat in range(repeats)]
    with progress("fits done", repeats * (budget * FOLDS + 2)) as (bar, job):
        studies = [
            _study(digits.take(rows), budget, seed + i, lambda: bar.advance(job)) for i, rows in enumerate(splits)
        ]
        measured = _measure(digits, splits, studies, seed)
    with filling(out):
        studies[0].refit().save(out)
        studies[0].report(out / REPORT, extra=[_section(measured)])
    _show(measured, studies[0], out, as_json)


def _study(rows: Dataset, budget: int, seed: int, done: Callable[[], None]) -> Study:
    """Search on the training rows of one split; there is no stop split, since all networks train equally long."""
    return search.tune(
        MLP,
        rows,
        SPACE,
        folds=FOLDS,
        budget=budget,
        recipe=PLAIN,
        stop_fraction=0.0,
        seed=seed,
        on_progress=lambda _: done(),
    )


def _measure(digits: Dataset, splits: Sequence[NDArray[np.int64]], studies: Sequence[Study], seed: int) -> Measured:
    """Train the plain and the chosen recipe on each split's training rows and score them on all the others."""
    everything = np.arange(digits.num_rows)
    folds = [Fold(rows, everything[:0], np.setdiff1d(everything, rows)) for rows in splits]
    plain = [Member(PLAIN, fold, seed) for fold in folds]
    chosen = [Member(study.final()[0], fold, seed) for study, fold in zip(studies, folds, strict=True)]
    runs = fit_many(MLP, plain + chosen, digits)
    quantities = np.array([_quantities(run) for run in runs])
    return Measured(quantities[: len(folds)], quantities[len(folds) :])


def _quantities(run: Run) -> tuple[float, float, float, float]:
    assert run.held_out is not None
    train, held_out = 100 * run.history[-1].train["accuracy"], 100 * float(run.held_out.scores.mean())
    return train, held_out, train - held_out, float(run.held_out.losses.mean())


def interval(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Return mean and half width of Student's interval.

    Example:
        >>> mean, half = interval(np.array([1.0, 2.0, 3.0]))
        >>> round(mean, 3), round(half, 3)
        (2.0, 2.484)
    """
    spread = stats.sem(values) * stats.t.ppf((1 + confidence) / 2, len(values) - 1)
    return float(values.mean()), float(spread)


def _rows(measured: Measured) -> list[tuple[str, str, str, str]]:
    """Return the printed table: a line per quantity, with the paired difference."""
    columns = zip(QUANTITIES, measured.plain.T, measured.chosen.T, strict=True)
    return [
        (name, _with_interval(plain), _with_interval(chosen), _with_interval(chosen - plain, "+"))
        for name, plain, chosen in columns
    ]


def _with_interval(values: NDArray[np.float64], sign: str = "") -> str:
    mean, half = interval(values)
    digits = 1 if max(abs(mean), half) >= 1 or half == 0 else 2
    return f"{mean:{sign}.{digits}f} ± {half:.{digits}f}"


def _section(measured: Measured) -> reports.Section:
    """Return the evidence for the report: every split, then means with intervals."""
    columns = [reports.Column("split", numeric=False)]
    for name in QUANTITIES[1:]:
        columns += [reports.Column(f"{name}: plain"), reports.Column("chosen")]
    pairs = np.stack([measured.plain, measured.chosen], axis=2)[:, 1:].reshape(len(measured.plain), -1)
    rows = [reports.TableRow((str(i), *map(number, split))) for i, split in enumerate(pairs, start=1)]
    means = [_with_interval(column) for column in pairs.T]
    table = reports.ReportTable(tuple(columns), (*rows, reports.TableRow(("mean", *means), "both")))
    differences = [f"{name}: {difference}" for name, _, _, difference in _rows(measured)[1:]]
    text = (
        f"Each split trains on {TRAIN_ROWS} digits and is scored on the others. The plain network has the same "
        f"starting weights, batches and epochs, and no penalty. The choice was made on the training digits alone.",
        f"Chosen less plain, paired, mean and 95 % interval over {len(rows)} splits: {'; '.join(differences)}.",
    )
    return reports.Section(title="Plain against chosen", text=text, table=table)


def _show(measured: Measured, study: Study, out: Path, as_json: bool) -> None:
    if as_json:
        columns = zip(QUANTITIES, measured.plain.T, measured.chosen.T, strict=True)
        found = {q: {"plain": interval(p), "chosen": interval(c), "difference": interval(c - p)} for q, p, c in columns}
        print_json(found | {"splits": len(measured.plain), "folder": str(out)})
        return
    num_held_out = 1797 - TRAIN_ROWS
    table = Table("", "plain", "chosen by meden", "difference (paired)")
    for row in _rows(measured):
        table.add_row(*row)
    stdout.print(
        f"{TRAIN_ROWS} digits to train on, the other {num_held_out:,} held out; means and 95 % intervals over "
        f"{len(measured.plain)} splits:"
    )
    stdout.print(table)
    stdout.print(_verdict(measured))
    picked = ", ".join(f"{name} = {number(value)}" for name, value in study.choice.params.items())
    stdout.print(f"On the first split meden chose {picked}.\nReport: {out}/report.html")
    stdout.print("Now your own table: meden tune your.csv --target COLUMN")


def _verdict(measured: Measured) -> str:
    """Say in words what the intervals allow to be said."""
    gain, half = interval(measured.chosen[:, 1] - measured.plain[:, 1])
    fall, fall_half = interval(measured.plain[:, 3] - measured.chosen[:, 3])
    gap = measured.plain[:, 2].mean()
    text = (
        f"The plain network overfits: it is {gap:.1f} points less accurate on new digits than on its training digits. "
    )
    text += f"On new digits the chosen one is {gain:.1f} ± {half:.1f} points more accurate"
    text += "" if gain > half else ", which could be chance"
    text += f", and its held-out loss is {fall:.2f} ± {fall_half:.2f} lower"
    return text + ("." if fall > fall_half else ", which could be chance.")
