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
            "trainer: metrics.csv, trainer_state.json, a csv file, TensorBoard's event files, or a folder of these."
        ),
    ] = None,
    train: Annotated[
        str | None, typer.Option("--train", help="Column of a log's training loss, if its name does not tell.")
    ] = None,
    valid: Annotated[
        str | None, typer.Option("--valid", help="Column of a log's held-out loss, if its name does not tell.")
    ] = None,
    select: SelectOption = None,
    ignore: IgnoreOption = None,
    memorisation: Annotated[
        bool,
        typer.Option(
            "--memorisation",
            help="Of a study, also say what its models know by heart: trains the choice again, unless it was searched "
            "with --keep-losses.",
        ),
    ] = False,
    repeats: Annotated[
        int, typer.Option("--repeats", help="For --memorisation: divisions of the rows; from 2 on it finds far more.")
    ] = 1,
    list_rules: Annotated[bool, typer.Option("--list", help="Show all rules: code, family, severity.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Say what stands out in a run, how sure that is, and what to do about it.

    It only reads the folder: nothing is trained, and the data are not needed, unless `--memorisation` asks for more. Of
    a study it looks at the search and at the chosen configuration in all folds, of a run at its own curves and held-out
    rows. Rules look at curves, at the search, at strengths, at the layout of layers and at probabilities; `--list`
    shows them all.

    Logs of other trainers are read by the names of their columns: Lightning's metrics.csv, the Trainer's
    trainer_state.json, csv files of Keras and of Weights & Biases, TensorBoard's event files. Each evaluation counts as
    an epoch, with the mean of the training losses since the one before.

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
        raise InputError("path must be a folder of a study or run, a history.json or a log, got none (rules: --list)")
    if repeats != 1 and not memorisation:
        raise InputError(f"--repeats must be given with --memorisation, whose divisions it counts, got {repeats}")
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
        raise InputError("path must be the folder of a study for --memorisation, whose folds say what each model saw")
    if repeats > 1 or not are_kept(subject, subject.choice):
        say(f"training the choice on {plural(repeats, 'division')} of the rows")
    return subject.memorisation(repeats=repeats)


def _subject(path: Path) -> History | Evident | Path:
    if not path.exists():
        asked = f"{str(path)!r}: not there"
        raise InputError(f"path must be a folder of a study or run, a history.json or a log, got {asked}")
    if path.is_file():
        if path.name != HISTORY and not begins_file(_beginning(path)):
            return path
        history = History.load(path)
        if len(history) == 0:
            raise InputError(f"path must be a history.json of one epoch or more, got {str(path)!r}, which has none")
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
