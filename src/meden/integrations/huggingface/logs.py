"""The log of a Trainer as a history, so that any Trainer's training can be diagnosed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from meden._checks import InputError
from meden.history import History, Record

PENALTY = "penalty/"
"""What the names of penalties begin with in a log that
:class:`meden.integrations.huggingface.MedenCallback` has written to."""
ZERO_GROUPS = "num_zero_groups/"
"""The same, of the counts of groups that are zero."""
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
    valid = _held_out_name(log, valid)
    records = [_record(number, *part, valid) for number, part in enumerate(_parts(log, valid), start=1)]
    if not records:
        raise InputError(
            "log must hold a training loss ('loss', or eval_train_loss), as trainer.state.log_history does"
        )
    return History(tuple(records))


def _check(log: Any) -> None:
    if not isinstance(log, Sequence) or not all(isinstance(row, Mapping) for row in log):
        raise InputError(f"log must be a list of dictionaries, as trainer.state.log_history is, got {log!r:.80}")
    for row in log:
        if not isinstance(row.get("step"), int):
            raise InputError(f"log must say the step of each row, as trainer.state.log_history does, got {row!r:.80}")
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
    listed = ", ".join(others) or "of which there is none"
    raise InputError(f"valid must be one of the losses that were logged, {listed}, got {asked!r}")


def _parts(log: Sequence[Mapping[str, Any]], valid: str) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    """Cut a log into the rows of one record each, with the step they begin after; what follows the last is left out."""
    ends = valid if any(valid in row for row in log) else "loss"
    ending = {row["step"] for row in log if ends in row}
    part: list[Mapping[str, Any]] = []
    start = 0
    for place, row in enumerate(log):
        part.append(row)
        is_last = place + 1 == len(log) or log[place + 1]["step"] != row["step"]
        if is_last and row["step"] in ending and any("loss" in one or TRAIN in one for one in part):
            yield start, part
            part, start = [], row["step"]


def _record(number: int, start: int, rows: Sequence[Mapping[str, Any]], valid: str) -> Record:
    told: dict[str, Any] = {name: value for row in rows for name, value in row.items()}
    held_out = told.get(valid)
    return Record(
        epoch=number,
        step=int(told["step"]),
        train={"loss": told[TRAIN] if TRAIN in told else _mean_loss(start, rows)},
        valid=None if held_out is None else {"loss": held_out},
        penalties=_under(PENALTY, told),
        num_zero_groups=_under(ZERO_GROUPS, told),
        lr=told.get("learning_rate", math.nan),
        num_zeros=told.get("num_zeros"),
        weight_norm=told.get("weight_norm"),
        seconds=told.get("seconds", math.nan),
    )


def _under(prefix: str, told: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in told.items() if name.startswith(prefix)}


def _mean_loss(start: int, rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean over the steps of losses that each are a mean over the steps since the one before."""
    logged = [(int(row["step"]), float(row["loss"])) for row in rows if "loss" in row]
    steps = [start, *(step for step, _ in logged)]
    sizes = [max(step - before, 1) for before, step in itertools.pairwise(steps)]
    return math.fsum(size * loss for size, (_, loss) in zip(sizes, logged, strict=True)) / sum(sizes)
