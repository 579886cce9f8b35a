"""TensorBoard's event files as rows of a log, through its own reader (extra ``trackers``)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from meden._checks import InputError
from meden.logs.columns import Row, find_columns

PATTERN = "*tfevents*"
APART = 0.5
"""Share of the training losses' last step that the held-out losses' last step does not reach where they count other
things: a step a batch, and a step an epoch."""
_Event = tuple[float, float, str, float]
"""Step, moment in seconds, name, value."""


def has_events(folder: Path) -> bool:
    """Say whether there are event files in a folder, or below it."""
    return next(folder.rglob(PATTERN), None) is not None


def rows_of_events(path: Path) -> dict[str, list[Row]]:
    """Return the rows of each run of an event file, or of the folders below one.

    A folder of event files is a run; where none of them has both losses, those of one parent are (Keras writes
    ``train`` and ``validation``, ``SummaryWriter.add_scalars`` a folder for each curve).

    Raises:
        InputError: if tensorboard is not installed, or the files hold no numbers.
    """
    folders = [path] if path.is_file() else sorted({file.parent for file in path.rglob(PATTERN)})
    scalars = {folder: _scalars(folder) for folder in folders}
    if not any(scalars.values()):
        raise InputError(f"path must be TensorBoard event files that hold numbers, got none in {str(path)!r}")
    runs = {_name(folder, path): _rows(events) for folder, events in scalars.items() if events}
    if len(runs) == 1 or any(_is_whole(rows) for rows in runs.values()):
        return runs
    joined: dict[Path, list[_Event]] = {}
    for folder, events in scalars.items():
        parent = path if folder == path else folder.parent
        under = "" if folder == path else f"{folder.name}/"
        joined.setdefault(parent, []).extend((step, at, under + tag, value) for step, at, tag, value in events)
    return {_name(parent, path): _rows(events) for parent, events in joined.items() if events}


def _name(folder: Path, path: Path) -> str:
    return "" if folder == path else str(folder.relative_to(path))


def _scalars(path: Path) -> list[_Event]:
    """Return all numbers of one folder, or file."""
    reader = _imported("tensorboard.backend.event_processing.event_accumulator")
    as_arrays = _imported("tensorboard.util.tensor_util").make_ndarray
    files = reader.EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    files.Reload()
    tags = files.Tags()
    events = [(e.step, e.wall_time, tag, e.value) for tag in tags["scalars"] for e in files.Scalars(tag)]
    for tag in tags["tensors"]:
        for event in files.Tensors(tag):
            value = as_arrays(event.tensor_proto)
            if value.size == 1 and value.dtype.kind in "fiu":
                events.append((event.step, event.wall_time, tag, float(value.reshape(()))))
    return [(float(step), float(at), str(tag), float(value)) for step, at, tag, value in events]


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(
            "tensorboard must be installed to read its event files: pip install 'meden[trackers]'"
        ) from None


def _is_whole(rows: list[Row]) -> bool:
    try:
        find_columns(rows, "log")
    except InputError:
        return False
    return True


def _rows(events: list[_Event]) -> list[Row]:
    """Return rows in the order of their steps, or of time where training and evaluation count other things."""
    rows = [({"step": step, tag: value}, at) for step, at, tag, value in sorted(events, key=lambda e: (e[0], e[1]))]
    plain: list[Row] = [row for row, _ in rows]
    if not _is_whole(plain):
        return plain
    columns = find_columns(plain, "log")
    train, valid = (
        max((row["step"] for row in plain if name in row), default=0.0)
        for name in (columns.train or columns.evaluated, columns.valid)
    )
    if valid >= APART * train:
        return plain
    in_time = sorted(rows, key=lambda pair: pair[1])
    return [{name: value for name, value in row.items() if name != "step"} for row, _ in in_time]
