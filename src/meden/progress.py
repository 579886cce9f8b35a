"""The end of an epoch: what of each member is kept, which of them end, and how. Numbers only, for one and for many.

The unit of time is the evaluation point: one record of each member. Patience counts evaluation points, whatever lies
between two of them; trainers here evaluate once an epoch.

Legend: ``K`` members that are trained side by side; a model trained alone is K = 1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils import _pytree as pytree

from meden import stopping
from meden.history import Record
from meden.optim.schedules import PlateauState, plateau_start, plateau_update
from meden.recipe import Recipe

Status = Literal["completed", "stopped_early", "diverged", "failed", "dropped"]
Lost = Literal["diverged", "failed", "dropped"]
LOST: tuple[Lost, ...] = ("diverged", "failed", "dropped")
"""Endings of a run that leave no result."""
EXPLODED = 1e3
"""A loss so many times that of a model that says nothing is no result, finite or not."""


class Ending(NamedTuple):
    """How a run ended; programs go by the status, people read the reason."""

    status: Status
    reason: str


def diverged(epoch: int, step: int) -> Ending:
    """Return the ending of a run whose loss or weights left the finite numbers."""
    return Ending("diverged", f"loss or weights were not finite after epoch {epoch} (step {step})")


def stopped_early(patience: int, best_epoch: int) -> Ending:
    """Return the ending of a run whose held-out loss stopped falling."""
    return Ending("stopped_early", f"no better held-out loss for {patience} epochs after epoch {best_epoch}")


def completed(epochs: int) -> Ending:
    """Return the ending of a run that went all the way."""
    return Ending("completed", f"all {epochs} epochs")


def out_of_time(epoch: int) -> Ending:
    """Return the ending of a run that was given no more time."""
    return Ending("stopped_early", f"time limit reached after epoch {epoch}")


def failed(reason: str) -> Ending:
    """Return the ending of a run of somebody's own function that raised an error, or returned what is no result."""
    return Ending("failed", reason)


def dropped(epoch: int) -> Ending:
    """Return the ending of a run that lost a race."""
    return Ending("dropped", f"lost a race after epoch {epoch}")


def sound(ending: Ending, loss: float, null: float) -> Ending:
    """Return the ending of a run, which is ``diverged`` if the loss that it kept is beyond all reason.

    Args:
        ending: how it ended so far.
        loss: of the fitting rows, at the state that was kept.
        null: loss of a model that says nothing.
    """
    if ending.status not in LOST and loss > EXPLODED * max(null, 1.0):
        return Ending("diverged", f"the loss ended at {loss:.3g}, while a constant model has {null:.3g}")
    return ending


class Rules(NamedTuple):
    """What the recipes say about keeping and ending, (K,) each."""

    patience: NDArray[np.float64]
    """Infinite where nothing stops early: the newest state is then the one to keep."""
    min_delta: NDArray[np.float64]
    decay: NDArray[np.float64]
    """Factor of the plateau schedule; 1 for all others."""
    every: NDArray[np.float64]
    last_epoch: NDArray[np.int64]


def rules_of(recipes: Sequence[Recipe]) -> Rules:
    """Lay out the rules of K recipes."""
    stops = [recipe.early_stopping for recipe in recipes]
    return Rules(
        patience=np.array([np.inf if rule is None else rule.patience for rule in stops]),
        min_delta=np.array([0.0 if rule is None else rule.min_delta for rule in stops]),
        decay=np.array([r.schedule.decay if r.schedule.kind == "plateau" else 1.0 for r in recipes]),
        every=np.array([recipe.schedule.every for recipe in recipes], dtype=float),
        last_epoch=np.array([recipe.last_epoch for recipe in recipes]),
    )


class State(NamedTuple):
    """What is remembered from one evaluation point to the next, (K,) each."""

    stop: stopping.StopState
    plateau: PlateauState
    live: NDArray[np.bool_]
    """Which members still train."""
    best_epoch: NDArray[np.int64]
    """Epochs done at the state that is kept; 0 before there is one."""
    best_step: NDArray[np.int64]
    best_loss: NDArray[np.float64]
    """Loss of the fitting rows there."""


class Verdict(NamedTuple):
    """What one evaluation point says."""

    keep: NDArray[np.bool_]
    """(K,): the members whose present state is the one to keep."""
    endings: tuple[Ending | None, ...]
    """K: how a member ended just now; None if it goes on, or had ended before."""


