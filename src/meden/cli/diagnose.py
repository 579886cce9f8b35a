"""``meden diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meden import diagnosis
from meden._checks import InputError
from meden.cli.console import JsonFlag, print_json, stdout
from meden.cli.folders import say_unfinished, trained
from meden.cli.rules import IgnoreOption, SelectOption, names, show_rules
from meden.diagnosis import Evident
from meden.history import History
from meden.study import load_study
from meden.study.folder import STUDY


def diagnose(
    path: Annotated[
        Path | None,
        typer.Argument(help="Folder written by `meden tune` or `meden fit`, or the `history.json` of any run."),
    ] = None,
    select: SelectOption = None,
    ignore: IgnoreOption = None,
    list_rules: Annotated[bool, typer.Option("--list", help="Show all rules: code, family, severity.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what stands out in a run, how sure that is, and what to do about it.

    It only reads the folder: nothing is trained, and the data are not needed. Of a study it looks at the search and at
    the chosen configuration in all folds, of a run at its own curves and held-out rows. Rules look at curves, at the
    search, at strengths, at the layout of layers and at probabilities; `--list` shows them all.

    Examples:

        meden diagnose runs/study

        meden diagnose runs/fit/history.json --json

        meden diagnose runs/study --select curves,layout --ignore overfit

        meden diagnose --list
    """  # noqa: D412
    if list_rules:
        show_rules(diagnosis.chosen_rules(names(select), names(ignore)), as_json)
        return
    if path is None:
        raise InputError("path must be a folder of a study or run, or a history.json, got none (rules: --list)")
    found = diagnosis.diagnose(_subject(path), select=names(select), ignore=names(ignore))
    if as_json:
        print_json(found.to_dict())
    else:
        stdout.print(str(found))


def _subject(path: Path) -> History | Evident:
    if path.is_file():
        history = History.load(path)
        if len(history) == 0:
            raise InputError(f"path must be a history.json of one epoch or more, got {str(path)!r}, which has none")
        return history
    if not (path / STUDY).exists():
        return trained(path, texts=True)
    study = load_study(path)
    say_unfinished(study, path)
    return study
