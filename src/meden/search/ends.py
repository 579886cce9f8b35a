"""Where the runs of a search ended: weights and history, which a ledger has no room for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load
from torch import Tensor

from meden import checkpoint as files
from meden.history import History
from meden.study.ledger import Key
from meden.workers.coordinator import Result


class End(NamedTuple):
    """Where a run ended."""

    weights: dict[str, Tensor]
    history: History


class Ends:
    """Ends by key; in files of a folder, or in memory if there is none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._ends: dict[Key, End] = {}

    def keep(self, key: Key, result: Result) -> None:
        """Keep the end of a run whose result came with weights."""
        assert result.weights is not None
        end = End(load(result.weights), result.history)
        if self._folder is None:
            self._ends[key] = end
        else:
            files.save(self._path(self._folder, key), end.weights, {"history": end.history.to_list()})

    def __getitem__(self, key: Key) -> End:
        """Return the end of a run.

        Raises:
            InputError: if its file is missing or damaged.
        """
        if self._folder is None:
            return self._ends[key]
        weights, values = files.load(self._path(self._folder, key))
        return End(weights, History.from_list(values["history"]))

    @staticmethod
    def _path(folder: Path, key: Key) -> Path:
        return folder / f"{key.configuration}_{key.fold}_{key.seed}.safetensors"
