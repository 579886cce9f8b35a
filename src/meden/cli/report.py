"""``meden report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meden._checks import InputError
from meden.cli.console import JsonFlag, print_json, stdout
from meden.cli.folders import REPORT, check_new_file, say_unfinished, trained
from meden.cli.formats import ReportFormat, report_format
from meden.report import Section, run_report, units_section
from meden.run import Ensemble
from meden.study import Study, load_study
from meden.study.folder import STUDY


def report(
    folder: Annotated[Path, typer.Argument(help="Folder written by `meden tune` or `meden fit`.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write. Default: FOLDER/report.html, or .md.")
    ] = None,
    format: ReportFormat = "html",
    units: Annotated[
        str | None, typer.Option("--units", help="Also show strengths in the units of this tool, such as keras.L2.")
    ] = None,
    n: Annotated[
        float | None, typer.Option("--n", help="Number of training rows, for --units that depend on it.")
    ] = None,
    loss: Annotated[str, typer.Option("--loss", help="Loss that your own code minimises, for --units.")] = "half_mse",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output file if it exists.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the report of a study or run, as one HTML file that opens offline, or as Markdown.

    The folder is only read: nothing is trained and the data are not needed. The report of an interrupted study shows
    what is there and what is missing.

    Examples:

        meden report runs/study -o study.html

        meden report runs/study -o keras.html --units keras.L2

        meden report runs/study --format md
    """  # noqa: D412
    kind = report_format(format)
    path = out or (folder / REPORT).with_suffix(f".{kind}")
    subject = load_study(folder) if (folder / STUDY).exists() else trained(folder, texts=True)
    check_new_file("--out", path, force=force)
    if isinstance(subject, Ensemble):
        raise InputError(f"folder must hold one run, got an ensemble of {len(subject.runs)}; try {folder / 'fold_0'}")
    extra: list[Section] = []
    if units is not None:
        recipe = subject.final()[0] if isinstance(subject, Study) else subject.recipe
        extra = [units_section(recipe, units, n=n, loss=loss)]
    if isinstance(subject, Study):
        subject.report(path, extra=extra, format=kind)
        say_unfinished(subject, folder)
    else:
        run_report(subject, path, extra=extra, format=kind)
    if as_json:
        mixed = {"mixed_versions": subject.mixed} if isinstance(subject, Study) and subject.mixed else {}
        print_json({"file": str(path), **mixed})
    else:
        stdout.print(f"Report: {path}")
