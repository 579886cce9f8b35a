"""The log of a Trainer as a history, so that any Trainer's training can be diagnosed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meden._checks import InputError
from meden.history import History
from meden.logs.alignment import aligned
from meden.logs.columns import Columns

TRAIN, VALID = "eval_train_loss", "eval_loss"


def history_of(log: Sequence[Mapping[str, Any]], valid: str | None = None) -> History:
    """Return the history of a Trainer's log: a record for each evaluation, or for each logged loss without any.

    The training loss of a record is the mean of the losses that were logged since the record before, weighted by their
    steps: losses in training mode, of weights on their way. Dropout makes them larger than the same rows' loss in
    evaluation mode, so that overfitting looks smaller than it is. For the same footing give the Trainer some training
    rows to evaluate, ``eval_dataset={"train": some, "valid": held_out}``: where a log has ``eval_train_loss``, that is
    the training loss.

    Args:
        log: ``trainer.state.log_history``, also as ``trainer_state.json`` holds it.
        valid: name of the held-out loss; None is ``"eval_loss"``, or else the only other ``eval_..._loss``.

    Returns:
        the history; ``epoch`` counts its records, which are epochs where the Trainer evaluates once an epoch. Weights'
        norm and zeros are there if a :class:`meden.integrations.huggingface.MedenCallback` was.

    Raises:
        InputError: if it is no such log, no loss was logged, ``valid`` was not, or it is None and several held-out
            losses were.

    Example:
        >>> log = [{"loss": 0.7, "step": 5}, {"loss": 0.4, "step": 10}, {"eval_loss": 0.6, "step": 10}]
        >>> history_of(log).column("train.loss"), history_of(log).column("valid.loss")
        ([0.55], [0.6])
    """
    _check(log)
    columns = Columns(train="loss", evaluated=TRAIN, valid=_held_out_name(log, valid), step="step")
    history = aligned(log, columns, "log")
    if not len(history):
        raise InputError("log must hold a training loss ('loss', or eval_train_loss), like trainer.state.log_history")
    return history


def _check(log: Any) -> None:
    if not isinstance(log, Sequence) or not all(isinstance(row, Mapping) for row in log):
        raise InputError(f"log must be a list of dictionaries, like trainer.state.log_history, got {log!r:.80}")
    for row in log:
        if not isinstance(row.get("step"), int):
            raise InputError(f"log must give the step of each row, like trainer.state.log_history, got {row!r:.80}")
        for name, value in row.items():
            if _is_loss(name) and not isinstance(value, int | float):
                raise InputError(f"log must hold losses that are numbers, got {name}={value!r:.80}")


def _is_loss(name: str) -> bool:
    return name == "loss" or (name.startswith("eval_") and name.endswith("_loss"))


def _held_out_name(log: Sequence[Mapping[str, Any]], asked: str | None) -> str:
    names = {name for row in log for name in row if _is_loss(name)}
    others = sorted(names - {TRAIN, "loss"})
    if asked is None and (VALID in others or not others):
        return VALID
    if asked in others or (asked is None and len(others) == 1):
        return asked or others[0]
    listed = ", ".join(others) or "of which there are none"
    raise InputError(f"valid must be one of the logged losses, {listed}, got {asked!r}")
