"""Learning rate over time: multipliers of the base rate, one per optimizer step.

Legend: ``T`` optimizer steps in all, ``t`` one of them, from 0.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from meden import stopping
from meden._settings import Settings

Kind = Literal["constant", "step", "exponential", "linear", "cosine", "one_cycle", "plateau"]


class Schedule(Settings):
    """How the learning rate changes over time.

    Args:
        kind: ``step``: times ``decay`` every ``every`` epochs. ``exponential``: times ``decay`` per epoch, changing at
            each step. ``linear`` and ``cosine``: down to ``final``. ``one_cycle``: up from 1/25 over 30 % of the time,
            then down to ``final`` (L. Smith 2018). ``plateau``: times ``decay`` after ``every`` epochs without a better
            held-out loss.
        warmup_epochs: the rate rises linearly over so many epochs first, 0 or more; the schedule fills the rest.
        decay: factor of ``step``, ``exponential`` and ``plateau``, in (0, 1].
        every: epochs between two falls of ``step``, 1 or more; epochs waited for by ``plateau``.
        final: last factor of ``linear``, ``cosine`` and ``one_cycle``, in [0, 1].

    Example:
        >>> factors(Schedule(kind="step", every=1, decay=0.5), epochs=3, steps_per_epoch=2).tolist()
        [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    kind: Kind = "constant"
    warmup_epochs: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    decay: float = Field(default=0.1, gt=0, le=1)
    every: int = Field(default=10, ge=1)
    final: float = Field(default=0.0, ge=0, le=1)


def factors(schedule: Schedule, *, epochs: int, steps_per_epoch: int) -> NDArray[np.float64]:
    """Return the multiplier of the learning rate at each step, shape (T,), T = epochs * steps_per_epoch.

    ``plateau`` depends on the scores, so that only its warm-up is in here; see :func:`plateau_update`.
    """
    total = epochs * steps_per_epoch
    warmup = min(round(schedule.warmup_epochs * steps_per_epoch), total)
    rising = (np.arange(warmup) + 1) / (warmup + 1)
    return np.concatenate([rising, _main(schedule, total - warmup, steps_per_epoch)])


def _main(schedule: Schedule, total: int, steps_per_epoch: int) -> NDArray[np.float64]:
    t = np.arange(total, dtype=np.float64)
    progress = t / max(total - 1, 1)
    if schedule.kind == "step":
        return schedule.decay ** np.floor(t / (schedule.every * steps_per_epoch))
    if schedule.kind == "exponential":
        return schedule.decay ** (t / steps_per_epoch)
    if schedule.kind == "linear":
        return 1 + (schedule.final - 1) * progress
    if schedule.kind == "cosine":
        return _cosine(1.0, schedule.final, progress)
    if schedule.kind == "one_cycle":
        peak = max(0.3 * total - 1, 1e-9)
        up = _cosine(1 / 25, 1.0, t / peak)
        return np.where(t <= peak, up, _cosine(1.0, schedule.final, (t - peak) / max(total - 1 - peak, 1e-9)))
    return np.ones(total)


def _cosine(first: float, last: float, progress: NDArray[np.float64]) -> NDArray[np.float64]:
    return last + (first - last) * (1 + np.cos(np.pi * progress)) / 2


class PlateauState(NamedTuple):
    """What the plateau schedule remembers: numbers, or arrays (K,) for a population."""

    stall: stopping.StopState
    factor: NDArray[np.float64]


def plateau_start(shape: tuple[int, ...] = ()) -> PlateauState:
    """Return the state before the first epoch."""
    return PlateauState(stopping.start(shape), np.ones(shape))


def plateau_update(state: PlateauState, score: ArrayLike, *, decay: ArrayLike, every: ArrayLike) -> PlateauState:
    """Take the held-out loss of one more epoch; the factor falls after ``every`` epochs without a better one.

    Example:
        >>> state = plateau_start()
        >>> for loss in (1.0, 2.0, 2.0):
        ...     state = plateau_update(state, loss, decay=0.1, every=2)
        >>> float(state.factor)
        0.1
    """
    stall, verdict = stopping.update(state.stall, score, patience=every)
    waited = np.where(verdict.stop, 0, stall.waited)
    factor = np.where(verdict.stop, state.factor * np.asarray(decay), state.factor)
    return PlateauState(stall._replace(waited=waited), factor)
