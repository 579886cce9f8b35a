"""The best state of a model while a job trains it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from torch import Tensor, nn

from meden import checkpoint
from meden._checks import Damaged


class BestState:
    """A copy of a model's state at its best epoch, in memory and, for a job that goes on after a kill, in a file.

    Args:
        model: that is trained.
        path: of the file; None writes none.
    """

    def __init__(self, model: nn.Module, path: Path | None) -> None:
        self._model, self._path = model, path
        self._state: dict[str, Tensor] | None = None
        self._epoch = 0
        if path is not None:
            with suppress(Damaged):
                self._state, values = checkpoint.load(path)
                self._epoch = values["epoch"]

    def keep(self, epoch: int) -> None:
        """Keep the present state, which is the best."""
        self._state, self._epoch = checkpoint.state_of(self._model), epoch
        if self._path is not None:
            checkpoint.save(self._path, self._state, {"epoch": epoch})

    def put_back(self, epoch: int) -> None:
        """Put the state of the best epoch into the model; one of another epoch is none of this training."""
        if self._state is not None and self._epoch == epoch:
            self._model.load_state_dict(self._state, strict=False)  # a state may hold more than tensors
