"""Who follows a search while it runs: Optuna's database, TensorBoard, MLflow, or a tracker of one's own.

The ledger is what counts. What trackers write is a copy of it, and may be deleted.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from meden._checks import one_line
from meden.study.ledger import Key, Row
from meden.study.results import Trial

TELL_EVERY, SELDOM = 2.0, 10.0
"""Seconds between two reports of epochs, at least and at most."""
SHARE = 0.01
"""Between the two, reports of epochs take this share of the time."""


class Losses(NamedTuple):
    """Losses of one fit after an epoch, in evaluation mode.

    Attributes:
        key: which fit.
        epoch: epochs done, from 1.
        train_loss: mean data loss of the fitting rows.
        stop_loss: mean data loss of the stop split; NaN where there is none.
    """

    key: Key
    epoch: int
    train_loss: float
    stop_loss: float


class Tracker(Protocol):
    """What follows a search. One that was cut off and goes on tells of everything again, from the beginning."""

    name: str
    """What it writes, in words."""

    def start(self, study: str) -> None:
        """Called when the search begins, or goes on.

        Args:
            study: a name of the study, the same whenever it goes on.
        """

    def begin(self, number: int, params: Mapping[str, Any]) -> bool:
        """Called when a configuration's training begins, before anything else is told of it.

        Returns:
            Whether to tell the rest; False if all is known from before the search was cut off.
        """

    def epochs(self, losses: Sequence[Losses]) -> None:
        """Called every few seconds with the epochs done since; each epoch of each fit is told once, in order."""

    def end(self, trial: Trial) -> None:
        """Called when all fits of a configuration have ended, and all their epochs been told."""

    def close(self) -> None:
        """Called when the search ends, finished or not."""


class Trackers:
    """Tells several trackers, some seconds' worth at a time; one that fails is warned of and let go.

    Args:
        trackers: who is told.
        study: a name of the study.
    """

    def __init__(self, trackers: Sequence[Tracker] = (), study: str = "study") -> None:
        self._trackers, self._study = list(trackers), study
        self._params: dict[int, Mapping[str, Any]] = {}
        self._told: dict[Key, int] = {}
        """Epochs that were told, or are about to be, of fits of configurations that were begun."""
        self._wanting: dict[int, list[Tracker]] = {}
        """Who wants to be told of a configuration that was begun."""
        self._new: list[Losses] = []
        self._next = -math.inf

    def __bool__(self) -> bool:
        return bool(self._trackers)

    def start(self) -> None:
        """Tell that the search begins."""
        for tracker in list(self._trackers):
            self._try(tracker, lambda tracker: tracker.start(self._study))

    def ask(self, number: int, params: Mapping[str, Any]) -> None:
        """Take note of a configuration; nobody is told before its training begins."""
        self._params[number] = params

    def epoch(self, losses: Losses) -> None:
        """Take note of an epoch; one that is told again, by a worker that took over, changes nothing."""
        if self._trackers and losses.epoch > self._told.get(losses.key, 0):
            self._told[losses.key] = losses.epoch
            self._new.append(losses)

    def tell(self) -> None:
        """Tell of new epochs, if it is time for that."""
        if self._new and time.monotonic() >= self._next:
            self._tell()

    def end(self, trial: Trial) -> None:
        """Tell that a configuration is finished, and of all before."""
        params = self._params.pop(trial.number)
        if not self._trackers:
            return
        self._begin(trial.number, params)
        if self._wanting[trial.number]:
            self._new += [losses for row in trial.rows for losses in _curve(row, self._told.get(row.key, 0))]
        self._tell()
        for tracker in self._wanting.pop(trial.number):
            self._try(tracker, lambda tracker: tracker.end(trial))
        for row in trial.rows:
            self._told.pop(row.key, None)

    def close(self) -> None:
        """Let go of all."""
        self._tell()
        for tracker in list(self._trackers):
            self._try(tracker, lambda tracker: tracker.close())
        self._trackers = []

    def _tell(self) -> None:
        new, self._new = self._new, []
        for number in sorted({losses.key.configuration for losses in new}):
            self._begin(number, self._params.get(number, {}))
        started = time.monotonic()
        for tracker in list(self._trackers):
            if wanted := [losses for losses in new if tracker in self._wanting[losses.key.configuration]]:
                self._try(tracker, lambda tracker, wanted=wanted: tracker.epochs(wanted))  # type: ignore[misc]
        ended = time.monotonic()
        self._next = ended + min(max(TELL_EVERY, (ended - started) / SHARE), SELDOM)

    def _begin(self, number: int, params: Mapping[str, Any]) -> None:
        if number not in self._wanting:
            trackers = list(self._trackers)
            self._wanting[number] = [t for t in trackers if self._try(t, lambda tracker: tracker.begin(number, params))]

    def _try(self, tracker: Tracker, tell: Callable[[Tracker], bool | None]) -> bool:
        """Tell a tracker that has not failed before."""
        try:
            return tracker in self._trackers and bool(tell(tracker))
        except Exception as error:
            self._trackers.remove(tracker)
            cause = one_line(error)
            warnings.warn(
                f"{tracker.name} cannot be written, the study continues without it: {cause:.200}", stacklevel=2
            )
            return False


def mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean of several fits after each epoch, up to where it is no number.

    One that stands at an earlier epoch counts as it stands, and one that has not begun not at all.

    Example:
        >>> mean_curve([[4.0, 2.0, 1.0], [2.0], []])
        [3.0, 2.0, 1.5]
    """
    begun = [curve for curve in curves if len(curve)]
    length = max(map(len, begun), default=0)
    full = np.array([[*curve, *[curve[-1]] * (length - len(curve))] for curve in begun])
    means = full.mean(axis=0).tolist() if length else []
    return list(itertools.takewhile(math.isfinite, means))


def _curve(row: Row, told: int) -> list[Losses]:
    """Return the epochs of a fit that have not been told."""
    stop = row.stop_loss or [math.nan] * len(row.train_loss)
    pairs = list(zip(row.train_loss, stop, strict=True))
    return [Losses(row.key, epoch, *pair) for epoch, pair in enumerate(pairs[told:], start=told + 1)]
