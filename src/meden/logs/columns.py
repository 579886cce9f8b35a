"""Which column of a log is which: names as people and trainers use them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meden._checks import InputError, nearest

Row = Mapping[str, Any]
"""What was logged at once, by name; what was not logged is not there."""

HELD_OUT = ("valid", "val", "validation", "eval", "evaluation", "dev", "heldout", "holdout", "test")
"""Words for held-out rows, those that people choose by first."""
TRAIN = ("train", "training", "trn", "fit")
LOSS = ("loss", "losses", "logloss", "nll", "crossentropy", "bce", "mse", "objective")
PLAIN = ("mean", "avg", "average", "total", "running", "vs", "iterations", "iteration")
"""Words that make no other loss of a loss."""
STEP = ("step", "steps", "iteration", "iter", "epoch")
"""What a log is in the order of, the finest first."""
MOST_NAMED, MOST_CHARACTERS = 12, 60
"""Columns that a message names, and how much of each name."""


@dataclass(frozen=True)
class Columns:
    """Names of what a history is made from; None is not there."""

    train: str | None = None
    """Training loss as it was logged: in training mode, while the weights still move."""
    evaluated: str | None = None
    """Loss of training rows in evaluation mode, which counts where it is there."""
    valid: str | None = None
    """Loss of held-out rows."""
    scored: str | None = None
    """Loss of other rows, those that are looked at once."""
    step: str | None = None
    """What the rows are in the order of."""


@dataclass(frozen=True)
class _Loss:
    """A column that is a loss by its name."""

    name: str
    held_out: int | None
    """Place in ``HELD_OUT`` of the word for its rows; None are training rows."""
    evaluated: bool
    """Whether these are training rows in evaluation mode."""
    others: int
    """Words beyond rows and loss: a part of the loss, or one data set of several."""
    grain: int
    """0 is a mean over an epoch, 1 does not say, 2 is a single step."""


def words(name: str) -> list[str]:
    """Return the words of a name.

    Example:
        >>> words("valLoss"), words("Loss/train"), words("held-out loss")
        (['val', 'loss'], ['loss', 'train'], ['heldout', 'loss'])
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    apart = re.sub(r"held[\W_]+out", "heldout", apart)
    apart = re.sub(r"hold[\W_]+out", "holdout", apart)
    apart = re.sub(r"cross[\W_]+entropy", "crossentropy", apart)
    return [word for word in re.split(r"[\W_]+", apart) if word]


def find_columns(rows: Sequence[Row], name: str, train: str | None = None, valid: str | None = None) -> Columns:
    """Return which columns of a log are which.

    Args:
        rows: of the log.
        name: what messages call it.
        train: column of the training loss, if its name does not tell.
        valid: column of the held-out loss, likewise.

    Raises:
        InputError: if a column that was named is not there or is named for both, one that was not cannot be told, or
            one of both is missing.

    Example:
        >>> found = find_columns([{"epoch": 1, "loss": 0.7, "val_loss": 0.8}], "log")
        >>> found.train, found.valid, found.step
        ('loss', 'val_loss', 'epoch')
    """
    counts: dict[str, int] = {}
    for row in rows:
        for column in row:
            counts[column] = counts.get(column, 0) + 1
    for option, asked in (("train", train), ("valid", valid)):
        if asked is not None and asked not in counts:
            known = _listed(counts)
            raise InputError(f"{option} must be a column of {name} ({known}), got {asked!r}{nearest(asked, counts)}")
    if train is not None and train == valid:
        raise InputError(f"train and valid must be two columns of {name}, got {train!r} for both")
    losses = _losses(counts)
    held_out = [loss for loss in losses if loss.held_out is not None and loss.name != train]
    fitted = [loss for loss in losses if loss.held_out is None and loss.name != valid]
    logged = [loss for loss in fitted if not loss.evaluated]
    evaluated = [loss for loss in fitted if loss.evaluated]
    found = {
        "valid": valid or _chosen(held_out, counts, "valid", name),
        "train": train or _chosen(logged, counts, "train", name),
        "evaluated": None if train is not None else _chosen(evaluated, counts, "train", name),
    }
    has_train = found["train"] or found["evaluated"]
    if not has_train or not found["valid"]:
        missing = [
            *(["training losses (such as loss or train_loss)"] if not has_train else []),
            *(["held-out losses (such as val_loss or eval_loss)"] if not found["valid"] else []),
        ]
        raise InputError(
            f"{name} must have a column of {' and one of '.join(missing)}, got {_listed(counts)}; "
            "name the two with --train COLUMN --valid COLUMN (train=, valid= in Python)"
        )
    once = [loss.name for loss in held_out if "test" in words(loss.name) and counts[loss.name] == 1]
    scored = once[0] if once and once[0] != found["valid"] else None
    return Columns(**found, scored=scored, step=step_column(counts))


