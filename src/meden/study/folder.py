"""The folder of a study: ``study.json`` and ``study.safetensors`` say what is searched, the ledger what was found.

Legend: ``F`` folds, ``n`` rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from meden._checks import Damaged, InputError, check_count, is_json, parse_json
from meden._checksums import FILES, check_files, checksums, is_sealed
from meden._fields import Count, check_all, checked_fields, damaged
from meden._files import FIELD, begins_file, check_format, read_json, write_json, write_whole
from meden.data import Fold
from meden.data.targets import IGNORED, TASKS
from meden.recipe import Recipe
from meden.space.names import Space
from meden.space.serialise import space_from_dict, space_to_dict
from meden.study.data_summary import DataSummary
from meden.study.ledger import LEDGER
from meden.study.metrics import check_metric
from meden.study.model_reference import ModelReference

STUDY, ARRAYS = "study.json", "study.safetensors"
ROWS = ("labels", "groups", "weights")
"""What is known of each row, in the second file."""
FOLDS = "folds"
MOST_SEEDS = 1_000
_SUMMARY = tuple(known.name for known in fields(DataSummary) if known.name not in ROWS)
_SETTINGS = {"seeds": int, "seed": int, "metric": str}
"""Those that reading goes by, and what they are."""
MOST_HEADER = 4096
"""Bytes of what the second file says of its tensors, at most."""
PARTS = ("fit", "stop", "score")
"""A row's part in a fold is written as its place here, from 1; 0 is none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Description:
    """What a study is, apart from what it found."""

    data: DataSummary
    folds: Sequence[Fold]
    space: Space
    recipe: Recipe
    model: ModelReference
    settings: Mapping[str, Any]
    """Those arguments of :func:`meden.tune` that decide the result and are plain values."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Plain values that the caller of the search left there."""
    num_fits: Count
    """Fits that are planned; once the search has ended, those that are there."""
    identity: str = ""
    """Of the ledger, :attr:`meden.study.ledger.Ledger.digest`."""


def write_description(description: Description, folder: Path) -> None:
    """Write what a study is, each file whole or not at all; what newer versions wrote there besides is kept."""
    before = _before(folder)
    before.pop(FIELD, None)
    write_whole(folder / ARRAYS, save(_arrays(description)))
    notes = {**before.get("notes", {}), **description.notes}
    written = before | _to_dict(description) | {"notes": notes, FILES: checksums(folder, [ARRAYS])}
    write_json(folder / STUDY, written)


def is_described(folder: Path) -> bool:
    """Return whether a folder says what it is the study of, in files that are whole.

    Raises:
        InputError: if they are of another major version.
    """
    try:
        check_files(folder / STUDY, read_json(folder / STUDY))
    except Damaged:
        return False
    return True


def is_written(path: Path) -> bool:
    """Return whether one of the two files, or what is put beside it first, is as it was written, or a beginning of it.

    A file of the same name that somebody else wrote is not.
    """
    content = path.read_bytes()
    if path.name.startswith(STUDY):
        return is_sealed(content) or (begins_file(content) and not is_json(content))
    size, header = int.from_bytes(content[:8], "little"), content[8:]
    if len(header) < size <= MOST_HEADER:  # torn
        return any(
            header.startswith(start[: len(header)]) for start in (f'{{"{name}"'.encode() for name in (*ROWS, FOLDS))
        )
    try:
        named = parse_json(header[:size])
    except ValueError:
        return not content
    return isinstance(named, dict) and FOLDS in named and named.keys() <= {*ROWS, FOLDS, "__metadata__"}


