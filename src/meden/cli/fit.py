"""``meden fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from meden._checks import check_choice
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
from meden.cli.folders import REPORT, check_new_folder
from meden.cli.rows import read_data, show_data
from meden.cli.settings import parse_settings
from meden.data import Fold, holdout
from meden.diagnosis import diagnose
from meden.history import Record
from meden.member import Member
from meden.recipe import Recipe
from meden.report import run_report
from meden.report.numbers import number, percent
from meden.run import Run
from meden.search.checks import check_models
from meden.space.names import configure
from meden.tabular.defaults import MODEL
from meden.tabular.network import NETWORKS
from meden.tabular.setup import set_up
from meden.training.fit_many import fit_many


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
    held_out: Annotated[float, typer.Option("--held-out", help="Share of the rows that scores and stops.")] = 0.2,
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

    Examples:

        meden fit data.csv --target price --recipe runs/study/recipe.yaml

        meden fit digits --set dropout=0.5 --set epochs=40 --out runs/digits
    """  # noqa: D412
    check_new_folder("--out", out)
    check_choice("--model", model, NETWORKS)
    settings = parse_settings(changes or [], "--set", NETWORKS[model])
    loaded = None if recipe is None else Recipe.load(recipe)
    setup = set_up(
        read_data(data, target=target, task=task, groups=groups, drop=drop, read=read, sep=sep, decimal=decimal, na=na),
        model=model,
        recipe=loaded,
    )
    make_model, dataset = setup.make_model, setup.data
    chosen, model_args = configure(setup.recipe, settings)
    fitting, valid = holdout(dataset, held_out, seed)
    fold = Fold(fitting, valid, valid)
    check_models(make_model, [(chosen, model_args)], dataset, [fold])
    show_data(dataset)
    with progress("epochs", chosen.last_epoch) as (bar, job):

        def show(_: int, record: Record) -> None:
            assert record.valid is not None
            bar.update(job, completed=record.epoch, note=f"held-out loss {record.valid['loss']:.4g}")

        run = fit_many(make_model, [Member(chosen, fold, seed, model_args)], dataset, on_epoch=show)[0]
    run.save(out)
    run_report(run, out / REPORT)
    _show(run, out, as_json)


def _show(run: Run, out: Path, as_json: bool) -> None:
    last = run.history[run.best_epoch - 1]
    scores: dict[str, Any] = {"train": dict(last.train), "held_out": dict(last.valid or {})}
    found = diagnose(run)
    ending = {"status": run.status, "reason": run.reason, "best_epoch": run.best_epoch, "folder": str(out)}
    if as_json:
        print_json(ending | scores | {"findings": found.to_dict()["findings"]})
    else:
        stdout.print(f"{run.status}: {run.reason}; kept epoch {run.best_epoch}")
        for name, values in scores.items():
            texts = (f"{key} {percent(v) if key == 'accuracy' else number(v)}" for key, v in values.items())
            stdout.print(f"  {name.replace('_', '-'):9}" + "  ".join(texts))
        for finding in found.findings:
            stdout.print(f"{finding}", markup=False)
        stdout.print(f"Report:  {out}/report.html\nPredict: meden predict {out} rows.csv -o predictions.csv")
    if run.status == "diverged":
        raise typer.Exit(1)
