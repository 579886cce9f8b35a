"""A search of a command, in place of a network: ``meden tune --command``, and how it goes on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from meden._checks import InputError, check_choice, check_number
from meden.cli.command_line import command_line
from meden.cli.console import began, describe, say
from meden.cli.folders import check_study_folder
from meden.cli.rows import read_data
from meden.cli.settings import parse_space
from meden.data import Dataset
from meden.data.targets import Task
from meden.deadline import Deadline
from meden.models.placed import Placed
from meden.recipe import Recipe
from meden.search import CV, Command
from meden.search.budget import Until
from meden.search.tune import DEFAULT_RECIPE
from meden.study.data_summary import DataSummary
from meden.study.folder import Description
from meden.study.results import COMMAND
from meden.tabular.defaults import PRESETS

Trainer = Annotated[
    str | None,
    typer.Option(
        "--command",
        help="Command to search over instead of a network, such as `'bash train.sh {lr}'`, where `{lr}` is a name "
        "of `--search`. See `meden job --help`.",
    ),
]
UNMEANT = ("model", "refit", "baselines", "keep_losses", "device", "drop", "read")
"""Options of ``meden tune`` about networks or features, which do not apply to a command."""


def command_settings(context: typer.Context) -> dict[str, Any]:
    """Return arguments of :func:`meden.tune` for ``meden tune --command``.

    Args:
        context: of ``meden tune``.

    Raises:
        InputError: if options do not go together, or anything does not fit.
    """
    given = context.params
    for name in UNMEANT:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = name.replace("_", "-")
            raise InputError(
                f"--{option} must not be given with --command, which does its own training, got {given[name]!r}"
            )
    if not given["space"]:
        raise InputError("--search must be given with --command: a command has no default search space")
    check_study_folder("--out", Path(given["out"]))
    check_choice("--preset", given["preset"], PRESETS)
    usual, time_limit, order = PRESETS[given["preset"]], given["time_limit"], given["order"]
    if time_limit is not None:
        check_number("time_limit", time_limit, low=0.0, low_open=True)
    recipe = DEFAULT_RECIPE.replace(epochs=usual.epochs or DEFAULT_RECIPE.epochs)
    if given["recipe"] is not None:
        recipe = Recipe.load(Path(given["recipe"]))
    train, space = Command(given["command"]), parse_space(given["space"])
    reading = {name: given[name] for name in ("target", "task", "groups", "sep", "decimal", "na")}
    dataset = read_data(given["data"], drop=None, read=None, **reading)
    say(describe(dataset))
    folds = CV(folds=usual.folds if given["folds"] is None else given["folds"], order=order, gap=given["gap"])
    usual_of = {name: getattr(usual, name) if given[name] is None else given[name] for name in ("budget", "racing")}
    same = ("epochs_budget", "strategy", "metric", "seeds", "seed", "jobs", "backend", "address", "storage")
    return {
        **_rows(dataset, dataset.target, dataset.task),
        **usual_of,
        **{name: given[name] for name in same},
        "make_model": train,
        "space": space,
        "recipe": recipe,
        "folds": folds.divide(dataset, given["seed"]),
        "trackers": given["track"] or (),
        "notes": {COMMAND: command_line(context)},
        "time_limit": time_limit,
        "until": None if time_limit is None else Until(Deadline.after(time_limit, since=began())),
    }


def resumed_command(described: Description, command: str | None) -> Mapping[str, Any]:
    """Return what a study of a command goes on with, as arguments of :func:`meden.tune`.

    Args:
        described: the study.
        command: its command, given again.

    Raises:
        InputError: if the study is of something else, or the command is not given: what a folder says is never run.
    """
    told = described.model.arguments.get("command")
    if told is None:
        raise InputError(
            f"folder must hold a study of one of meden's own models or of a command, got one of {described.model.text}"
        )
    if command is None:
        raise InputError(
            f"--command must be given again: the study was started with {told!r}, and a command stored in a folder "
            "is never run"
        )
    return {"make_model": Command(command), **_rows(described.data, described.data.target, described.data.task)}


def go_on(make_model: Any, out: Path) -> str:
    """Return the command line that goes on with a study that is cut off."""
    given = ["--command", str(make_model)] if isinstance(make_model, Command) else []
    given += ["--device", make_model.device] if isinstance(make_model, Placed) else []
    return shlex.join(["meden", "resume", str(out), *given])


def _rows(data: Dataset | DataSummary, target: str, task: Task) -> dict[str, Any]:
    """Return the rows of a study without their features."""
    if task == "losses":
        return {"rows": data.num_rows, "groups": data.groups}
    labels = np.asarray(data.classes)[data.labels] if data.classes else data.labels
    return {"rows": pd.Series(labels, name=target), "groups": data.groups, "task": task}
