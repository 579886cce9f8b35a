"""``meden report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meden.cli.console import JsonFlag, print_json, stdout
from meden.cli.folders import SETTINGS, check_new_file, read_settings, trained
from meden.cli.tune import search_of
from meden.report import run_report


def report(
    folder: Annotated[Path, typer.Argument(help="Folder written by `meden tune` or `meden fit`.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML file to write; FOLDER/report.html unless given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the output file if it is there.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the report of a finished study or run again, as one HTML file that opens offline.

    Example:

        meden report runs/study -o study.html
    """  # noqa: D412
    path = out or folder / "report.html"
    run = trained(folder)
    check_new_file("--out", path, force=force)
    if (folder / SETTINGS).exists():
        search_of(read_settings(folder), folder).report(path)
    else:
        run_report(run, path)
    if as_json:
        print_json({"file": str(path)})
    else:
        stdout.print(f"Report: {path}")
