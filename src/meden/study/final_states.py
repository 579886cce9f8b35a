"""Where the runs of a search ended: weights and history, which a ledger has no room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load
from torch import Tensor

from meden import checkpoint as files
from meden._checks import InputError
from meden.data import Dataset, Fold
from meden.history import History
from meden.member import EncodedData, Member, ModelMaker, build_model, constant_loss, made_with
from meden.recipe import prepare_noise
from meden.run import HeldOut, Run
from meden.study.ledger import Key, Row

WEIGHTS = "weights"
"""Folder of final states, in that of a study or a path."""


class FinalState(NamedTuple):
    """Where a run ended."""

    weights: dict[str, Tensor]
    history: History


class FinalStates:
    """Final states by key; in files of a folder, or in memory if there is none.

    Args:
        folder: of the files, or None.
        numbers: of the folds that are asked for as 0, 1 and so on; None is these themselves.
    """

    def __init__(self, folder: Path | None, numbers: Sequence[int] | None = None) -> None:
        self._folder, self._numbers = folder, numbers
        self._ends: dict[Key, FinalState] = {}

    def of_folds(self, kept: Sequence[Fold], folds: Sequence[Fold]) -> FinalStates:
        """Return those of some of all folds, which are numbered anew."""
        places = {id(fold): place for place, fold in enumerate(folds)}
        found = FinalStates(self._folder, [places[id(fold)] for fold in kept])
        found._ends = self._ends
        return found

    def keep(self, key: Key, weights: bytes, history: History) -> None:
        """Keep the end of a run, whose state dict came as safetensors writes it."""
        end = FinalState(load(weights), history)
        if self._folder is None:
            self._ends[key] = end
        else:
            files.save(self._path(self._folder, key), end.weights, {"history": end.history.to_list()})

    def __getitem__(self, key: Key) -> FinalState:
        """Return the end of a run.

        Raises:
            InputError: if it was not kept, or its file is damaged.
        """
        if self._numbers is not None:
            key = key._replace(fold=self._numbers[key.fold])
        if key not in self._ends and (self._folder is None or not self._path(self._folder, key).exists()):
            raise InputError(
                "models must have been kept during the search (keep_models=True), got none for configuration "
                f"{key.configuration}, fold {key.fold}"
            )
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
