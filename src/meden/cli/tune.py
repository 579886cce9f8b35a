"""``meden tune`` and ``meden resume``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from meden import search
from meden._checks import Damaged, InputError, check_choice, check_number
from meden.cli.command_line import command_line
from meden.cli.console import (
    Address,
    AllowVersion,
    BackendName,
    Data,
    Decimal,
    Device,
    Drop,
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
    Track,
    began,
    progress,
    say,
)
from meden.cli.fit import begin
from meden.cli.folders import REPORT, check_study_folder, holds_run, trained
from meden.cli.found import cut_off, show_study
from meden.cli.options import check_on_device
from meden.cli.rows import read_data, show_data, show_first_look
from meden.cli.settings import COCKTAIL, parse_space
from meden.cli.training_file import TRAINING, TrainingFile
from meden.cli.tune_command import Trainer, command_settings, go_on, resumed_command
from meden.data.targets import Task
from meden.deadline import Deadline
from meden.models.placed import HERE, placed
from meden.recipe import Recipe
from meden.report.numbers import plural
from meden.search.budget import Until
from meden.search.settings import Limits
from meden.search.strategies import STRATEGIES
from meden.space.cocktail import cocktail
from meden.space.names import AskedSpace
from meden.study import Study
from meden.study.folder import STUDY, read_description
from meden.study.ledger import LEDGER, read_rows
from meden.study.metrics import METRICS
from meden.study.results import COMMAND, REFIT
from meden.tabular.defaults import DEFAULTS, MODEL, PRESETS, STRATEGY
from meden.tabular.network import NETWORKS
from meden.tabular.setup import set_up, until_for

SEARCHED = ("strategy", "first", "metric", "baselines", "keep_losses", "seeds", "seed", *Limits.model_fields)
"""Settings of a study that are arguments of :func:`meden.tune` under their own names."""
_DEFAULT_SPACES = "; ".join(f"{', '.join(usual.space)} for `{name}`" for name, usual in DEFAULTS.items())
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="URL of a database for Optuna's tools, such as `postgresql+psycopg://user@host/name`. Default: "
        "`study.db` in the folder.",
    ),
]


def tune(
    context: typer.Context,
    data: Data,
    target: Target = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the study.")] = Path("runs/study"),
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            "-s",
            help="What to search: `l2=1e-5:1:log`, `dropout=0:0.6`, `depth=1:4:int`, `width=64,128`; "
            "`mixup=off:0.1:1` may be off, the ends of `l1=data` come from the data, `cocktail` is a mixture "
            f"of many regularisers. Repeatable. Default: {_DEFAULT_SPACES}.",
        ),
    ] = None,
    model: Model = MODEL,
    recipe: RecipeFile = None,
    preset: Annotated[
        str,
        typer.Option(
            "--preset",
            help="How much effort to spend: `fast`, `good` or `best`. Each sets folds, budget, epochs, refit and "
            "racing; options that are given take precedence.",
        ),
    ] = "good",
    folds: Annotated[int | None, typer.Option("--folds", help="Number of cross-validation folds.")] = None,
    budget: Annotated[int | None, typer.Option("--budget", help="Number of configurations to try.")] = None,
    epochs_budget: Annotated[
        int | None, typer.Option("--epochs-budget", help="Limit on the epochs of all fits together.")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            "--time-limit",
            help="Time limit in seconds, from the start of the command to the report. Extra time is spent first on "
            "longer training, then on more configurations. The result then depends on the machine's speed.",
        ),
    ] = None,
    racing: Annotated[
        bool | None,
        typer.Option("--racing/--no-racing", help="Stop losing configurations early: about a third of the work."),
    ] = None,
    strategy: Annotated[
        str, typer.Option("--strategy", help=f"How configurations are proposed: one of {', '.join(STRATEGIES)}.")
    ] = STRATEGY,
    metric: Annotated[
        str, typer.Option("--metric", help=f"Metric that decides: one of {', '.join(METRICS)}.")
    ] = "loss",
    seeds: Annotated[int, typer.Option("--seeds", help="Fits per configuration and fold.")] = 1,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines/--no-baselines",
            help="Also train the baselines that the choice is compared with: a constant model, a linear model, "
            "boosted trees, and the same network without regularisation.",
        ),
    ] = True,
    keep_losses: Annotated[
        bool,
        typer.Option(
            "--keep-losses",
            help="Also keep the loss of each fitting row, so that `meden diagnose` and the report can tell how much "
            "the models memorise.",
        ),
    ] = False,
    refit: Annotated[
        str | None,
        typer.Option(
            "--refit",
            help="`all`: one model on all rows. `folds`: the average of one model per fold, each stopped early on "
            "the rows that fold scores.",
        ),
    ] = None,
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
    device: Device = HERE,
    backend: BackendName = "local",
    address: Address = None,
    storage: Storage = None,
    track: Track = None,
    command: Trainer = None,
    as_json: JsonFlag = False,
) -> None:
    """Find how much to regularise a network on a table.

    Cross-validates many configurations, chooses the simplest one within one standard error of the best, trains it on
    all rows, and writes the model and a report. With `--command`, the search runs any program that does its own
    training.

    Examples:

        meden tune data.csv --target price

        meden tune breast_cancer --search l1=1e-5:1e-2:log --budget 16 --out runs/cancer

        meden tune visits.parquet --target readmitted --groups patient --drop id

        meden tune data.csv --target price --search cocktail --budget 64 --racing --metric r2 --refit folds

        meden tune data.csv --target price --preset fast

        meden tune large.parquet --target price --time-limit 600

        meden tune large.parquet --target price --backend ray --address auto --jobs 32

        meden tune data.csv --target price --command 'bash train.sh {lr}' --search lr=1e-4:1:log
    """  # noqa: D412 - typer prints the paragraphs as they stand
    if command is not None:
        show_study(finish(command_settings(context), out), out, as_json)
        return
    check_study_folder("--out", out)
    check_choice("--preset", preset, PRESETS)
    usual = PRESETS[preset]
    refit = usual.refit if refit is None else refit
    check_choice("--refit", refit, ("all", "folds"))
    check_choice("--model", model, NETWORKS)
    check_on_device(device, backend)
    if time_limit is not None:
        check_number("time_limit", time_limit, low=0.0, low_open=True)
    loaded = None if recipe is None else Recipe.load(recipe)
    dataset = read_data(
        data, target=target, task=task, groups=groups, drop=drop, read=read, sep=sep, decimal=decimal, na=na
    )
    searched = _space(space or (), model, dataset.task)
    setup = set_up(
        dataset,
        model=model,
        device=device,
        space=searched,
        recipe=loaded,
        epochs=usual.epochs,
        refit=refit,
        time_limit=time_limit,
        since=began(),
    )
    settings: dict[str, Any] = {
        "folds": usual.folds if folds is None else folds,
        "budget": usual.budget if budget is None else budget,
        "epochs_budget": epochs_budget,
        "racing": usual.racing if racing is None else racing,
        "strategy": strategy,
        "metric": metric,
        "baselines": baselines,
        "keep_losses": keep_losses,
        "seeds": seeds,
        "order": order,
        "gap": gap,
        "seed": seed,
        "notes": {REFIT: refit, COMMAND: command_line(context)},
        "jobs": jobs,
        "backend": backend,
        "address": address,
        "storage": storage,
        "trackers": track or (),
    }
    show_study(finish(setup.arguments() | settings, out), out, as_json)


def resume(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of a study or a run.")],
    data: Annotated[str | None, typer.Option("--data", help="File with the study's table, if it has moved.")] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", help="Total number of configurations, including those already there.")
    ] = None,
    epochs_budget: Annotated[
        int | None,
        typer.Option("--epochs-budget", help="Limit on the epochs of all fits together, including those already done."),
    ] = None,
    time_limit: Annotated[float | None, typer.Option("--time-limit", help="Further seconds, from now.")] = None,
    jobs: Jobs = 1,
    device: Device = HERE,
    backend: BackendName = "local",
    address: Address = None,
    storage: Storage = None,
    track: Track = None,
    allow_version: AllowVersion = False,
    command: Annotated[
        str | None,
        typer.Option(
            "--command",
            help="For a study of a command: the command, given again, since a command stored in a folder is never run.",
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", help="For a run: number of processes. Default: as before.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Resume an interrupted study or run; the result equals that of an uninterrupted one on the same device.

    A finished study continues if it is given a larger budget or more time; its model, recipe and report are then made
    again. In a finished study, missing or damaged files other than the ledger are made again.

    Examples:

        meden resume runs/study --jobs 2

        meden resume runs/study --budget 32

        meden resume runs/study --command 'bash train.sh {lr}'

        meden resume runs/book --processes 4
    """  # noqa: D412
    check_on_device(device, backend)
    if (folder / TRAINING).is_file():
        _check_not_given(device, f"the training in {folder}, which uses the GPU that is there")
        file = TrainingFile.load(folder / TRAINING)
        begin(file if processes is None else file.replace(processes=processes), folder, as_json=as_json)
        return
    if time_limit is not None:
        check_number("--time-limit", time_limit, low=0.0, low_open=True)
    try:
        described = read_description(folder)
    except Damaged as error:
        raise InputError(f"{error}; run the `meden tune` command that started the study again to write it") from None
    make_model = described.model.find()
    if make_model is None:
        _check_not_given(device, f"a study of {described.model.text}")
        subject = resumed_command(described, command)
    elif command is not None:
        raise InputError(f"--command must not be given for a study of {described.model.text}, got {command!r}")
    else:
        subject = {"make_model": placed(make_model, device), "data": described.data.read(data)}
    settings = {name: described.settings[name] for name in SEARCHED if name in described.settings}
    asked = {"budget": budget, "epochs_budget": epochs_budget, "time_limit": time_limit}
    more = {name: value for name, value in asked.items() if value is not None}
    rows = read_rows(folder / LEDGER).rows.values()
    if more:
        there = len({row.configuration for row in rows if not row.baseline})
        say(f"{plural(there, 'configuration')} of a budget of {settings['budget']} done already")
        settings |= {"time_limit": None} | more
    settings |= _time(settings, more, described.notes.get(REFIT, "all"), math.fsum(row.seconds for row in rows))
    settings |= {
        **subject,
        "folds": described.folds,
        "space": described.space,
        "recipe": described.recipe,
        "notes": _extended(described.notes, command_line(context)) if more else described.notes,
        "jobs": jobs,
        "backend": backend,
        "address": address,
        "storage": storage,
        "trackers": track or (),
        "allow_version": allow_version,
    }
    show_study(finish(settings, folder, anew=bool(more)), folder, as_json)


