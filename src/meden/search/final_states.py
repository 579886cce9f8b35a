"""Where the runs of a search ended: weights and history, which a ledger has no room for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load
from torch import Tensor

from meden import checkpoint as files
from meden.data import Dataset
from meden.history import History
from meden.member import EncodedData, Member, ModelMaker, build_model, constant_loss, made_with
from meden.recipe import prepare_noise
from meden.run import HeldOut, Run
from meden.study.ledger import Key, Row
from meden.workers.coordinator import Result


class FinalState(NamedTuple):
    """Where a run ended."""

    weights: dict[str, Tensor]
    history: History


class FinalStates:
    """Final states by key; in files of a folder, or in memory if there is none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._ends: dict[Key, FinalState] = {}

    def keep(self, key: Key, result: Result) -> None:
        """Keep the end of a run whose result came with weights."""
        assert result.weights is not None
        end = FinalState(load(result.weights), result.history)
        if self._folder is None:
            self._ends[key] = end
        else:
            files.save(self._path(self._folder, key), end.weights, {"history": end.history.to_list()})

    def __getitem__(self, key: Key) -> FinalState:
        """Return the end of a run.

        Raises:
            InputError: if its file is missing or damaged.
        """
        if self._folder is None:
            return self._ends[key]
        weights, values = files.load(self._path(self._folder, key))
        return FinalState(weights, History.from_list(values["history"]))

    @staticmethod
    def _path(folder: Path, key: Key) -> Path:
        return folder / f"{key.configuration}_{key.fold}_{key.seed}.safetensors"


def run_of(
    make_model: ModelMaker, dataset: Dataset, share: EncodedData, member: Member, end: FinalState, row: Row
) -> Run:
    """Return a run as it was where it ended.

    Args:
        make_model: of its model.
        dataset: the rows.
        share: the rows as its fold encodes them.
        member: what was trained.
        end: where it ended.
        row: of the ledger.
    """
    model = build_model(make_model, share, dataset, replace(member, start=end.weights))
    prepare_noise(model, member.recipe, member.run_seed)
    return Run(
        model=model.eval(),
        recipe=member.recipe,
        history=end.history,
        status=row.status,
        reason=row.reason,
        best_step=row.best_step,
        best_epoch=row.best_epoch,
        seed=member.run_seed,
        held_out=HeldOut(row.losses, row.scores, row.outputs),
        encoder=share.encoder,
        **made_with(make_model, share, dataset, member),
        constant_loss=constant_loss(dataset),
    )
