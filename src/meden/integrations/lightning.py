"""Lightning: exact penalties, noise and diagnosis as a callback, and an honest search around a LightningModule.

Both packages will do, ``lightning`` and ``pytorch_lightning``: whichever the program has imported, or else has.
"""

from __future__ import annotations

import copy
import functools
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader, Subset

from meden._checks import InputError
from meden._randomness import seed_all
from meden.data.sources import is_dataset
from meden.integrations._lightning_callback import MedenCallback, pl
from meden.integrations._trainers import (
    SHORT_NAMES,
    Told,
    TrainerFunction,
    arguments,
    check_settings,
    per_row,
    short_names,
)
from meden.noise import derive

__all__ = ["MedenCallback", "trainer_function"]

_Checkpoint: Any = pl.callbacks.Checkpoint
_OURS = ("lightning.", "pytorch_lightning.")

Loaders = tuple[Iterable[Any], Iterable[Any], Iterable[Any]]


def trainer_function(
    make_module: Callable[..., Any],
    data: Any,
    *,
    returns: str = "logits",
    val_loss: str = "val_loss",
    batch_size: int = 32,
    keep: str = "best",
    **trainer: Any,
) -> Callable[[Any], Any]:
    """Return a training function for :func:`meden.tune` around a LightningModule.

    The held-out loss that the module logs decides about races, early stopping and the state to keep; the rows that
    score it are read once, at the end. A job that was killed goes on after its last whole epoch, to the same result.

    Args:
        make_module: called with a job's parameters, returns the module. ``l1``, ``l2`` (canonical, proximal),
            ``dropout`` and ``batch_size`` are no arguments of it: they need no line in the module.
        data: a map-style ``Dataset`` of all rows, or a function of a job that returns three loaders: of the rows to
            fit, of those to stop by, and of those that score, these in the order of ``job.score``.
        returns: what ``predict_step`` gives for a row: ``"logits"``, ``"probabilities"``, ``"predictions"`` or
            ``"losses"``. Lightning's own ``predict_step`` calls the module, with x of batches (x, y).
        val_loss: name under which the module logs its held-out loss.
        batch_size: rows of a batch, unless the space has it.
        keep: the state that is scored, the ``"best"`` by held-out loss or the ``"last"``.
        **trainer: for Lightning's ``Trainer``, such as ``accelerator`` or ``gradient_clip_val``. Each job has copies of
            ``callbacks``; a :class:`MedenCallback` may be among them.

    Raises:
        InputError: if an argument is none of these; in a job, if the space names no argument of ``make_module`` or the
            module logs no held-out loss.
    """
    check_settings("make_module", make_module, keep, returns, batch_size)
    if not (is_dataset(data) or callable(data)):
        raise InputError(f"data must be a map-style Dataset or a function of a job, got {type(data).__name__}")
    if taken := {"max_epochs", "default_root_dir"} & set(trainer):
        raise InputError(f"trainer settings must leave {sorted(taken)[0]} to the search, got it set")

    settings = {"returns": returns, "val_loss": val_loss, "batch_size": batch_size, "keep": keep}
    return functools.partial(TrainerFunction(make_module, _train), data=data, **settings, **trainer)


