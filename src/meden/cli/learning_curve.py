"""``meden learning-curve``."""

from __future__ import annotations

import dataclasses
import functools
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer
from rich import box
from rich.table import Table

from meden import search
from meden._checks import InputError, check_choice
from meden.cli.command_line import command_line
from meden.cli.console import (
    AllowVersion,
    Folds,
    Gap,
    JsonFlag,
    Model,
    Order,
    RecipeFile,
    Seed,
    Target,
    print_json,
    progress,
    say,
    stdout,
)
from meden.cli.folders import REPORT, check_new_file, check_study_folder
from meden.cli.found import cut_off
from meden.cli.options import Processes, Reading, spread
from meden.cli.rows import show_data
from meden.cli.settings import parse_settings
from meden.data.files import BUNDLED
from meden.models.placed import placed
from meden.recipe import Recipe
from meden.report.numbers import number
from meden.space.names import configure
from meden.study import load_study
from meden.study.folder import STUDY
from meden.study.learning_curve import LearningCurve, Same
from meden.study.ledger import LEDGER
from meden.study.metrics import spoken
from meden.study.results import CHOICE, RULES, Which
from meden.tabular.defaults import FOLDS
from meden.tabular.network import NETWORKS
from meden.tabular.setup import set_up

OF_TABLE = (
    *("target", "settings", "model", "recipe", "folds", "groups", "order", "gap"),
    *("drop", "read", "sep", "decimal", "na", "task", "seed"),
)
"""Options that a study fixes itself."""
OF_STUDY = ("which", "rows")
"""Options that only apply to a study."""


@spread
def learning_curve(
    context: typer.Context,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="STUDY_OR_DATA",
            help="Folder of a study written by `meden tune`, or a table as for `meden compare`: a file or a bundled "
            "name.",
        ),
    ],
    target: Target = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="Also train the network without regularisation, and show both curves in one chart."
        ),
    ] = False,
    sizes: Annotated[
        str | None,
        typer.Option(
            "--sizes",
            help="Numbers of training rows, such as `100,200,400,800`. Default: 8 sizes, from a sixteenth of the rows "
            "to all.",
        ),
    ] = None,
    same: Annotated[
        str,
        typer.Option(
            "--same",
            help="What is the same at all sizes: `steps` of the optimizer, or `epochs`, which takes less time.",
        ),
    ] = "steps",
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", help="Fits, each on its own subset, per size and fold. Default: the study's number, or 1."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Output folder for the fits and a report. Run the same command again to resume."
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="File to write the report to: HTML, or Markdown if it ends in .md.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --report if it exists.")] = False,
    which: Annotated[
        str, typer.Option("--which", help="For a study: which configuration, `one_se` (the choice) or `best`.")
    ] = CHOICE,
    rows: Annotated[Path | None, typer.Option("--rows", help="File with the study's rows, if it has moved.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="Setting of the recipe or the network, such as `l2=0.01`. Repeatable."),
    ] = None,
    model: Model = "mlp",
    recipe: RecipeFile = None,
    folds: Folds = FOLDS,
    order: Order = None,
    gap: Gap = 0,
    reading: Reading = Reading(),  # noqa: B008 - options of their own
    seed: Seed = 0,
    processes: Processes = Processes(),  # noqa: B008
    allow_version: AllowVersion = False,
    as_json: JsonFlag = False,
) -> None:
    """Estimate whether more rows would help, and compare that with the gain from regularisation.

    Trains the chosen configuration of a study, or a recipe on a table, on smaller and smaller subsets of each fold,
    fits a power law to the held-out loss, and predicts the loss with twice the rows, with an interval. If no power law
    fits, it says why.

    Examples:

        meden learning-curve runs/study --report curve.html

        meden learning-curve runs/study --plain --out runs/curve --jobs 2

        meden learning-curve data.csv --target price --set l2=0.01 --set dropout=0.3 --seeds 3

        meden learning-curve wine --sizes 20,40,60,80,100 --json
    """  # noqa: D412
    is_study = (Path(subject) / STUDY).exists()
    _check_options(context, subject, is_study)
    check_choice("--same", same, get_args(Same))
    if out is not None:
        check_study_folder("--out", out)
    if report is not None:
        check_new_file("--report", report, force=force)
    asked: dict[str, Any] = {"sizes": _sizes(sizes), "plain": plain, "same": same, "allow_version": allow_version}
    asked |= {"study_dir": out, **processes.arguments()}
    processes.check()
    if is_study:
        check_choice("--which", which, RULES)
        study = load_study(subject, None if rows is None else str(rows))
        if study.make_model is not None:
            study = dataclasses.replace(study, make_model=placed(study.make_model, processes.device))
        measure = functools.partial(study.learning_curve, cast(Which, which), seeds=seeds)
    else:
        check_choice("--model", model, NETWORKS)
        setup = set_up(
            reading.data(subject, target),
            model=model,
            device=processes.device,
            recipe=None if recipe is None else Recipe.load(recipe),
        )
        own, model_args = configure(setup.recipe, parse_settings(settings or (), "--set", NETWORKS[model]))
        asked |= {"model_args": model_args, "folds": folds, "order": order, "gap": gap, "seed": seed}
        asked |= {"seeds": 1 if seeds is None else seeds, "on_start": lambda: show_data(setup.data)}
        measure = functools.partial(search.learning_curve, setup.make_model, setup.data, own)
    command = command_line(context)
    interruptible = nullcontext() if out is None else cut_off(out / LEDGER, command)
    with interruptible, progress() as show:
        found = measure(**asked, on_progress=show)
    for path in filter(None, (out and out / REPORT, report)):
        say(f"Report: {found.report(path, format='md' if path.suffix == '.md' else 'html', command=command)}")
    _show(found, as_json)


def _check_options(context: typer.Context, subject: str, is_study: bool) -> None:
    """Refuse what a study says itself, and what only a study can be asked."""
    if not (Path(subject).exists() or subject in BUNDLED):
        raise InputError(
            f"STUDY_OR_DATA must be the folder of a study or a table, got {subject!r}: no such file or folder"
        )
    if Path(subject).is_dir() and not is_study:
        raise InputError(f"STUDY_OR_DATA must be the folder of a study or a table, got the folder {subject!r}")
    for param in context.command.params:
        name = str(param.name)
        source = context.get_parameter_source(name)
        if name not in (OF_TABLE if is_study else OF_STUDY) or source is None or source.name != "COMMANDLINE":
            continue
        if is_study:
            raise InputError(
                f"{max(param.opts, key=len)} must not be given for a study, which fixes it, got {subject!r}"
            )
        raise InputError(
            f"{max(param.opts, key=len)} must not be given for a table: it is an option for a study, got {subject!r}"
        )


def _sizes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--sizes must be integers separated by commas, such as 100,200,400, got {text!r}") from None


def _show(found: LearningCurve, as_json: bool) -> None:
    if as_json:
        print_json(found.to_dict())
    else:
        for sentence in found.sentences:
            stdout.print(sentence.text)
        columns = found.table()
        table = Table(*(spoken(str(name)) for name in columns), box=box.SIMPLE_HEAD)
        for rows, *values in columns.itertuples(index=False):
            table.add_row(number(round(rows)), *(number(value, keep_zeros=True) for value in values))
        stdout.print(table)
    if not found.chosen.sound.any():
        raise typer.Exit(1)
