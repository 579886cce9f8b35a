"""``meden fit``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
import yaml

from meden import members
from meden._checks import InputError
from meden.cli.console import Drop, JsonFlag, Seed, Target, Task, check_new_folder, print_json, progress, stdout
from meden.cli.tune import TABLE_RECIPE
from meden.data import Fold, as_dataset, holdout
from meden.history import Record
from meden.member import Member
from meden.models import MLP
from meden.recipe import Recipe
from meden.report import run_report
from meden.run import Run


def fit(
    data: Annotated[str, typer.Argument(help="CSV, TSV, Parquet or Feather file, or a bundled name such as `digits`.")],
    target: Target = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="YAML recipe; see the fields of meden.Recipe.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a field of the recipe: `lr=0.01`; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder of the run.")] = Path("runs/fit"),
    held_out: Annotated[float, typer.Option("--held-out", help="Share of the rows that scores and stops.")] = 0.2,
    drop: Drop = None,
    task: Task = None,
    seed: Seed = 0,
    as_json: JsonFlag = False,
) -> None:
    """Train one network on a table by a recipe, with a held-out part to see how well it does on new rows.

    Examples:

        meden fit data.csv --target price --recipe runs/study/recipe.yaml

        meden fit digits --set dropout=0.5 --set epochs=40 --out runs/digits
    """  # noqa: D412
    check_new_folder("--out", out)
    chosen = _changed(Recipe.load(recipe) if recipe else TABLE_RECIPE, changes or [])
    dataset = as_dataset(data, target=target, task=task, drop=drop or ())
    fitting, valid = holdout(dataset, held_out, seed)
    member = Member(chosen, Fold(fitting, valid, valid), seed)
    with progress("epochs", chosen.last_epoch) as (bar, job):

        def show(record: Record) -> None:
            assert record.valid is not None
            bar.update(job, completed=record.epoch, note=f"held-out loss {record.valid['loss']:.4g}")

        run = members.fit_many(MLP, [member], dataset, on_epoch=show)[0]
    run = dataclasses.replace(run, held_out=None)
    run.save(out)
    run_report(run, out / "report.html")
    _show(run, out, as_json)


def _changed(recipe: Recipe, changes: list[str]) -> Recipe:
    fields = recipe.to_dict()
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise InputError(f"--set must look like lr=0.01, got {change!r}")
        fields[name.strip()] = yaml.safe_load(value)
    return Recipe.from_dict(fields)


def _show(run: Run, out: Path, as_json: bool) -> None:
    last = run.history[run.best_epoch - 1]
    if as_json:
        scores = {"train": dict(last.train), "held_out": dict(last.valid or {})}
        print_json(
            {"status": run.status, "reason": run.reason, "best_epoch": run.best_epoch, "folder": str(out)} | scores
        )
        return
    stdout.print(f"{run.status}: {run.reason}; kept epoch {run.best_epoch} (step {run.best_step})")
    for name, scores in (("train", last.train), ("held out", last.valid or {})):
        stdout.print(f"  {name:9}" + "  ".join(f"{key} {value:.4g}" for key, value in scores.items()))
    stdout.print(f"Model and report: {out}/report.html   Predict: meden predict {out} rows.csv -o predictions.csv")