def _train(
    make_module: Callable[..., Any],
    job: Any,
    *,
    data: Any,
    returns: str,
    val_loss: str,
    batch_size: int,
    keep: str,
    callbacks: Sequence[Any] = (),
    **trainer: Any,
) -> dict[str, Any]:
    own = arguments(make_module, job.params, (*SHORT_NAMES, "batch_size"))
    size = job.params.get("batch_size", batch_size)
    fit, stop, score = _loaders(data, job, size) if is_dataset(data) else data(job)
    module = make_module(**own)
    if keep == "best":
        job.keep_best(module)
    loader, callbacks = _Seeded(fit, job.seed), copy.deepcopy(callbacks)
    given = next((callback for callback in callbacks if isinstance(callback, MedenCallback)), MedenCallback())
    asked = short_names(job.params, given.attachment)
    penalties = MedenCallback(
        asked.regularizers,
        noise=asked.noise,
        diagnose=False,
        seed=job.seed,
        optimizer=given.optimizer,
        train_loss=given.train_loss,
    )
    epochs = _Epochs(job, loader, penalties, val_loss)
    settings = (
        _SILENT
        | trainer
        | {"callbacks": [*(callback for callback in callbacks if callback is not given), penalties, epochs]}
    )
    with _quiet():
        fitting = pl.Trainer(max_epochs=job.epochs, default_root_dir=job.folder, **settings)
        fitting.fit(module, loader, stop, ckpt_path=epochs.path if epochs.path.exists() else None)
        if not epochs.has_told:  # nothing was left to be trained
            epochs.told.again(job)
        with job.scoring():
            parts = fitting.predict(module, score if _predicts(module) else _Inputs(score))
    return per_row(parts, returns)


_SILENT = {
    "devices": 1,
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what Lightning says at every start: a search starts hundreds of runs."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The '.*_dataloader' does not have many workers|.*LeafSpec.* is deprecated")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _loaders(data: Any, job: Any, batch_size: int) -> Loaders:
    watched = job.watch(data)
    parts = [Subset(watched, rows.tolist()) for rows in (job.fit, job.stop, job.score)]
    fit, stop, score = (DataLoader(part, batch_size, shuffle=part is parts[0]) for part in parts)
    return fit, stop, score


def _predicts(module: Any) -> bool:
    """Say whether a module has a ``predict_step`` of its own."""
    return not type(module).predict_step.__module__.startswith(_OURS)


class _Inputs:
    """A loader's batches (x, y) without y."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield batch[0] if isinstance(batch, (tuple, list)) else batch

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]


class _Seeded:
    """A loader that seeds the global generators as an epoch's first batch is read: all that is drawn in it follows.

    Lightning asks for the iterator several times, and before it says which epoch that is.
    """

    def __init__(self, loader: Iterable[Any], seed: int) -> None:
        self.loader, self.seed, self.epoch = loader, seed, 0

    def __iter__(self) -> Iterator[Any]:
        seed_all(derive(self.seed, "rows", self.epoch))  # when the first batch is asked for
        yield from self.loader

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]


class _Epochs(_Checkpoint):  # type: ignore[misc]
    """Tells a job of each epoch, and keeps what is needed to go on after it.

    Lightning ends an epoch with what is a ``Checkpoint``: all else, the module's own hook too, has been done by then.
    """

    def __init__(self, job: Any, loader: _Seeded, penalties: MedenCallback, val_loss: str) -> None:
        self.job, self.loader, self.penalties, self.val_loss = job, loader, penalties, val_loss
        self.path = Path(job.checkpoint_dir) / "last.ckpt"
        self.told, self.has_told = Told(), False

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.told)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.told = Told(**state_dict)
        self.loader.epoch = self.told.epochs

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:  # noqa: ARG002
        trainer.should_stop, self.has_told = self.told.again(self.job), True

    def on_train_epoch_start(self, trainer: Any, pl_module: nn.Module) -> None:  # noqa: ARG002
        self.loader.epoch = trainer.current_epoch
        seed_all(derive(self.job.seed, "hooks", trainer.current_epoch))

    def on_train_epoch_end(self, trainer: Any, pl_module: nn.Module) -> None:  # noqa: ARG002
        if self.val_loss not in trainer.callback_metrics:
            raise InputError(f"val_loss must name a metric that the module logs, got {self.val_loss!r}")
        logged = [record.train["loss"] for record in self.penalties.history if record.epoch > trainer.current_epoch]
        trainer.should_stop = self.told.tell(self.job, float(trainer.callback_metrics[self.val_loss]), *logged)
        trainer.save_checkpoint(self.path)
