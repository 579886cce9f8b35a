"""``meden tune`` and ``meden resume``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from meden import search
from meden._checks import Damaged, InputError, check_choice
from meden._files import NO_ROOM
from meden.cli.command_line import command_line
from meden.cli.console import (
    Address,
    AllowVersion,
    BackendName,
    Data,
    Decimal,
    Drop,
    Folds,
    Gap,
    Groups,
    Jobs,
    JsonFlag,
    Missing,
    Model,
    Order,
    Read,
    RecipeFile,
    Seed,
    Sep,
    Target,
    TaskOption,
    no_room,
    print_json,
    progress,
    say,
    stdout,
)
from meden.cli.folders import REPORT, check_study_folder, holds_run, trained
from meden.cli.rows import read_data, show_data
from meden.cli.settings import COCKTAIL, parse_space
from meden.data.targets import Task
from meden.recipe import Recipe
from meden.report.numbers import number, plural
from meden.search.settings import Limits
from meden.search.strategies import STRATEGIES
from meden.space.cocktail import cocktail
from meden.space.names import AskedSpace
from meden.study import Study, Trial
from meden.study.folder import STUDY, read_description
from meden.study.metrics import METRICS
from meden.study.results import BASELINES, COMMAND, REFIT
from meden.study.verdict import gain_text, value_text
from meden.tabular.defaults import BUDGET, DEFAULTS, FOLDS, MODEL, STRATEGY
from meden.tabular.network import NETWORKS
from meden.tabular.setup import set_up

SEARCHED = ("strategy", "first", "metric", "baselines", "seeds", "seed", *Limits.model_fields)
"""Settings of a study that are arguments of :func:`meden.tune` under their own names."""
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="Database for Optuna's tools, such as `postgresql+psycopg://user@host/name`; else `study.db`.",
    ),
]


def tune(
    context: typer.Context,
    data: Data,
    target: Target = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder of the study.")] = Path("runs/study"),
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            "-s",
            help="What to search, may be repeated: `l2=1e-5:1:log`, `dropout=0:0.6`, `depth=1:4:int`, `width=64,128`; "
            "`mixup=off:0.1:1` may be off, `l1=data` has ends that the data decide, `cocktail` is a mixture of many. "
            "Unless given: lr, dropout and frequency of `tabular`, its usual settings first; l2, l1, dropout and lr of "
            "`mlp`; l2, l1 and lr of `linear`.",
        ),
    ] = None,
    model: Model = MODEL,
    recipe: RecipeFile = None,
    folds: Folds = FOLDS,
    budget: Annotated[int, typer.Option("--budget", help="Configurations to try.")] = BUDGET,
    epochs_budget: Annotated[
        int | None, typer.Option("--epochs-budget", help="Epochs of all fits together, at most.")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            "--time-limit",
            help="Seconds for everything, nearly: for longer training first, then for configurations. The result then "
            "depends on the machine's speed.",
        ),
    ] = None,
    racing: Annotated[
        bool, typer.Option("--racing", help="Give up early what loses: about a third of the work.")
    ] = False,
    strategy: Annotated[str, typer.Option("--strategy", help=f"One of {', '.join(STRATEGIES)}.")] = STRATEGY,
    metric: Annotated[str, typer.Option("--metric", help=f"What decides: one of {', '.join(METRICS)}.")] = "loss",
    seeds: Annotated[int, typer.Option("--seeds", help="Fits per configuration and fold.")] = 1,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines/--no-baselines",
            help="Also train what the choice is compared with: a constant answer, a linear model, boosted trees, and "
            "the same network without regularisation.",
        ),
    ] = True,
    refit: Annotated[
        str,
        typer.Option(
            "--refit", help="`all`: one model on all rows. `folds`: the average of a model a fold, stopped by its rows."
        ),
    ] = "all",
    groups: Groups = None,
    order: Order = None,
    gap: Gap = 0,
    drop: Drop = None,
    read: Read = None,
    sep: Sep = None,
    decimal: Decimal = None,
    na: Missing = None,
    task: TaskOption = None,
    seed: Seed = 0,
    jobs: Jobs = 1,
    backend: BackendName = "local",
    address: Address = None,
    storage: Storage = None,
    as_json: JsonFlag = False,
) -> None:
    """Find how much to regularise a network on a table.

    Cross-validates many configurations, chooses the simplest one within a standard error of the best, trains it on
    all rows, and writes the model and a report.

    Examples:

        meden tune data.csv --target price

        meden tune breast_cancer --search l1=1e-5:1e-2:log --budget 16 --out runs/cancer

        meden tune visits.parquet --target readmitted --groups patient --drop id

        meden tune data.csv --target price --search cocktail --budget 64 --racing --metric r2 --refit folds

        meden tune large.parquet --target price --backend ray --address auto --jobs 32
    """  # noqa: D412 - typer prints the paragraphs as they stand
    check_study_folder("--out", out)
    check_choice("--refit", refit, ("all", "folds"))
    check_choice("--model", model, NETWORKS)
    loaded = None if recipe is None else Recipe.load(recipe)
    dataset = read_data(
        data, target=target, task=task, groups=groups, drop=drop, read=read, sep=sep, decimal=decimal, na=na
    )
    searched = _space(space or (), model, dataset.task)
    setup = set_up(dataset, model=model, space=searched, recipe=loaded, folds=folds, time_limit=time_limit)
    settings: dict[str, Any] = {
        "folds": folds,
        "budget": budget,
        "epochs_budget": epochs_budget,
        "racing": racing,
        "strategy": strategy,
        "metric": metric,
        "baselines": baselines,
        "seeds": seeds,
        "order": order,
        "gap": gap,
        "seed": seed,
        "notes": {REFIT: refit, COMMAND: command_line(context)},
        "jobs": jobs,
        "backend": backend,
        "address": address,
        "storage": storage,
    }
    _show(finish(setup.arguments() | settings, out), out, as_json)


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a study that was cut off.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Where its table is now, if it is no longer where it was.")
    ] = None,
    jobs: Jobs = 1,
    backend: BackendName = "local",
    address: Address = None,
    storage: Storage = None,
    allow_version: AllowVersion = False,
    as_json: JsonFlag = False,
) -> None:
    """Go on with a study that was cut off; the result equals that of an uninterrupted one.

    Of one that is finished, what is missing or damaged beside the ledger (model, recipe, report) is made again.

    Example:

        meden resume runs/study --jobs 2
    """  # noqa: D412
    try:
        described = read_description(folder)
    except Damaged as error:
        raise InputError(f"{error}; the `meden tune` command that began the study writes it again") from None
    make_model = described.model.find()
    if make_model is None:
        raise InputError(f"folder must hold a study of one of meden's own models, got one of {described.model.text}")
    settings = {name: described.settings[name] for name in SEARCHED if name in described.settings}
    settings |= {
        "make_model": make_model,
        "data": described.data.read(data),
        "folds": described.folds,
        "space": described.space,
        "recipe": described.recipe,
        "notes": described.notes,
        "jobs": jobs,
        "backend": backend,
        "address": address,
        "storage": storage,
        "allow_version": allow_version,
    }
    _show(finish(settings, folder), folder, as_json)


def finish(settings: Mapping[str, Any], out: Path) -> Study:
    """Search, or do what of it the folder does not hold yet; train the choice; write model and report.

    Args:
        settings: arguments of :func:`meden.tune`; its notes say which models are trained in the end.
        out: the folder.
    """
    try:
        study = _search(settings, out)
        if study.status == "ok" and not holds_run(out):
            study.refit(policy=settings["notes"].get(REFIT, "all")).save(out)
        study.report(out / REPORT)
    except KeyboardInterrupt:
        if (out / STUDY).exists():
            say(f"interrupted; go on with: meden resume {out}")
            raise typer.Exit(1) from None
        raise
    except OSError as error:
        if error.errno not in NO_ROOM or not (out / STUDY).exists():
            raise
        say(f"failed: {no_room(error, f'go on with: meden resume {out}')}")
        raise typer.Exit(1) from None
    if study.status == "ok" and (failure := trained(out).failure):
        say(f"failed: the final model {failure}; lower lr, or set clip_norm; see {out}/{REPORT}")
        raise typer.Exit(1)
    return study


def _search(settings: Mapping[str, Any], out: Path) -> Study:
    budget, folds = settings["budget"], settings["folds"]
    num_folds = folds if isinstance(folds, int) else len(folds)

    def start() -> None:
        show_data(settings["data"])
        say(f"{plural(budget, 'configuration')} x {plural(num_folds, 'fold')}, results in {out}")

    with progress("fits done", budget * num_folds * settings["seeds"]) as (bar, job):

        def show(done: search.Progress) -> None:
            note = f"best held-out loss {done.best_loss:.4g}" if math.isfinite(done.best_loss) else ""
            bar.update(job, completed=done.done, total=done.total, note=note)

        return search.tune(**settings, study_dir=out, on_start=start, on_progress=show)


def summary(study: Study) -> dict[str, Any]:
    """Return what a study found, as plain values."""
    lost = {why: sum(trial.status == why for trial in study.trials) for why in ("diverged", "dropped")}
    counts: dict[str, Any] = {"status": study.status, "configurations": len(study.trials), **lost}
    if study.mixed:
        counts["mixed_versions"] = study.mixed
    if study.status != "ok":
        return counts
    return counts | {
        "one_se": _plain_trial(study, study.one_se),
        "best": _plain_trial(study, study.best),
        "chosen_by": study.chosen_by,
        "scores": [dataclasses.asdict(score) for score in (study.score, study.score_of())],
        "verdict": study.verdict.to_dict(),
        "baselines": [_plain_trial(study, trial) | {"name": trial.baseline} for trial in study.baselines],
        "seconds": study.seconds,
    }


def _space(texts: Sequence[str], model: str, task: Task) -> AskedSpace | None:
    """Return the space that is searched; None is the model's own."""
    if list(texts) == [COCKTAIL]:
        return {**cocktail(task, NETWORKS[model]), "lr": DEFAULTS[model].space["lr"]}
    return parse_space(texts) or None