def step_column(names: Iterable[str]) -> str | None:
    """Return the column that a log is in the order of.

    Example:
        >>> step_column(["epoch", "trainer/global_step", "loss"]), step_column(["Step"]), step_column(["loss"])
        ('trainer/global_step', 'Step', None)
    """
    ranked = []
    for place, name in enumerate(names):
        last = words(name)[-1:]
        if last and last[0] in STEP and not set(words(name)) & {*LOSS, *TRAIN, *HELD_OUT}:
            ranked.append((STEP.index(last[0]), place, name))
    return min(ranked)[2] if ranked else None


def _losses(names: Iterable[str]) -> list[_Loss]:
    """Return the columns that are losses; where none says so, those named after their rows alone."""
    told = {name: words(name) for name in names}
    with_loss = {name: parts for name, parts in told.items() if set(parts) & set(LOSS)}
    rows_alone = {name: parts for name, parts in told.items() if parts and set(parts) <= {*TRAIN, *HELD_OUT}}
    return [_loss(name, parts) for name, parts in (with_loss or rows_alone).items()]


def _loss(name: str, parts: Sequence[str]) -> _Loss:
    rows = [part for part in parts if part in TRAIN or part in HELD_OUT]
    both = any(part in TRAIN for part in rows) and any(part in HELD_OUT for part in rows)
    evaluated = both and rows[0] in HELD_OUT  # eval_train_loss; but train/val_loss is held out
    held_out = next((HELD_OUT.index(part) for part in rows if part in HELD_OUT), None)
    known = {*TRAIN, *HELD_OUT, *LOSS, *PLAIN, "step", "epoch"}
    return _Loss(
        name,
        None if evaluated else held_out,
        evaluated,
        len([part for part in parts if part not in known]),
        0 if "epoch" in parts else 2 if "step" in parts else 1,
    )


def _chosen(losses: Sequence[_Loss], counts: Mapping[str, int], option: str, name: str) -> str | None:
    """Return the plainest of some losses.

    Raises:
        InputError: if several parts or data sets are as good.
    """
    if any(counts[loss.name] > 1 for loss in losses):
        losses = [loss for loss in losses if counts[loss.name] > 1]  # the others sum up, at the end
    if not losses:
        return None
    fewest = min(loss.others for loss in losses)
    plainest = [loss for loss in losses if loss.others == fewest]
    best = min(plainest, key=lambda loss: (loss.held_out or 0, loss.grain, -counts[loss.name]))
    alike = [loss.name for loss in plainest if (loss.held_out, loss.grain) == (best.held_out, best.grain)]
    if fewest and len(alike) > 1:
        raise InputError(
            f"{option} must be given when several losses of {name} qualify ({_listed(alike)}), got none: "
            f"--{option} COLUMN"
        )
    return best.name


def _listed(names: Iterable[str]) -> str:
    names = [" ".join(name.split())[:MOST_CHARACTERS] for name in names]
    return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "") or "no column"
