"""``meden diagnose``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from meden import diagnosis
from meden._checks import InputError
from meden._files import begins_file
from meden.cli.console import JsonFlag, print_json, say, stdout
from meden.cli.folders import say_unfinished, trained
from meden.cli.rules import IgnoreOption, SelectOption, names, show_rules
from meden.diagnosis import Evidence, Evident
from meden.diagnosis.memory.memorisation import Memorisation
from meden.history import History
from meden.logs import has_log
from meden.report.numbers import plural
from meden.run import RUN
from meden.study import Study, load_study
from meden.study.folder import STUDY
from meden.study.row_losses import are_kept

HISTORY = "history.json"


def diagnose(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Folder written by `meden tune` or `meden fit`, the `history.json` of any run, or a log of another "
            "trainer: metrics.csv, trainer_state.json, a csv file, TensorBoard event files, or a folder of "
            "these."
        ),
    ] = None,
    train: Annotated[
        str | None, typer.Option("--train", help="Column of the training loss in a log. Default: detected by name.")
    ] = None,
    valid: Annotated[
        str | None, typer.Option("--valid", help="Column of the held-out loss in a log. Default: detected by name.")
    ] = None,
    select: SelectOption = None,
    ignore: IgnoreOption = None,
    memorisation: Annotated[
        bool,
        typer.Option(
            "--memorisation",
            help="For a study: also measure how much its models memorise. Trains the chosen "
            "configuration again, unless the study was searched with --keep-losses.",
        ),
    ] = False,
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats", help="For --memorisation: number of random divisions of the rows; 2 or more find far more."
        ),
    ] = 1,
    list_rules: Annotated[bool, typer.Option("--list", help="List all rules with code, family and severity.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Diagnose a run or a study: what is wrong, how certain that is, and what to change.

    The folder is only read: nothing is trained and the data are not needed, except with `--memorisation`. For a study,
    the rules examine the search and the chosen configuration in all folds; for a run, its curves and held-out rows.
    They cover learning curves, the search, strengths, the order of layers and predicted probabilities; `--list` shows
    all of them.

    Logs of other trainers are recognised by their column names: Lightning's metrics.csv, the Trainer's
    trainer_state.json, csv files of Keras and of Weights & Biases, and TensorBoard event files. Each evaluation counts
    as an epoch, with the mean of the training losses since the previous one.

    Examples:

        meden diagnose runs/study

        meden diagnose lightning_logs/version_0

        meden diagnose log.csv --train nll --valid nll_dev

        meden diagnose runs/fit/history.json --json

        meden diagnose runs/study --select curves,layout --ignore overfit

        meden diagnose runs/study --memorisation --repeats 4

        meden diagnose --list
    """  # noqa: D412
    if list_rules:
        show_rules(diagnosis.chosen_rules(names(select), names(ignore)), as_json)
        return
    if path is None:
        raise InputError(
            "path must be a folder of a study or run, a history.json or a log, got none (to list the rules: --list)"
        )
    if repeats != 1 and not memorisation:
        raise InputError(f"--repeats must be given together with --memorisation, got {repeats} without it")
    subject: History | Evident | Evidence | Path = _subject(path)
    known = _known(subject, repeats) if memorisation else None
    if known is not None:
        assert isinstance(subject, Study)
        subject = dataclasses.replace(subject.evidence(), memorisation=known)
    found = diagnosis.diagnose(subject, train=train, valid=valid, select=names(select), ignore=names(ignore))
    if as_json:
        print_json(found.to_dict() | ({} if known is None else {"memorisation": known.to_dict()}))
    else:
        stdout.print(str(found) + ("" if known is None else f"\n\n{known}"))


def _known(subject: object, repeats: int) -> Memorisation:
    if not isinstance(subject, Study):
        raise InputError(
            "path must be the folder of a study for --memorisation, since its folds tell which rows each model saw"
        )
    if repeats > 1 or not are_kept(subject, subject.choice):
        say(f"training the chosen configuration on {plural(repeats, 'division')} of the rows")
    return subject.memorisation(repeats=repeats)


def _subject(path: Path) -> History | Evident | Path:
    if not path.exists():
        asked = f"{str(path)!r}: no such file or folder"
        raise InputError(f"path must be a folder of a study or run, a history.json or a log, got {asked}")
    if path.is_file():
        if path.name != HISTORY and not begins_file(_beginning(path)):
            return path
        history = History.load(path)
        if len(history) == 0:
            raise InputError(f"path must be a history.json with at least one epoch, got {str(path)!r} with none")
        return history
    if not (path / STUDY).exists():
        if not (path / RUN).exists() and has_log(path):
            return path
        return trained(path, texts=True)
    study = load_study(path)
    say_unfinished(study, path)
    return study


def _beginning(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(100) or b"-"
