"""One training with rows held out: some decide when to stop, others only score. Of a table, or of a text.

Legend: ``T`` tokens of a window.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from meden.data import Dataset, Part, TensorSource
from meden.data.text_file import TextFile
from meden.distributed import Sharding, World
from meden.history import Record
from meden.member import (
    EncodedData,
    Member,
    ModelMaker,
    build_model,
    check_member,
    constant_loss,
    encode_folds,
    made_with,
    model_origin,
    start_model,
)
from meden.recipe import Recipe
from meden.run import Run
from meden.training.dividing import check_divides
from meden.training.fit import prepare
from meden.training.one import Training
from meden.training.scoring import score
from meden.training.sharded import Sharded

OnEpoch = Callable[[Record], None]
HERE = torch.device("cpu")


class HoldOut(abc.ABC):
    """A training that is ready to begin, on one process or many."""

    make_model: ModelMaker
    recipe: Recipe
    seed: int
    row_size = 1
    """Tokens of a row."""

    @abc.abstractmethod
    def parts(self) -> tuple[nn.Module, Any, Any]:
        """Return a fresh model, the fitting rows, and those that decide when to stop (None if there are none)."""

    @abc.abstractmethod
    def finished(self, run: Run) -> Run:
        """Return a run that has ended with the scores of the rows that score, and what it came from."""

    def check(self, num_processes: int, sharding: Sharding) -> None:
        """Check all that can be checked by one process.

        Raises:
            InputError: before any training, if it cannot be done so.
        """
        check_divides(self.training(), num_processes, sharding)

    def training(
        self,
        make: Callable[..., Training] = Training,
        *,
        device: torch.device = HERE,
        checkpoint: Path | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Training:
        """Return the training, before its first epoch."""
        model, fit, stop = self.parts()
        given: dict[str, Any] = {"seed": self.seed, "checkpoint": checkpoint, "on_epoch": on_epoch, "make": make}
        return prepare(model.to(device), fit, stop, self.recipe, **given)

    def spread(self, world: World, sharding: Sharding, **given: Any) -> Sharded:
        """Return the training of all processes; arguments are those of :meth:`training`."""
        make = functools.partial(Sharded, world=world, sharding=sharding)
        training = self.training(make, device=world.device, **given)
        assert isinstance(training, Sharded)
        return training


@dataclasses.dataclass
class TableHoldOut(HoldOut):
    """A training on a table."""

    make_model: ModelMaker
    member: Member
    dataset: Dataset

    def __post_init__(self) -> None:
        check_member(self.make_model, self.dataset.num_rows, self.member)
        assert self.member.fold is not None
        self.recipe, self.seed, self.fold = self.member.recipe, self.member.run_seed, self.member.fold

    @functools.cached_property
    def share(self) -> EncodedData:
        """All rows, encoded by what the fitting rows showed."""
        return encode_folds(self.dataset, [self.fold])[self.fold]

    def parts(self) -> tuple[nn.Module, Any, Any]:
        """Return a fresh model and encoded rows."""
        model = build_model(self.make_model, self.share, self.dataset, self.member)
        fit, stop = ((self.share.x[rows], self.share.y[rows]) for rows in (self.fold.fit, self.fold.stop))
        return model, fit, stop if len(self.fold.stop) else None

    def finished(self, run: Run) -> Run:
        """Return the run with its scores, and the encoder that reads new rows for it."""
        rows = Part(TensorSource(self.share.x, self.share.y), self.fold.score)
        held_out = score(run, rows, self.dataset.task, self.share.encoder.target)
        origin = made_with(self.make_model, self.share, self.dataset, self.member)
        known: dict[str, Any] = {"encoder": self.share.encoder, "constant_loss": constant_loss(self.dataset)}
        return dataclasses.replace(run, held_out=held_out, **known, **origin)


@dataclasses.dataclass
class TextHoldOut(HoldOut):
    """A training of a model of language on a text, whose end is held out: its last part scores."""

    make_model: ModelMaker
    """Called with ``num_inputs``, T, and ``num_tokens``."""
    model_args: Mapping[str, Any]
    recipe: Recipe
    fit: TextFile
    stop: TextFile
    scored: TextFile
    seed: int = 0

    def __post_init__(self) -> None:
        self.row_size = self.fit.context

    @property
    def arguments(self) -> dict[str, Any]:
        """What the model is made with."""
        return {"num_inputs": self.fit.context, "num_tokens": self.fit.vocabulary.num_tokens, **self.model_args}

    def parts(self) -> tuple[nn.Module, Any, Any]:
        """Return a fresh model and windows of the text."""
        x, _ = next(self.fit.read([range(1)]))
        model = start_model(self.make_model, self.arguments, Member(self.recipe, seed=self.seed), x)
        return model, self.fit, self.stop

    def finished(self, run: Run) -> Run:
        """Return the run with the loss of each window that scores."""
        held_out = score(run, self.scored, "classification")
        origin = model_origin(self.make_model, self.arguments)
        return dataclasses.replace(run, held_out=held_out, vocabulary=self.fit.vocabulary, **origin)
