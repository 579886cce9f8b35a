"""Folders of studies and runs: what they hold, and whether something may be written there."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import typer

from meden._checks import Damaged, InputError
from meden._files import NO_ROOM, begins_file, read_json, write_json
from meden.cli.console import say
from meden.cli.training_file import CHECKPOINTS, HOW, TOKENS, TRAINING, TrainingFile
from meden.run import RUN, WEIGHTS, Ensemble, Run, load_run
from meden.study import Study
from meden.study.folder import ARRAYS, STUDY, is_described, is_written
from meden.study.ledger import LEDGER, read_rows
from meden.study.lock import writing

REPORT = "report.html"
BAD_INPUT = 2
"""Status with which a process ends that refuses what it was given."""
UNFINISHED = "unfinished.part"
"""Is in a folder while it is being filled, and names the files."""
_FILLING, _FILLED = "filling", (RUN, "recipe.yaml", "history.json", WEIGHTS, REPORT)
_HOLDER = re.compile(rb"(\d+( on .*)?)?")
"""What the files beside a ledger hold that say which process writes it."""
_SHORT = 4096


def check_new_folder(name: str, folder: Path) -> None:
    """Check that an output folder is new or empty, or holds only what a full disk or a kill left of a beginning.

    Raises:
        InputError: if it holds anything, or is a file; it says how to go on with a study that was cut off.
    """
    with _refused(name, "a new or empty folder", folder):
        if is_described(folder):
            here = "a finished study" if (folder / RUN).exists() else "an unfinished study"
            go_on = "" if (folder / RUN).exists() else f"; continue with: meden resume {folder}"
            raise InputError(f"{name} must be a new or empty folder, got {str(folder)!r}, which holds {here}{go_on}")
        if folder.is_file() or (folder.is_dir() and not _holds_nothing(folder)):
            raise InputError(f"{name} must be a new or empty folder, got {str(folder)!r}, which is not empty")
        new = [part for part in (folder.absolute(), *folder.absolute().parents) if not part.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _try_to_write(folder)
        finally:
            for part in new:
                with suppress(OSError):
                    part.rmdir()


def check_training_folder(name: str, folder: Path, asked: TrainingFile | None) -> None:
    """Check that a folder is new, or holds the beginning of the same training.

    Args:
        name: of the option.
        folder: of the run.
        asked: what the training is; None is one that cannot be gone on with.

    Raises:
        InputError: if it holds something else, or a training that was asked for otherwise.
    """
    begun = folder / TRAINING
    if asked is None or not os.path.isfile(begun) or os.path.exists(folder / RUN):
        check_new_folder(name, folder)
        return
    before, asked = TrainingFile.load(begun).anchored(), asked.anchored()
    others = [
        field
        for field in TrainingFile.model_fields
        if field not in HOW and getattr(before, field) != getattr(asked, field)
    ]
    if others:
        raise InputError(
            f"{name} must be a new folder or one with the same training, got {str(folder)!r}, which has another "
            f"{' and '.join(others)}; continue that one with: meden resume {folder}"
        )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made, while the body runs; it is left empty if that was new.

    Raises:
        InputError: if another process trains there.
    """
    new = [part for part in (folder.absolute(), *folder.absolute().parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / TRAINING).with_suffix(".lock")
    try:
        with writing(folder / TRAINING, name="--out", what="training"):
            yield
            lock.unlink(missing_ok=True)
    except (InputError, typer.Exit):
        if not (folder / TRAINING).exists():
            lock.unlink(missing_ok=True)
        raise
    finally:
        for part in new:
            with suppress(OSError):  # it holds what was trained
                part.rmdir()


@contextmanager
def beginning(folder: Path, asked: TrainingFile) -> Iterator[None]:
    """Write the file of a training; if the body refuses a new one as bad input, nothing of it is left."""
    new = [part for part in (folder.absolute(), *folder.absolute().parents) if not part.exists()]
    begun = (folder / TRAINING).exists()
    folder.mkdir(parents=True, exist_ok=True)
    asked.anchored().save(folder / TRAINING)
    try:
        yield
    except (InputError, typer.Exit) as error:
        refused = isinstance(error, InputError) or error.exit_code == BAD_INPUT
        if refused and not begun and not (folder / CHECKPOINTS).exists():
            shutil.rmtree(folder / TOKENS, ignore_errors=True)
            (folder / TRAINING).unlink()
            for part in new:
                with suppress(OSError):
                    part.rmdir()
        raise


def check_study_folder(name: str, folder: Path) -> None:
    """Check that a folder is new, or one whose ledger has lost the files that say what it is of, to go on in.

    Raises:
        InputError: if it holds something else.
    """
    with _refused(name, "a new or empty folder", folder):
        begun = not is_described(folder) and (folder / LEDGER).exists()
        goes_on = begun and bool(read_rows(folder / LEDGER).rows)
    if not goes_on:
        check_new_folder(name, folder)


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Make a new folder, and mark it while the body fills it: one that was left so may be filled again."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / UNFINISHED, {_FILLING: list(_FILLED)})
    yield
    (folder / UNFINISHED).unlink()


def _holds_nothing(folder: Path) -> bool:
    """Return whether there is nothing in a folder but what was left of a beginning, before the first result.

    A name alone makes no file meden's own: its content does, or the mark that says which files are being written.
    """
    marked = _marked(folder)
    return all(_is_left(path, marked) for path in folder.iterdir()) and not read_rows(folder / LEDGER).rows


def _marked(folder: Path) -> Collection[str]:
    """Return which files the mark of a folder that was being filled names; none if there is none."""
    try:
        names = read_json(folder / UNFINISHED).get(_FILLING)
    except Damaged:
        return ()
    return {UNFINISHED, *(name for name in names if name in _FILLED)} if isinstance(names, list) else ()


def _is_left(path: Path, marked: Collection[str]) -> bool:
    """Return whether a file of a new folder was left of a beginning."""
    if not path.is_file():
        return False
    name = path.name.removesuffix(".part")
    if path.name == LEDGER or path.name in marked or name in marked:
        return True  # another ledger is refused when it is read
    if name in (STUDY, ARRAYS):
        return is_written(path)
    content = path.read_bytes() if path.stat().st_size < _SHORT else b"long"
    if path.suffix == ".part":
        return not content or (name == UNFINISHED and begins_file(content))
    return path.stem == Path(LEDGER).stem and path.suffix in (".lock", ".pid") and bool(_HOLDER.fullmatch(content))


def check_new_file(name: str, path: Path, *, force: bool) -> None:
    """Check that an output file is not there yet, unless it may be replaced.

    Raises:
        InputError: if it is, if it is a folder, or if its folder is not there.
    """
    with _refused(name, "a writable file", path):
        if path.is_dir():
            raise InputError(f"{name} must be a file, got the folder {str(path)!r}")
        if path.exists() and not force:
            raise InputError(f"{name} must be a new file (or give --force), got {str(path)!r}, which exists")
        if not path.parent.is_dir():
            raise InputError(f"{name} must be in an existing folder, got {str(path)!r}")
        _try_to_write(path.parent)


@contextmanager
def _refused(name: str, what: str, path: Path) -> Iterator[None]:
    """Report what the operating system refuses as bad input."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise InputError(f"{name} must be {what}, got {str(path)!r}: {error.strerror}") from None


def _try_to_write(folder: Path) -> None:
    """Make a file and take it away; access rights alone do not say whether that can be done."""
    descriptor, path = tempfile.mkstemp(dir=folder, suffix=".part")
    os.close(descriptor)
    Path(path).unlink()


def say_unfinished(study: Study, folder: Path) -> None:
    """Say what is missing of a study that was cut off, on standard error."""
    if study.num_missing:
        own = study.model.name is not None
        say(f"unfinished: {study.reason}" + (f"; continue with: meden resume {folder}" if own else ""))


def holds_run(folder: Path) -> bool:
    """Return whether a folder holds a whole run; it says what is missing or was changed, and keeps a recipe aside."""
    if not (folder / RUN).exists():
        return False
    try:
        load_run(folder)
    except Damaged as error:
        recipe = folder / "recipe.yaml"
        if recipe.exists():  # a person may have changed it
            recipe.replace(recipe.with_name("recipe.before.yaml"))
        say(f"{error}: training and writing it again")
        return False
    return True


def trained(folder: Path, *, texts: bool = False) -> Run | Ensemble:
    """Return the run, or the ensemble of runs, of a folder that ``meden tune`` or ``meden fit`` wrote.

    ``texts`` says whether a model of language will do.

    Raises:
        InputError: if it holds none, or one of a model that is not meden's own (for those: :func:`meden.load_run`).
    """
    if (folder / STUDY).exists() and not (folder / RUN).exists():
        if is_described(folder) and read_json(folder / STUDY)["model"].get("trains"):
            raise InputError(
                f"folder must hold a model, got {str(folder)!r}, a study of a training function, which keeps its "
                "models itself"
            )
        raise InputError(f"folder {str(folder)!r} holds an unfinished study; continue with: meden resume {folder}")
    if not (folder / RUN).is_file():
        other = (folder / LEDGER).exists()
        hint = ", which holds a comparison or another search without a model" if other else ""
        hint = hint if folder.exists() else ": no such folder"
        wanted = f"folder must be one written by `meden tune` or `meden fit` (with a {RUN})"
        raise InputError(f"{wanted}, got {str(folder)!r}{hint}")
    summary = read_json(folder / RUN)
    if "num_runs" not in summary and summary.get("model_name") is None:
        raise InputError(
            f"folder must hold a model of meden's own, got {str(folder)!r} with a model made elsewhere: open it "
            "with meden.load_run(folder, make_model), where make_model is functools.partial(causal_model, "
            "ITS_FOLDER) for a transformers model"
        )
    run = load_run(folder)
    if isinstance(run, Run) and run.vocabulary is not None:
        if texts:
            return run
        raise InputError(
            f"folder must hold a model that predicts rows, got {str(folder)!r} with a language model: score it on "
            "a text with meden evaluate, or open it with meden.load_run"
        )
    if run.encoder is None:
        raise InputError(
            f"folder must hold a run on a table, got {str(folder)!r} with a run on tensors, which has no encoder"
        )
    return run