class Outcome(NamedTuple):
    """How a run ended, and the state that was kept."""

    status: Status
    reason: str
    best_epoch: int
    best_step: int


def start(num_members: int) -> State:
    """Return the state before the first evaluation point."""
    shape = (num_members,)
    epoch, step = np.zeros((2, num_members), dtype=np.int64)
    live = np.ones(shape, dtype=bool)
    return State(stopping.start(shape), plateau_start(shape), live, epoch, step, np.full(shape, np.nan))


def advance(state: State, records: Sequence[Record], rules: Rules) -> tuple[State, Verdict]:
    """Take the newest record of each member.

    Args:
        state: from :func:`start` or the call before.
        records: K; those of members that ended before are not heeded.
        rules: of the K members.

    Example:
        >>> state, rules = start(1), rules_of([Recipe(early_stopping={"patience": 1})])
        >>> for epoch, loss in enumerate((0.3, 0.4), start=1):
        ...     scores = {"train": {"loss": 0.2}, "valid": {"loss": loss}}
        ...     record = Record(epoch=epoch, step=epoch, **scores, lr=0.1, num_zeros=0, weight_norm=1.0, seconds=0.0)
        ...     state, verdict = advance(state, [record], rules)
        >>> verdict.keep.tolist(), verdict.endings[0].status, state.best_epoch.tolist()
        ([False], 'stopped_early', [1])
    """
    held_out = np.array([record.valid["loss"] if record.valid else np.nan for record in records])
    stop, found = stopping.update(state.stop, held_out, patience=rules.patience, min_delta=rules.min_delta)
    keep = state.live & (found.improved | ~np.isfinite(rules.patience))
    state = state._replace(
        stop=stop,
        plateau=plateau_update(state.plateau, held_out, decay=rules.decay, every=rules.every),
        best_epoch=np.where(keep, [record.epoch for record in records], state.best_epoch),
        best_step=np.where(keep, [record.step for record in records], state.best_step),
        best_loss=np.where(keep, [record.train["loss"] for record in records], state.best_loss),
    )
    endings = tuple(_ending(state, row, record, rules) for row, record in enumerate(records))
    return state._replace(live=np.array([ending is None for ending in endings]) & state.live), Verdict(keep, endings)


def _ending(state: State, row: int, record: Record, rules: Rules) -> Ending | None:
    if not state.live[row]:
        return None
    if not record.is_finite():
        return diverged(record.epoch, record.step)
    if state.stop.waited[row] >= rules.patience[row]:
        return stopped_early(int(rules.patience[row]), int(state.best_epoch[row]))
    return completed(record.epoch) if record.epoch >= rules.last_epoch[row] else None


def drop(state: State, rows: Collection[int]) -> State:
    """End the training of some members, by their rows."""
    return state._replace(live=state.live & ~np.isin(np.arange(len(state.live)), list(rows)))


def take(state: State, rows: Sequence[int]) -> State:
    """Return the state of some members alone."""
    taken: State = pytree.tree_map(lambda numbers: numbers[list(rows)], state)
    return taken


def join(one: State, other: State) -> State:
    """Return the state of two groups of members as that of one."""
    joined: State = pytree.tree_map(lambda mine, its: np.concatenate([mine, its]), one, other)
    return joined


def outcome(state: State, row: int, ending: Ending, last: Record, null: float) -> Outcome:
    """Return what came of a member.

    Args:
        state: after its last evaluation point.
        row: of the member.
        ending: of the member.
        last: its newest record; its state counts if none was kept.
        null: loss of a model that says nothing.
    """
    epoch, step, loss = last.epoch, last.step, last.train["loss"]
    if state.best_epoch[row]:
        epoch, step, loss = int(state.best_epoch[row]), int(state.best_step[row]), float(state.best_loss[row])
    return Outcome(*sound(ending, loss, null), epoch, step)


def to_lists(state: State) -> list[list[Any]]:
    """Return the state as plain numbers."""
    return [numbers.tolist() for numbers in pytree.tree_leaves(state)]


def from_lists(lists: Sequence[Sequence[Any]]) -> State:
    """Rebuild a state from :func:`to_lists`."""
    like, nest = pytree.tree_flatten(start(len(lists[0])))
    numbers = [np.asarray(own, dtype=old.dtype) for own, old in zip(lists, like, strict=True)]
    state: State = pytree.tree_unflatten(numbers, nest)
    return state