def _check_not_given(device: str, what: str) -> None:
    if device != HERE:
        raise InputError(f"--device must not be given for {what}, got {device!r}")


def _extended(notes: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Return the notes of a study that another command extends: both make it, one after the other."""
    begun = notes.get(COMMAND)
    return dict(notes) | ({COMMAND: f"{begun}\n{command}"} if isinstance(begun, str) else {})


def _time(settings: Mapping[str, Any], more: Mapping[str, Any], refit: str, spent: float) -> dict[str, Any]:
    """Return the time limit of a study that goes on, and when the search must have ended.

    Args:
        settings: of the study, or what is asked for now.
        more: what is asked for now.
        refit: how the final models are trained.
        spent: seconds, before.
    """
    if settings["time_limit"] is None:
        return {}
    if "time_limit" in more:
        until = until_for(settings["time_limit"], refit=refit, since=began())
        return {"time_limit": settings["time_limit"] + spent, "until": until}
    left = settings["time_limit"] - spent
    return {"until": until_for(left, refit=refit) if left > 0 else Until(Deadline(began()))}


def finish(settings: Mapping[str, Any], out: Path, *, anew: bool = False) -> Study:
    """Search, or do what of it the folder does not hold yet; train the choice; write model and report.

    Args:
        settings: arguments of :func:`meden.tune`; its notes say which models are trained in the end.
        out: the folder.
        anew: whether the choice is trained though there is a model.
    """
    with cut_off(out / STUDY, go_on(settings["make_model"], out)):
        study = _search(settings, out)
        if study.status == "ok" and not study.model.trains and (anew or not holds_run(out)):
            until = settings.get("until")
            deadline = None if until is None or until.deadline.at <= began() else until.deadline
            study.refit(policy=settings["notes"].get(REFIT, "all"), deadline=deadline).save(out)
        study.report(out / REPORT)
    if study.status == "ok" and not study.model.trains and (failure := trained(out).failure):
        say(f"failed: the final model {failure}; lower lr, or set clip_norm; see {out}/{REPORT}")
        raise typer.Exit(1)
    return study


def _search(settings: Mapping[str, Any], out: Path) -> Study:
    budget, folds = settings["budget"], settings["folds"]
    num_folds = folds if isinstance(folds, int) else len(folds)

    def start() -> None:
        if "data" in settings:
            show_data(settings["data"])
            if "order" in settings:  # it begins; one that goes on has been looked at
                order, seed, limit = settings["order"], settings["seed"], settings.get("time_limit")
                show_first_look(settings["data"], order=order, folds=num_folds, seed=seed, time_limit=limit)
        say(f"{plural(budget, 'configuration')} x {plural(num_folds, 'fold')}, results in {out}")

    with progress() as show:
        return search.tune(**settings, study_dir=out, on_start=start, on_progress=show)


def _space(texts: Sequence[str], model: str, task: Task) -> AskedSpace | None:
    """Return the space that is searched; None is the model's own."""
    if list(texts) == [COCKTAIL]:
        return {**cocktail(task, NETWORKS[model]), "lr": DEFAULTS[model].space["lr"]}
    return parse_space(texts) or None
