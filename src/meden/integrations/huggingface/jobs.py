"""A Trainer as the training function of a search."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from torch.utils.data import Subset
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, get_last_checkpoint
from transformers.utils import logging

from meden._checks import InputError
from meden.integrations._trainers import (
    SHORT_NAMES,
    Told,
    TrainerFunction,
    arguments,
    check_settings,
    short_names,
)
from meden.integrations.huggingface.callback import FILE, TRAINER_STATE, MedenCallback
from meden.integrations.huggingface.logs import history_of

_BATCH = "batch_size"


def trainer_function(
    make_trainer: Callable[..., Any], dataset: Any, *, keep: str = "best", row_losses: bool = False
) -> Callable[[Any], dict[str, Any]]:
    """Return a training function for :func:`meden.tune` around a Trainer.

    In each job the Trainer evaluates the stop split after each epoch: that loss decides about races, early stopping
    and the state to keep; the rows that score it are read once, at the end. A job that was killed goes on after its
    last whole epoch, to the same result. What the search decides overrules the Trainer's settings: epochs, seed, output
    folder, when to evaluate, to log and to save.

    Args:
        make_trainer: called as ``make_trainer(train_dataset, eval_dataset, **parameters)`` with a job's parameters,
            returns a ``transformers.Trainer`` of these rows with a new model. ``l1``, ``l2`` (canonical, proximal),
            ``dropout`` and ``batch_size`` are no arguments of it: they need no line in it. A :class:`MedenCallback` may
            be among its callbacks.
        dataset: all rows, by number, as the Trainer takes them.
        keep: the state that is scored, the ``"best"`` by stop loss or the ``"last"``.
        row_losses: score by the model's own loss of each row instead of by its logits; for models that answer each
            token, such as language models.

    Raises:
        InputError: if an argument is none of these; in a job, if the space names no argument of ``make_trainer``, or it
            returns another thing than a Trainer, or one that evaluates no loss.

    Example:
        >>> def make_trainer(train_dataset, eval_dataset, lr=5e-5):
        ...     model = AutoModelForSequenceClassification.from_pretrained("...")
        ...     args = TrainingArguments(learning_rate=lr)
        ...     return Trainer(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset)
        >>> train = trainer_function(make_trainer, dataset=[])

    Then ``meden.tune(train, rows=labels, space={"lr": meden.LogUniform(1e-5, 1e-3), "l2": ...})``.
    """
    check_settings("make_trainer", make_trainer, keep, None, 1)
    settings = {"dataset": dataset, "keep": keep, "row_losses": row_losses}
    return functools.partial(TrainerFunction(make_trainer, _train), **settings)


def _train(make_trainer: Callable[..., Any], job: Any, *, dataset: Any, keep: str, row_losses: bool) -> dict[str, Any]:
    own = arguments(make_trainer, job.params, (*SHORT_NAMES, _BATCH), num_given=2)
    watched = job.watch(dataset)
    fit, stop, score = (Subset(watched, rows.tolist()) for rows in (job.fit, job.stop, job.score))
    trainer = make_trainer(fit, stop, **own)
    _check(trainer)
    _settle(trainer, job)
    if keep == "best":
        job.keep_best(trainer.model)
    folder = _last_whole(trainer, job.checkpoint_dir)
    transformers.set_seed(job.seed)
    with _quiet():
        try:
            trainer.train(resume_from_checkpoint=None if folder is None else str(folder))
        except _Told:
            trainer.is_in_train = False
        with job.scoring():
            return _row_losses(trainer, score) if row_losses else _outputs(trainer.predict(score).predictions)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the bars of what is written: a search has a bar of its own."""
    was = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if was:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


class _Told(Exception):
    """A training that goes on is told at once that it had come to its end."""


class _Reporter(TrainerCallback):
    """Reports each epoch once it was evaluated, and stops the training when it is told to."""

    def __init__(self, job: Any) -> None:
        self.job, self.told = job, Told()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        if state.global_step:
            newest = history_of(state.log_history)[-1]
            self.told = Told(newest.epoch, _stop_loss(newest), newest.train["loss"])
            if self.told.again(self.job):
                raise _Told

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        newest = history_of(state.log_history)[-1]
        control.should_training_stop |= self.told.tell(self.job, _stop_loss(newest), newest.train["loss"])


def _stop_loss(record: Any) -> float:
    if record.valid is None:
        raise InputError(
            "make_trainer must return a Trainer that evaluates a loss, got none: set label_names in its arguments "
            "to the inputs that are labels"
        )
    return float(record.valid["loss"])


def _check(trainer: Any) -> None:
    model = getattr(trainer, "model", None)
    if not isinstance(model, nn.Module) or not hasattr(trainer, "predict"):
        raise InputError(f"make_trainer must return a transformers.Trainer, got {type(trainer).__name__}")


def _settle(trainer: Any, job: Any) -> None:
    """Have the Trainer do what the search decides."""
    args = trainer.args
    args.output_dir, args.seed = str(job.checkpoint_dir), job.seed
    args.num_train_epochs, args.max_steps = job.epochs, -1
    args.eval_strategy = args.logging_strategy = IntervalStrategy.EPOCH
    args.save_strategy, args.save_total_limit, args.save_only_model = SaveStrategy.EPOCH, 1, False
    args.load_best_model_at_end = False
    if _BATCH in job.params:
        args.per_device_train_batch_size = trainer._train_batch_size = job.params[_BATCH]
    for shown in (PrinterCallback, ProgressCallback):  # a search has a bar of its own
        trainer.remove_callback(shown)
    if any(name in job.params for name in SHORT_NAMES):
        asked = short_names(job.params, next((callback.attachment for callback in _callbacks(trainer)), None))
        trainer.remove_callback(MedenCallback)
        trainer.add_callback(MedenCallback(asked.regularizers, noise=asked.noise, diagnose=False))
    trainer.add_callback(_Reporter(job))


def _callbacks(trainer: Any) -> list[MedenCallback]:
    return [callback for callback in trainer.callback_handler.callbacks if isinstance(callback, MedenCallback)]


def _last_whole(trainer: Any, folder: Path) -> Path | None:
    """Return the last checkpoint that was written to its end; what was not is removed."""
    wanted = [TRAINER_STATE, *(FILE for _ in _callbacks(trainer))]
    while (last := get_last_checkpoint(folder)) is not None:  # type: ignore[no-untyped-call]
        if all(Path(last, name).is_file() for name in wanted):
            return Path(last)
        shutil.rmtree(last)
    return None


def _outputs(predictions: Any) -> dict[str, Any]:
    """Return logits (n, C), or the numbers (n,) of a model with one output."""
    first = predictions[0] if isinstance(predictions, tuple) else predictions
    outputs = np.asarray(first)
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        return {"logits": outputs}
    if outputs.size == len(outputs):
        return {"predictions": outputs.reshape(-1)}
    raise InputError(
        f"model must return one number or (n, C) logits for each row, got {outputs.shape}; give row_losses=True"
    )


def _row_losses(trainer: Any, rows: Any) -> dict[str, Any]:
    """Return the model's own loss of each row alone, (n,)."""
    trainer.model.eval()
    losses = []
    for row in range(len(rows)):
        inputs = trainer._prepare_inputs(trainer.data_collator([rows[row]]))
        with torch.no_grad():
            losses.append(float(trainer.compute_loss(trainer.model, inputs)))
    return {"losses": np.array(losses)}
