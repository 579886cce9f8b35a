"""A Trainer as the training function of a search."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.utils.data import Subset
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, get_last_checkpoint

from meden._checks import InputError
from meden.integrations.huggingface.callback import FILE, TRAINER_STATE, MedenCallback
from meden.integrations.huggingface.logs import VALID, history_of

_TRAINED: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Models that jobs of this process have trained."""


class Job(Protocol):
    """What is used of a job of :func:`meden.tune`."""

    fit: Any
    stop: Any
    score: Any
    epochs: int
    checkpoint_dir: Path
    report: Callable[..., bool]
    scoring: Callable[[], Any]
    watch: Callable[[Any], Any]


MakeTrainer = Callable[[Any, Any, Any], Any]


def trainer_function(make_trainer: MakeTrainer, dataset: Any, *, row_losses: bool = False) -> TrainerFunction:
    """Return the training function of a search that trains with a Trainer of yours.

    In each job the Trainer trains for ``job.epochs`` epochs, evaluates the stop split after each, reports its loss,
    and stops when it is told to; the state with the lowest stop loss is scored. Checkpoints lie in
    ``job.checkpoint_dir``, and a job that was interrupted goes on from the last of them. For these the Trainer's
    settings are overruled: epochs, output folder, when to evaluate, log and save, which state is loaded at the end.

    Args:
        make_trainer: called as ``make_trainer(job, train_dataset, eval_dataset)`` in each job; returns a
            ``transformers.Trainer`` of these data sets, with a new model, settings from ``job.params`` and
            ``seed=job.seed``. Callbacks such as :class:`MedenCallback` may be in it.
        dataset: all rows, by number, as the Trainer takes them.
        row_losses: score by the model's own loss of each row instead of by its logits; for models that answer each
            token, such as language models.

    Returns:
        ``train(job)`` for :func:`meden.tune`.

    Raises:
        InputError: within a job, if ``make_trainer`` returns another thing, or a model that a job has trained before:
            its weights know rows that this job scores.

    Example:
        >>> def make_trainer(job, train_dataset, eval_dataset):
        ...     model = AutoModelForSequenceClassification.from_pretrained("...")
        ...     args = TrainingArguments(learning_rate=job.params["lr"], seed=job.seed)
        ...     return Trainer(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset)
        >>> train = trainer_function(make_trainer, dataset=[])

    Then ``meden.tune(train, rows=labels, space={"lr": meden.LogUniform(1e-5, 1e-3)})``.
    """
    return TrainerFunction(make_trainer, dataset, row_losses)


@dataclass(frozen=True, eq=False)
class TrainerFunction:
    """What :func:`trainer_function` returns: a function that goes to other processes if its parts do."""

    make_trainer: MakeTrainer
    dataset: Any
    row_losses: bool

    def __call__(self, job: Job) -> dict[str, Any]:
        """Train a job, and return what it is scored by."""
        watched = job.watch(self.dataset)
        fit, stop, score = (Subset(watched, np.asarray(rows).tolist()) for rows in (job.fit, job.stop, job.score))
        trainer = self.make_trainer(job, fit, stop)
        _check(trainer)
        _settle(trainer, job)
        _train(trainer, job)
        with job.scoring():
            return _row_losses(trainer, score) if self.row_losses else _outputs(trainer.predict(score).predictions)


class _Reporter(TrainerCallback):
    """Reports each evaluation, and stops the training when it is told to."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        newest = history_of(state.log_history)[-1]
        control.should_training_stop |= _report(self.job, newest.epoch, newest)


def _report(job: Job, epoch: int, record: Any) -> bool:
    return bool(job.report(epoch, record.valid["loss"], record.train["loss"]))


def _check(trainer: Any) -> None:
    model = getattr(trainer, "model", None)
    if not isinstance(model, nn.Module) or not hasattr(trainer, "predict"):
        raise InputError(f"make_trainer must return a transformers.Trainer, got {type(trainer).__name__}")
    if model in _TRAINED:
        raise InputError(
            "make_trainer must make a new model in each job, got one that a job has trained before: its weights know "
            "rows that this job scores"
        )
    _TRAINED.add(model)


def _settle(trainer: Any, job: Job) -> None:
    """Have the Trainer evaluate, log and save once an epoch, and end in its best state."""
    args = trainer.args
    args.output_dir = str(job.checkpoint_dir)
    args.num_train_epochs, args.max_steps = job.epochs, -1
    args.eval_strategy = args.logging_strategy = IntervalStrategy.EPOCH
    args.save_strategy, args.save_total_limit, args.save_only_model = SaveStrategy.EPOCH, 1, False
    args.load_best_model_at_end, args.metric_for_best_model, args.greater_is_better = True, VALID, False
    for shown in (PrinterCallback, ProgressCallback):  # a search has a bar of its own
        trainer.remove_callback(shown)
    trainer.add_callback(_Reporter(job))


def _train(trainer: Any, job: Job) -> None:
    folder = _last_whole(trainer, job.checkpoint_dir)
    if folder is not None:
        state = TrainerState.load_from_json(str(folder / TRAINER_STATE))
        told = [_report(job, record.epoch, record) for record in history_of(state.log_history)]
        if told[-1]:
            trainer.args.num_train_epochs = len(told)  # nothing is left to be trained
    trainer.train(resume_from_checkpoint=None if folder is None else str(folder))


def _last_whole(trainer: Any, folder: Path) -> Path | None:
    """Return the last checkpoint that was written to its end; what was not is removed."""
    wanted = [TRAINER_STATE]
    if any(isinstance(callback, MedenCallback) for callback in trainer.callback_handler.callbacks):
        wanted.append(FILE)
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
        f"model must answer each row with one number or (n, C) logits, got {outputs.shape}; give row_losses=True"
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