def read_description(
    folder: Path,
    *,
    penalties: Mapping[str, type[Any]] | None = None,
    augmentations: Mapping[str, type[Any]] | None = None,
) -> Description:
    """Read what :func:`write_description` wrote; nothing is written, and no data are needed.

    Args:
        folder: of the study.
        penalties: the user's own that the recipe holds, by name; None is none.
        augmentations: likewise.

    Raises:
        Damaged: an InputError, if a file is missing or was changed since it was written, naming it.
        InputError: if the folder holds no study, or one of another major version.
    """
    path = folder / STUDY
    if not path.is_file():
        other = (folder / LEDGER).exists()
        hint = ", which holds a comparison or another search: resume it with its own command" if other else ""
        raise InputError(f"folder must hold a study (a {STUDY}), got {str(folder)!r}{hint}")
    written = read_json(path)
    check_files(path, written, (ARRAYS,))
    with damaged(f"{str(folder)!r} must be a study that meden wrote"):
        rows = _arrays_of(folder / ARRAYS)
        summary = checked_fields(DataSummary, written["data"], *_SUMMARY)
        data = DataSummary(**summary | {name: rows[name] for name in ROWS if name in rows})
        _check_rows(data, rows[FOLDS])
        for name, kind in _SETTINGS.items():
            check_all(f"{name} must be in the settings", type(written["settings"][name]) is kind, written["settings"])
        check_metric(written["settings"]["metric"], data)
        check_count("seeds", written["settings"]["seeds"], high=MOST_SEEDS)
        return Description(
            data=data,
            folds=[_fold(parts) for parts in rows[FOLDS]],
            space=space_from_dict(written["space"]),
            recipe=Recipe.from_dict(
                written["recipe"],
                newer=check_format(written.get(FIELD), path),
                penalties=penalties,
                augmentations=augmentations,
            ),
            model=ModelReference(**checked_fields(ModelReference, written["model"])),
            **checked_fields(Description, written, "settings", "notes", "num_fits", "identity"),
        )


def _arrays_of(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None


def _check_rows(data: DataSummary, folds: NDArray[Any]) -> None:
    """Check that labels are of the task and its classes, and folds of the rows."""
    check_all(
        "classes must be there for a classification only", bool(data.classes) == (data.task == TASKS[0]), data.task
    )
    check_all("classes must differ", len(set(data.classes)) == len(data.classes), data.classes)
    if data.classes:
        counted = data.labels[data.labels != IGNORED] if data.labels.ndim > 1 else data.labels
        inside = data.labels.dtype.kind == "i" and 0 <= counted.min() and counted.max() < len(data.classes)
        check_all("labels must be positions in the classes", bool(inside), data.labels)
    shaped = folds.ndim == 2 and folds.shape[1] == data.num_rows and len(folds) > 0
    check_all("folds must score some of the rows", shaped and bool((folds == len(PARTS)).any(1).all()), folds.shape)
    for name in ROWS[1:]:
        values = getattr(data, name)
        check_all(f"{name} must be of the rows", values is None or values.shape == (data.num_rows,), name)


def _before(folder: Path) -> dict[str, Any]:
    """Return what is written already; nothing, where that is missing or damaged."""
    try:
        return read_json(folder / STUDY)
    except Damaged:
        return {}


def _to_dict(description: Description) -> dict[str, Any]:
    summary = {f.name: getattr(description.data, f.name) for f in fields(DataSummary) if f.name not in ROWS}
    return {
        "data": summary | {"classes": list(summary["classes"])},
        "space": space_to_dict(description.space),
        "recipe": description.recipe.to_dict(),
        "model": asdict(description.model),
        "settings": dict(description.settings),
        "num_fits": description.num_fits,
        "identity": description.identity,
    }


def _arrays(description: Description) -> dict[str, NDArray[Any]]:
    data, membership = description.data, np.zeros((len(description.folds), description.data.num_rows), np.uint8)
    for parts, fold in zip(membership, description.folds, strict=True):
        for number, name in enumerate(PARTS, start=1):
            parts[getattr(fold, name)] = number
    rows = {name: np.ascontiguousarray(getattr(data, name)) for name in ROWS if getattr(data, name) is not None}
    return rows | {FOLDS: membership}


def _fold(parts: NDArray[np.uint8]) -> Fold:
    return Fold(**{name: np.flatnonzero(parts == number) for number, name in enumerate(PARTS, start=1)})
