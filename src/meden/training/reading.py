"""Rows as a model takes them: whatever the user gave becomes a source, and is read on the model's device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from meden.data import DatasetSource, Pair, Source, TensorSource, is_dataset
from meden.data.sources import Rows
from meden.data.targets import Task
from meden.objective import as_pair, check_classes, on_device

FEW = 8
"""Rows by which a source that is read as needed is known again."""


def as_source(name: str, rows: Any, model: nn.Module) -> Source:
    """Return a pair (x, y) as a source of tensors on the model's device, a ``Dataset`` as a source of its items.

    Raises:
        InputError: if they are neither, nor a source of their own.
    """
    if isinstance(rows, Source):
        return rows
    return DatasetSource(rows) if is_dataset(rows) else TensorSource(*as_pair(name, rows, model))


def first_rows(source: Source, model: nn.Module) -> Pair:
    """Return x and y on the model's device: two rows, or all of those that are in memory anyway."""
    if isinstance(source, TensorSource):
        return source.x, source.y
    x, y = next(source.read([range(min(2, len(source)))]))
    return on_device(x, model), on_device(y, model)


def fingerprint(source: Source) -> str:
    """Return a hash of a source's rows: of all of them in memory, else of their number and of a few of them.

    Rows that are others at each reading are known by their number alone.
    """
    num = len(source)
    few = np.unique(np.linspace(0, num - 1, FEW).astype(np.int64))
    found = hashlib.sha256(str(num).encode())
    rows = [range(num) if isinstance(source, TensorSource) else few]
    first, again = next(source.read(rows)), next(source.read(rows))
    if not all(map(torch.equal, first, again)):  # a data set with a generator of its own
        return found.hexdigest()
    for part in first:
        found.update(f"{part.dtype} {tuple(part.shape)}".encode())
        found.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def classes_of(task: Task, shape: torch.Size) -> int | None:
    """Return how many classes outputs of a shape, () or (..., C), distinguish; None for regression."""
    return max([2, *shape[-1:]]) if task == "classification" else None


def read(
    name: str, source: Source, parts: Sequence[Rows], seed: int, model: nn.Module, num_classes: int | None
) -> Iterator[Pair]:
    """Yield rows on the model's device.

    Raises:
        InputError: naming the source, if a row has a class that is none of ``num_classes``. Tensors in memory were
            checked as a whole.
    """
    for x, y in source.read(parts, seed):
        if num_classes is not None and not isinstance(source, TensorSource):
            check_classes(name, y, num_classes)
        yield on_device(x, model), on_device(y, model)