def _plain_trial(study: Study, trial: Trial) -> dict[str, Any]:
    losses = {"loss": trial.loss, "loss_error": trial.loss_error, study.metric: trial.score}
    losses |= {study.chosen_by: study.decided_by(trial)}
    return {"configuration": trial.number, "params": trial.params, **losses, "epochs": trial.median_epoch}


def _show(study: Study, out: Path, as_json: bool) -> None:
    if as_json:
        print_json(summary(study) | {"folder": str(out)})
    elif study.status == "ok":
        _show_choices(study, out)
    if study.status != "ok":
        say(f"failed: {study.reason}; lower lr, or set clip_norm; see {out}/report.html")
        raise typer.Exit(1)


def _show_choices(study: Study, out: Path) -> None:
    for sentence in study.verdict.sentences:
        stdout.print(sentence.text)
    told = study.told.replace("_", " ")
    table = Table("held-out rows", told, "loss", f"chosen has, {told}", box=box.SIMPLE_HEAD)
    gains = {gain.over: gain_text(gain.told, named=False) for gain in study.verdict.gains}
    for trial in study.baselines:
        table.add_row(BASELINES[trial.baseline], *_numbers(study, trial), gains.get(trial.baseline, trial.outcome))
    table.add_row("chosen", *_numbers(study, study.choice), "")
    if study.best is not study.choice:
        table.add_row("best", *_numbers(study, study.best), "")
    stdout.print(table)
    by = study.chosen_by.replace("_", " ")
    stdout.print(f"chosen: the simplest within one standard error of the best; best: by its mean held-out {by}")
    stdout.print(f"Choice:  {_params_text(study.choice)}, epochs {study.choice.median_epoch}")
    stdout.print(f"Report:  {out}/report.html\nPredict: meden predict {out} rows.csv -o predictions.csv")


def _numbers(study: Study, trial: Trial) -> tuple[str, str]:
    return value_text(study.told, study.mean_of(study.told, trial)), number(trial.loss, keep_zeros=True)


def _params_text(trial: Trial) -> str:
    return ", ".join(f"{name} {number(v) if isinstance(v, float) else v}" for name, v in trial.params.items())
