"""``meden report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meden._checks import InputError
from meden.cli.console import JsonFlag, print_json, stdout
from meden.cli.folders import REPORT, SETTINGS, check_new_file, read_settings, trained
from meden.cli.tune import search_of, setup_of
from meden.report import run_report, units_section
from meden.run import Ensemble


def report(
    folder: Annotated[Path, typer.Argument(help="Folder written by `meden tune` or `meden fit`.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML file to write; FOLDER/report.html unless given.")
    ] = None,
    units: Annotated[
        str | None, typer.Option("--units", help="Tool whose units the strengths are shown in too, such as keras.L2.")
    ] = None,
    n: Annotated[float | None, typer.Option("--n", help="Rows trained on, for --units that depend on them.")] = None,
    loss: Annotated[str, typer.Option("--loss", help="What your own code minimises, for --units.")] = "half_mse",
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it is there.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the report of a finished study or run again, as one HTML file that opens offline.

    Examples:

        meden report runs/study -o study.html

        meden report runs/study -o keras.html --units keras.L2
    """  # noqa: D412
    path = out or folder / REPORT
    run = trained(folder)
    check_new_file("--out", path, force=force)
    extra = [] if units is None else [units_section(run.recipe, units, n=n, loss=loss)]
    if (folder / SETTINGS).exists():
        settings = read_settings(folder)
        search_of(settings, setup_of(settings, folder), folder).report(path, extra=extra)
    elif isinstance(run, Ensemble):
        raise InputError(f"folder must hold one run, got an ensemble of {len(run.runs)}; try {folder / 'fold_0'}")
    else:
        run_report(run, path, extra=extra)
    if as_json:
        print_json({"file": str(path)})
    else:
        stdout.print(f"Report: {path}")
