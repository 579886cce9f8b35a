"""``meden fit``."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from meden._checks import InputError, check_choice, check_count, check_number
from meden.cli.console import (
    Data,
    Decimal,
    Drop,
    Groups,
    JsonFlag,
    Missing,
    Model,
    Read,
    RecipeFile,
    Seed,
    Sep,
    Target,
    TaskOption,
    print_json,
    progress,
    stdout,
)
from meden.cli.folders import REPORT, check_new_folder, filling
from meden.cli.rows import read_data, show_data
from meden.cli.settings import parse_settings
from meden.data import Dataset, Fold, holdout
from meden.diagnosis import diagnose
from meden.history import Record
from meden.member import Member
from meden.recipe import Recipe
from meden.report import run_report
from meden.report.numbers import number, percent, plural
from meden.run import Run
from meden.search.checks import check_models
from meden.search.progress import Progress
from meden.space.names import configure
from meden.tabular.defaults import MODEL
from meden.tabular.network import NETWORKS
from meden.tabular.setup import set_up
from meden.training.fit_many import fit_many
from meden.training.scoring import score_scale

STOP_FRACTION = 0.15
"""Share of the rows that do not score which decides when to stop, as in a search."""


def fit(
    data: Data,
    target: Target = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder of the run.")] = Path("runs/fit"),
    model: Model = MODEL,
    recipe: RecipeFile = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change a setting, may be repeated: `lr=0.01`, `l2=1e-3`, `dropout=0.3`, `width=128`."
        ),
    ] = None,
    held_out: Annotated[float, typer.Option("--held-out", help="Share of the rows that only scores.")] = 0.2,
    groups: Groups = None,
    drop: Drop = None,
    read: Read = None,
    sep: Sep = None,
    decimal: Decimal = None,
    na: Missing = None,
    task: TaskOption = None,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Train one network on a table by a recipe, with a held-out part to see how well it does on new rows.

    The held-out rows do nothing but score: the run stops by 15 % of the others.

    Examples:

        meden fit data.csv --target price --recipe runs/study/recipe.yaml

        meden fit digits --set dropout=0.5 --set epochs=40 --out runs/digits
    """  # noqa: D412
    check_new_folder("--out", out)
    check_choice("--model", model, NETWORKS)
    check_number("--held-out", held_out, low=0.0, high=1.0, low_open=True, high_open=True)
    check_count("--seed", seed, low=0)
    settings = parse_settings(changes or [], "--set", NETWORKS[model])
    loaded = None if recipe is None else Recipe.load(recipe)
    setup = set_up(
        read_data(data, target=target, task=task, groups=groups, drop=drop, read=read, sep=sep, decimal=decimal, na=na),
        model=model,
        recipe=loaded,
    )
    make_model, dataset = setup.make_model, setup.data
    chosen, model_args = configure(setup.recipe, settings)
    fold = _three_parts(dataset, held_out, seed)
    check_models(make_model, [(chosen, model_args)], dataset, [fold])
    show_data(dataset)
    with progress() as show:
        started = time.perf_counter()

        def report(_: int, record: Record) -> None:
            assert record.valid is not None
            seconds = time.perf_counter() - started
            left = seconds / record.epoch * (chosen.last_epoch - record.epoch)
            done = Progress(record.epoch, chosen.last_epoch, seconds=seconds, seconds_left=left)
            show(done, f"stop loss {number(record.valid['loss'])}")

        run = fit_many(make_model, [Member(chosen, fold, seed, model_args)], dataset, on_epoch=report)[0]
    with filling(out):
        run.save(out)
        run_report(run, out / REPORT)
    _show(run, out, as_json)


def _three_parts(dataset: Dataset, held_out: float, seed: int) -> Fold:
    """Divide the rows into those that train, those that stop and those that score."""
    try:
        training, scored = holdout(dataset, held_out, seed)
        fitting, stop = holdout(dataset.take(training), STOP_FRACTION, seed)
    except InputError:
        what = "groups" if dataset.groups is not None else "of each class" if dataset.classes else "rows"
        raise InputError(
            f"--held-out must leave rows to train on, to stop by and to score (about 3 {what} or more), got "
            f"{held_out:g} of {plural(dataset.num_rows, 'row')}"
        ) from None
    return Fold(training[fitting], training[stop], scored)


def _scores(run: Run) -> dict[str, dict[str, float]]:
    """Return losses and scores of the three parts; squared errors are in the target's own units."""
    assert run.encoder is not None and run.held_out is not None
    last, scale = run.history[run.best_epoch - 1], score_scale(run.encoder)
    parts = {"train": dict(last.train), "stop": dict(last.valid or {})}
    found = {part: {n: v * scale if n == "mse" else v for n, v in values.items()} for part, values in parts.items()}
    loss, metric = found["train"]
    held_out = {loss: run.held_out.losses.astype(np.float64), metric: run.held_out.scores}
    found["held_out"] = {name: float(rows.mean()) for name, rows in held_out.items()}
    if len(run.held_out.losses) > 1:
        found["held_out_error"] = {n: float(rows.std(ddof=1)) / math.sqrt(len(rows)) for n, rows in held_out.items()}
    return found


def _show(run: Run, out: Path, as_json: bool) -> None:
    scores = _scores(run)
    found = diagnose(run)
    ending = {"status": run.status, "reason": run.reason, "best_epoch": run.best_epoch, "folder": str(out)}
    if as_json:
        print_json(ending | scores | {"findings": found.to_dict()["findings"]})
    else:
        stdout.print(f"{run.status}: {run.reason}; kept epoch {run.best_epoch}")
        errors = scores.pop("held_out_error", {})
        for name, values in scores.items():
            texts = [f"{key} {_text(key, value)}" for key, value in values.items()]
            if name == "held_out" and errors:
                texts = [f"{text} ± {_text(key, errors[key])}" for text, key in zip(texts, values, strict=True)]
            stdout.print(f"  {name.replace('_', '-'):9}" + "  ".join(texts))
        for finding in found.findings:
            stdout.print(str(finding))
        stdout.print(f"Report:  {out}/report.html")
        if not run.failure:
            stdout.print(f"Predict: meden predict {out} rows.csv -o predictions.csv")
    if run.failure:
        raise typer.Exit(1)


def _text(name: str, value: float) -> str:
    return percent(value) if name == "accuracy" else number(value)
