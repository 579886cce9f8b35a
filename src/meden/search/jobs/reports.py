"""What a job has reported, epoch by epoch, and how its training ends by it: the last epoch, early stopping, a race."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from meden import stopping
from meden._checks import InputError
from meden.deadline import Pace
from meden.history import History, Record
from meden.progress import Ending, completed, dropped, out_of_time, stopped_early
from meden.search.racing import Contest
from meden.stopping import EarlyStopping


class Losses(NamedTuple):
    """Those of an epoch; None where they were not told."""

    stop: float | None
    train: float | None


class Reports:
    """The reports of one job; with a file, those of a process that was killed are there when it is started again.

    Args:
        path: of that file; None keeps nothing.
        epochs: that may be trained.
        watches: whether there are rows to stop by.
        patience: of early stopping; None stops at the last epoch.
        contest: what the job is up against in a race.
        pace: when the time is up.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        epochs: int,
        watches: bool,
        patience: EarlyStopping | None,
        contest: Contest | None,
        pace: Pace,
    ) -> None:
        self._path, self._epochs, self._watches = path, epochs, watches
        self._patience, self._contest, self._pace = patience, contest, pace
        self.is_late = False
        """Whether it ended because the time was up."""
        self.has_begun = False
        """Whether something was reported by this process."""
        self.ending: Ending | None = None
        """How the training ended; None while it goes on."""
        self._losses: list[Losses] = []
        self._take([] if path is None else _read(path))

    def __len__(self) -> int:
        return len(self._losses)

    def resume(self, epoch: int) -> None:
        """Forget what was reported after an epoch, by a process that was killed.

        Raises:
            InputError: if fewer were reported.
        """
        if epoch > len(self):
            raise InputError(
                f"job.resume epoch must be one of the {len(self)} reported epochs, got {epoch}: report an epoch "
                "before saving its state"
            )
        self.has_begun = True
        if epoch < len(self):
            self._take(self._losses[:epoch])
            self._write([*self._losses], "w")

    def add(self, epoch: int, stop_loss: Any, train_loss: Any) -> None:
        """Take note of an epoch; it stands for those before that were not reported.

        Raises:
            InputError: if an argument is out of range.
        """
        if not isinstance(epoch, int | np.integer) or isinstance(epoch, bool) or epoch < 1:
            raise InputError(f"job.report epoch must be an integer of at least 1, got {epoch!r}")
        if self.has_begun and epoch <= len(self):
            raise InputError(f"job.report epochs must increase, got {epoch} after {len(self)}")
        losses = Losses(_number("stop_loss", stop_loss), _number("train_loss", train_loss))
        if self._watches and losses.stop is None:
            raise InputError("job.report must be given the stop_loss of the rows job.stop, got None")
        if not self.has_begun:
            self.resume(min(len(self), int(epoch) - 1))
        if self.ending is not None:
            return
        new = [losses] * (int(epoch) - len(self))
        self._write(new, "a")
        if self._judge(new) is None and self._pace.is_over(len(self)):
            self.is_late, self.ending = True, out_of_time(len(self))

    @property
    def best_epoch(self) -> int:
        """Epoch of the lowest stop loss, the last that improved enough for early stopping; 0 before the first."""
        return self._best

    @property
    def history(self) -> History:
        """What was reported."""
        return History(tuple(_record(epoch, losses) for epoch, losses in enumerate(self._losses, start=1)))

    def _take(self, losses: Sequence[Losses]) -> None:
        """Begin with some reports."""
        self._losses, self._state, self._best, self.ending = [], stopping.start(), 0, None
        for number in range(len(losses)):
            if self._judge(losses[number : number + 1]) is not None:
                break

    def _judge(self, new: Sequence[Losses]) -> Ending | None:
        """Add reports, and return how the training ends now."""
        before = len(self)
        self._losses += new
        epoch, rule = len(self), self._patience
        known = [math.nan if losses.stop is None else losses.stop for losses in self._losses]
        waits, delta = (self._epochs, 0.0) if rule is None else (rule.patience, rule.min_delta)
        for place in range(before, epoch):
            self._state, said = stopping.update(self._state, known[place], patience=waits, min_delta=delta)
            self._best = place + 1 if said.improved else self._best
        if self._watches and not math.isfinite(known[-1]):
            self.ending = Ending("diverged", f"the reported stop loss is not finite after epoch {epoch}")
        elif self._contest is not None and not all(
            self._contest.stays(rung, known) for rung in sorted(self._contest.rivals) if before < rung <= epoch
        ):
            self.ending = dropped(epoch)
        elif rule is not None and self._watches and said.stop:
            self.ending = stopped_early(rule.patience, epoch - int(self._state.waited))
        elif epoch >= self._epochs:
            self.ending = completed(epoch)
        return self.ending

    def _write(self, losses: Sequence[Losses], mode: str) -> None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, mode, encoding="utf-8") as file:
                file.write("".join(f"{json.dumps(one)}\n" for one in losses))


def _record(epoch: int, losses: Losses) -> Record:
    return Record(
        epoch=epoch,
        step=0,
        train={} if losses.train is None else {"loss": losses.train},
        valid=None if losses.stop is None else {"loss": losses.stop},
        lr=math.nan,
        num_zeros=None,
        weight_norm=None,
        seconds=0.0,
    )


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"job.report {name} must be a number, got {value!r:.60}") from None


def _read(path: Path) -> list[Losses]:
    """Return the whole lines of reports; none if there is no such file."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            stop_loss, train_loss = json.loads(line)
        except ValueError:
            break
        found.append(Losses(_number("stop_loss", stop_loss), _number("train_loss", train_loss)))
    return found
