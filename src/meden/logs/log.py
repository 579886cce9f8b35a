"""What another trainer logged of one run, as a history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from meden._checks import InputError, one_line, parse_json
from meden.history import History
from meden.logs.alignment import aligned, number
from meden.logs.columns import Row, find_columns
from meden.logs.events import has_events, rows_of_events
from meden.logs.frames import check_rows, rows_of_csv, rows_of_frame, rows_of_lists

FILES = ("metrics.csv", "trainer_state.json")
"""What Lightning and the Trainer leave in their folders."""
CHECKPOINT = "checkpoint-"
SUMMARY = "train_runtime"
"""Name in the row that a Trainer sums up with; its loss is that of the whole training."""
FORMS = (
    "lists by name, a list of dictionaries, a DataFrame, or the path of a csv file, a trainer_state.json, event files "
    "of TensorBoard or a folder of these"
)


@dataclass(frozen=True)
class Log:
    """One run."""

    history: History
    """A record for each evaluation."""
    name: str = ""
    """Of the run; empty where a log holds one."""
    as_logged: bool = True
    """Whether its training losses are means over the training: in training mode, while the weights still move."""
    scored: float | None = None
    """Loss of other held-out rows than those that were looked at all along; None where there are none."""


def read_logs(log: Any, *, train: str | None = None, valid: str | None = None, name: str = "log") -> tuple[Log, ...]:
    """Return the runs that other trainers' logs tell of.

    Columns are told by the words in their names (``loss`` or ``train_loss`` beside ``val_loss``, ``valid_loss`` or
    ``eval_loss``, ``Loss/train`` beside ``Loss/val``), the mean over an epoch before that of a step. There is a record
    for each evaluation; its training loss is the mean, weighted by steps, of what was logged since the one before,
    or, where the log has it, the loss of training rows in evaluation mode (``eval_train_loss``). What was logged
    after the last evaluation is left out. Runs of a log that holds several are left out where they were not evaluated.

    Args:
        log: lists by name, such as ``{"train": [...], "valid": [...]}`` or the ``history`` of Keras; rows, such as
            ``trainer.state.log_history``; a DataFrame; or a path: ``metrics.csv`` of Lightning, ``trainer_state.json``,
            a csv file of Keras' ``CSVLogger``, an export of Weights & Biases, event files of TensorBoard, or a folder
            that holds one of these; or a list of several of these, such as one for each fold.
        train: column of the training loss, if its name does not tell.
        valid: column of the held-out loss, likewise.
        name: what messages call it.

    Returns:
        a log for each run, one or more.

    Raises:
        InputError: if it is none of these, empty, without a training or a held-out loss, or goes back in its steps.

    Example:
        >>> (log,) = read_logs({"loss": [0.9, 0.6], "val_loss": [1.0, 0.8]})
        >>> log.history.column("train.loss"), log.history.column("valid.loss"), log.as_logged
        ([0.9, 0.6], [1.0, 0.8], True)
    """
    if isinstance(log, (list, tuple)) and log and not any(_is_plain(part) for part in log):
        runs = [read_logs(part, train=train, valid=valid, name=f"{name}[{k}]") for k, part in enumerate(log)]
        return tuple(run for part in runs for run in part)
    found: list[Log] = []
    told: InputError | None = None
    for run, rows in _runs(log, name).items():
        try:
            found.append(_log(rows, run, train, valid, f"{name} ({run})" if run else name))
        except _NotEvaluated as error:
            told = error
    if told is not None and not found:
        raise told
    return tuple(found)


class _NotEvaluated(InputError):
    """There is no held-out loss, or no training loss."""


def _is_plain(part: Any) -> bool:
    """Say whether this is a number, or one row, and not a log of its own."""
    is_row = isinstance(part, Mapping) and not any(
        hasattr(v, "__len__") and not isinstance(v, str) for v in part.values()
    )
    return is_row or part is None or isinstance(part, (int, float))


def _log(rows: list[Row], run: str, train: str | None, valid: str | None, name: str) -> Log:
    rows = [row for row in rows if SUMMARY not in row]
    if not any(rows):
        raise InputError(f"{name} must hold at least one epoch, got none")
    try:
        columns = find_columns(rows, name, train, valid)
    except InputError as error:
        raise _NotEvaluated(str(error)) from None
    history = aligned(rows, columns, name)
    if not len(history):
        raise _NotEvaluated(f"{name} must hold training losses before its first evaluation, got none")
    scored = [row[columns.scored] for row in rows if columns.scored is not None and columns.scored in row]
    return Log(
        history,
        run,
        as_logged=columns.evaluated is None,
        scored=number(scored[0], f"{name} must hold losses that are numbers in {columns.scored}") if scored else None,
    )


def _runs(log: Any, name: str) -> dict[str, list[Row]]:
    """Return the rows of each run, by its name."""
    if isinstance(log, (str, Path)):
        return _runs_of_path(Path(log))
    for attribute in ("log_history", "history"):  # of transformers' TrainerState, of Keras' History
        log = getattr(log, attribute, log)
    if isinstance(log, pd.DataFrame):
        return rows_of_frame(log)
    if isinstance(log, Mapping):
        return {"": rows_of_lists(log, name)}
    if isinstance(log, (list, tuple)):
        return {"": list(check_rows(log, name))}
    raise InputError(f"{name} must be {FORMS}, got {log!r:.60}")


def _runs_of_path(path: Path) -> dict[str, list[Row]]:
    if path.is_dir():
        return _runs_of_folder(path)
    if not path.exists():
        raise InputError(f"path must be an existing file or folder, got {str(path)!r}")
    if "tfevents" in path.name:
        return rows_of_events(path)
    if path.suffix == ".json":
        return {"": list(check_rows(_log_history(path), str(path)))}
    return rows_of_csv(path)


def has_log(folder: Path) -> bool:
    """Say whether another trainer has left a log in a folder."""
    return _newest(folder) is not None or has_events(folder)


def _runs_of_folder(folder: Path) -> dict[str, list[Row]]:
    file = _newest(folder)
    if file is not None:
        return _runs_of_path(file)
    if has_events(folder):
        return rows_of_events(folder)
    raise InputError(
        f"path must be a folder with {', '.join(FILES)} or event files, got {str(folder)!r} (meden's own are "
        "opened by meden.load_study and meden.load_run)"
    )


def _newest(folder: Path) -> Path | None:
    """Return the file that a trainer has left in its folder, or in its last checkpoint."""
    checkpoints = [path for path in folder.glob(f"{CHECKPOINT}*/{FILES[1]}") if _number_of(path).isdigit()]
    files = [folder / file for file in FILES if (folder / file).is_file()]
    return next(iter(files), max(checkpoints, key=lambda path: int(_number_of(path)), default=None))


def _number_of(path: Path) -> str:
    return path.parent.name.removeprefix(CHECKPOINT)


def _log_history(path: Path) -> Any:
    try:
        fields = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"path must be JSON, got {str(path)!r}: {one_line(error)}") from None
    history = fields.get("log_history") if isinstance(fields, dict) else fields
    if not isinstance(history, list):
        raise InputError(
            f"path must be a trainer_state.json with a log_history, got {str(path)!r} (a history.json of meden is "
            "opened by meden.History.load)"
        )
    return history
