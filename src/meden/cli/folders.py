"""Folders of studies and runs: what they hold, and whether something may be written there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from meden._checks import InputError
from meden.cli.console import say
from meden.run import Ensemble, Run, load_run
from meden.study import Study
from meden.study.folder import STUDY
from meden.study.ledger import LEDGER

RUN = "run.json"
"""Written last: a folder that has it holds a whole run."""
REPORT = "report.html"


def check_new_folder(name: str, folder: Path) -> None:
    """Check that an output folder is new or empty.

    Raises:
        InputError: if it holds anything, or is a file; it says how to go on with a study that was cut off.
    """
    with _refused(name, "a new or empty folder", folder):
        if (folder / STUDY).exists():
            here = "a finished study" if (folder / RUN).exists() else "a study that is not finished"
            go_on = "" if (folder / RUN).exists() else f"; go on with: meden resume {folder}"
            raise InputError(f"{name} must be a new or empty folder, got {str(folder)!r}, which holds {here}{go_on}")
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            raise InputError(
                f"{name} must be a new or empty folder, got {str(folder)!r}, which holds something already"
            )
        new = [part for part in (folder.absolute(), *folder.absolute().parents) if not part.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _try_to_write(folder)
        finally:
            for part in new:
                with suppress(OSError):
                    part.rmdir()


def check_new_file(name: str, path: Path, *, force: bool) -> None:
    """Check that an output file is not there yet, unless it may be replaced.

    Raises:
        InputError: if it is, if it is a folder, or if its folder is not there.
    """
    with _refused(name, "a file that can be written", path):
        if path.is_dir():
            raise InputError(f"{name} must be a file, got the folder {str(path)!r}")
        if path.exists() and not force:
            raise InputError(f"{name} must be a new file (or give --force), got {str(path)!r}, which is there already")
        if not path.parent.is_dir():
            raise InputError(f"{name} must lie in a folder that is there, got {str(path)!r}")
        _try_to_write(path.parent)


@contextmanager
def _refused(name: str, what: str, path: Path) -> Iterator[None]:
    """Report what the operating system refuses as bad input."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{name} must be {what}, got {str(path)!r}: {error.strerror}") from None


def _try_to_write(folder: Path) -> None:
    """Write a file and take it away; access rights alone do not say whether that can be done."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\0")


def say_unfinished(study: Study, folder: Path) -> None:
    """Say what is missing of a study that was cut off, on standard error."""
    if study.num_missing:
        own = study.model.name is not None
        say(f"unfinished: {study.reason}" + (f"; go on with: meden resume {folder}" if own else ""))


def trained(folder: Path) -> Run | Ensemble:
    """Return the run, or the ensemble of runs, of a folder that ``meden tune`` or ``meden fit`` wrote.

    Raises:
        InputError: if it holds none, or one of a model that is not meden's own (for those: :func:`meden.load_run`).
    """
    if (folder / STUDY).exists() and not (folder / RUN).exists():
        raise InputError(
            f"folder {str(folder)!r} holds a study that is not finished; go on with: meden resume {folder}"
        )
    if not (folder / RUN).is_file():
        other = (folder / LEDGER).exists()
        hint = ", which holds a comparison or another search without a model" if other else ""
        wanted = f"folder must be one that `meden tune` or `meden fit` wrote (a {RUN})"
        raise InputError(f"{wanted}, got {str(folder)!r}{hint}")
    run = load_run(folder)
    if run.encoder is None:
        raise InputError(f"folder {str(folder)!r} holds a run on tensors, without an encoder of tables")
    return run
