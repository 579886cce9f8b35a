"""What is known of a search's data once they are gone: what scores them, and how to find them again.

Legend: ``n`` rows, ``M`` numbers to predict.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meden._checks import InputError
from meden._shown import ShownFields
from meden.data import BUNDLED, Dataset, as_dataset
from meden.data.tables import Table
from meden.data.targets import Label, Task
from meden.member import constant_loss

SHOWN = 12
"""Digits of a hash that are shown."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DataSummary(ShownFields):
    """A data set without its features."""

    target: str
    """Name of the target."""
    task: Task
    classes: tuple[Label, ...]
    """Labels in sorted order; empty for regression."""
    num_features: int
    num_inputs: int
    """Inputs of a model, once all rows are encoded."""
    standardised: bool
    """Whether losses are of a standardised target."""
    robust: bool = False
    """Whether the numbers of a table are scaled by their quartiles."""
    constant_loss: float
    """Loss of the best constant model."""
    hash: str
    """SHA-256 of the contents."""
    origin: Mapping[str, Any] | None = None
    """Arguments of :func:`meden.as_dataset` that read them; None where that is not known."""
    labels: NDArray[Any]
    """Positions in ``classes`` (n,) or (n, M), or numbers (n,) or (n, M)."""
    groups: NDArray[np.int64] | None = None
    """Rows of one group stay together, (n,)."""
    weights: NDArray[np.float64] | None = None
    """What each row counts, (n,)."""

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Return the summary of a data set."""
        return cls(
            target=dataset.target,
            task=dataset.task,
            classes=dataset.classes,
            num_features=len(dataset.feature_names),
            num_inputs=dataset.fit_encoder(range(dataset.num_rows)).num_inputs,
            standardised=dataset.task == "regression" and isinstance(dataset.inputs, Table),
            robust=isinstance(dataset.inputs, Table) and dataset.inputs.robust,
            constant_loss=constant_loss(dataset),
            hash=dataset.content_hash(),
            origin=dataset.origin,
            labels=dataset.labels,
            groups=dataset.groups,
            weights=dataset.weights,
        )

    @property
    def num_rows(self) -> int:
        """Number of rows n."""
        return len(self.labels)

    @property
    def num_outputs(self) -> int:
        """Outputs of a model."""
        return len(self.classes) or int(np.prod(self.labels.shape[1:], dtype=int))

    def read(self, data: Any = None) -> Dataset:
        """Read the data again.

        Args:
            data: as for :func:`meden.tune`; None reads them from where they came.

        Raises:
            InputError: if it is not known where they are, or if they are others, naming both hashes.
        """
        dataset = data if isinstance(data, Dataset) else as_dataset(**self._arguments(data))
        if isinstance(dataset.inputs, Table):
            dataset = dataclasses.replace(dataset, inputs=dataclasses.replace(dataset.inputs, robust=self.robust))
        kept = {name: getattr(self, name) for name in ("groups", "weights") if getattr(dataset, name) is None}
        if dataset.num_rows == self.num_rows:
            dataset = dataclasses.replace(dataset, **kept)
        if (found := dataset.content_hash()) != self.hash:
            raise InputError(
                f"data must be the study's own, with hash {self.hash[:SHOWN]}, got data with hash {found[:SHOWN]}"
            )
        return dataset

    def _arguments(self, data: Any) -> dict[str, Any]:
        origin = self.origin or {}
        if data is not None:
            frame = data[0] if isinstance(data, (tuple, list)) else data
            columns = frame.columns if isinstance(frame, pd.DataFrame) else () if frame is not data else None
            drop = [name for name in origin.get("drop", ()) if columns is None or name in columns]
            read = {name: origin[name] for name in ("read", "sep", "decimal", "na") if name in origin}
            read |= {"data": data, "target": self.target, "task": self.task, "drop": drop}
            return read | {"groups": origin.get("groups")}
        place = origin.get("data")
        if place is None:
            raise InputError("data must be given to train again, since the study does not say where they came from")
        if place not in BUNDLED and not Path(place).exists():
            raise InputError(f"data must be given to train again, since {place!r} is missing: restore it, or pass data")
        known = inspect.signature(as_dataset).parameters
        if unknown := [name for name in origin if name not in known]:
            raise InputError(
                f"data must be given to train again, since {unknown[0]!r}, with which {place!r} was read, is "
                "unknown here"
            )
        return dict(origin)
