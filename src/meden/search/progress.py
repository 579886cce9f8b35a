"""How far a search is: counted in epochs, so that it is known from the first second, and told in one line."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TextIO

from meden.language import translated
from meden.report.numbers import number, plural
from meden.study.ledger import Key, Row

TELL_EVERY = 0.25
"""Seconds between two reports of epochs."""
LEAST = 1.0
"""Seconds of training before which nobody can say how long the rest takes."""
FIRST_LINE, NEXT_LINE = 2.0, 30.0
"""Seconds before the first line, and between lines."""


class Progress(NamedTuple):
    """The progress of a search; results already in the ledger count as done.

    Attributes:
        num_epochs: epochs done, of all fits together.
        max_epochs: at most so many are done in the end; fewer with every fit that stops early or loses a race.
        num_fits: fits that have ended.
        max_fits: fits in all; 0 where only one is made.
        num_alive: fits in training.
        num_configurations: configurations all of whose fits have ended.
        max_configurations: configurations to try.
        num_dropped: configurations that lost a race.
        best_loss: lowest mean held-out loss of a finished configuration; infinite before the first.
        best_stop_loss: lowest mean stop loss among the configurations in training, as they stand; infinite where none
            is known.
        seconds: wall time since the search began, or went on.
        seconds_left: wall time to the end, about, if epochs go on at this rate; infinite while that is not known.
        ended: whether this is the last report.
    """

    num_epochs: int = 0
    max_epochs: int = 0
    num_fits: int = 0
    max_fits: int = 0
    num_alive: int = 0
    num_configurations: int = 0
    max_configurations: int = 0
    num_dropped: int = 0
    best_loss: float = math.inf
    best_stop_loss: float = math.inf
    seconds: float = 0.0
    seconds_left: float = math.inf
    ended: bool = False

    def note(self) -> str:
        """Return what a bar of epochs does not show.

        Example:
            >>> Progress(12, 90, num_fits=2, max_fits=9, num_alive=3, best_loss=0.512, seconds_left=75.0).note()
            '2 of 9 fits done, 3 in training, best held-out loss 0.512, about 1 min left'
        """
        parts = [f"{self.num_fits:,} of {plural(self.max_fits, 'fit')} done"] if self.max_fits else []
        if self.num_alive:
            parts.append(f"{self.num_alive:,} in training")
        if self.num_dropped:
            parts.append(f"{self.num_dropped:,} of {plural(self.max_configurations, 'configuration')} dropped")
        if math.isfinite(self.best_loss):
            parts.append(f"best held-out loss {number(self.best_loss)}")
        elif math.isfinite(self.best_stop_loss):
            parts.append(f"best stop loss {number(self.best_stop_loss)}")
        if not self.ended and math.isfinite(self.seconds_left):
            parts.append(f"about {duration(self.seconds_left)} left")
        return ", ".join(parts)


OnProgress = Callable[[Progress], None]


class ProgressLines:
    """Prints a progress line after two seconds, then every thirty seconds, and at the end.

    Args:
        each: print a line, too, when a configuration is finished, at most one a second.
        file: where to; None is standard error.

    Example:
        >>> import meden
        >>> say = ProgressLines(file=sys.stdout)
        >>> say(Progress(5, 20, num_fits=1, max_fits=4, seconds=2.5, seconds_left=7.5))
        epochs: 5 of at most 20, 1 of 4 fits done, about 8 s left
        >>> say(Progress(6, 20, num_fits=1, max_fits=4, seconds=3.0, seconds_left=7.0))
        >>> say(Progress(19, 19, num_fits=4, max_fits=4, seconds=9.7, best_loss=0.25, ended=True))
        epochs: 19, 4 of 4 fits done, best held-out loss 0.25, 10 s
    """

    def __init__(self, *, each: bool = False, file: TextIO | None = None) -> None:
        self._each, self._file = each, file
        self._next, self._last, self._finished = FIRST_LINE, -math.inf, 0

    def __call__(self, progress: Progress, note: str = "") -> None:
        """Print a line if it is time for one; ``note`` is put behind it."""
        finished = self._each and progress.num_configurations > self._finished and progress.seconds > self._last + 1
        if not (progress.ended or finished or progress.seconds >= self._next):
            return
        self._next, self._last = progress.seconds + NEXT_LINE, progress.seconds
        self._finished = progress.num_configurations
        of = "" if progress.ended else f" of at most {progress.max_epochs:,}"
        parts = [f"epochs: {progress.num_epochs:,}{of}", progress.note(), note]
        parts += [duration(progress.seconds)] if progress.ended else []
        print(in_language(*parts), file=self._file or sys.stderr, flush=True)


def in_language(*notes: str) -> str:
    """Return notes in one line, each part of them in the reader's language."""
    return translated(", ").join(translated(part) for note in notes for part in note.split(", ") if part)


class Meter:
    """Counts what a search has done and has before it.

    Args:
        num_configurations: to try.
        num_fits: of each.
        longest: epochs that one configuration may need, all its fits together; 1 if it is not known.
    """

    def __init__(self, num_configurations: int, num_fits: int, longest: int) -> None:
        self._max_configurations, self._num_fits, self._longest = num_configurations, num_fits, longest
        self._started = time.perf_counter()
        self._ahead: dict[int, dict[Key, int]] = {}
        """Epochs that the fits may need which have not ended, of the configurations that were asked for."""
        self._alive: dict[Key, tuple[int, float]] = {}
        """Epochs done, and the stop loss then, of fits in training."""
        self._dropped: set[int] = set()
        self._left = 0
        """Epochs ahead of all fits that were asked for, without what those in training have done of them."""
        self._done = self._spent = self._might = 0
        """Epochs done; of these, by fits that have ended; as many as those might need."""
        self._first: tuple[float, int] | None = None
        """When the first epoch of this search was told, and epochs done then."""
        self._ended = self._finished = self._asked = 0
        self.best_loss = math.inf

    def ask(self, configuration: int, keys: Sequence[Key], epochs: int) -> None:
        """Take note of a configuration whose fits may need so many epochs each."""
        self._ahead[configuration] = dict.fromkeys(keys, epochs)
        self._left += epochs * len(keys)
        self._longest = max(self._longest, epochs * self._num_fits)
        self._asked += 1
        self._max_configurations = max(self._max_configurations, self._asked)  # a path goes on if it has to

    def epoch(self, key: Key, epoch: int, stop_loss: float) -> None:
        """Take note of an epoch; one that is told again, by a worker that took over, changes nothing."""
        news = epoch - self._epochs(key)
        if news > 0:
            self._alive[key] = epoch, stop_loss
            self._done, self._left = self._done + news, self._left - news
            self._first = self._first or (time.perf_counter(), self._done)

    def end(self, row: Row) -> bool:
        """Take note of a fit that has ended, now or before; says whether its configuration is finished."""
        ahead = self._ahead[row.configuration]
        told, might = self._epochs(row.key), ahead.pop(row.key)
        self._alive.pop(row.key, None)
        self._done += row.num_epochs - told
        self._left -= might - told
        self._spent, self._might, self._ended = self._spent + row.num_epochs, self._might + might, self._ended + 1
        if row.status == "dropped":
            self._dropped.add(row.configuration)
            for key, epochs in ahead.items():  # none of its fits goes further
                ahead[key] = min(epochs, max(row.num_epochs, self._epochs(key)))
                self._left -= epochs - ahead[key]
        self._finished += not ahead
        return not ahead

    def progress(self, limit: float = math.inf, *, ended: bool = False) -> Progress:
        """Return how far the search is; ``limit`` is the seconds that it may still take."""
        left = 0 if ended else self._left + self._longest * (self._max_configurations - self._asked)
        return Progress(
            num_epochs=self._done,
            max_epochs=self._done + left,
            num_fits=self._ended,
            max_fits=self._max_configurations * self._num_fits,
            num_alive=len(self._alive),
            num_configurations=self._finished,
            max_configurations=self._max_configurations,
            num_dropped=len(self._dropped),
            best_loss=self.best_loss,
            best_stop_loss=self._best_stop_loss(),
            seconds=time.perf_counter() - self._started,
            seconds_left=0.0 if ended else min(limit, self._expected(left)),
            ended=ended,
        )

    def _expected(self, left: int) -> float:
        """Return how many seconds so many epochs take, of which fits that stop early do not need all."""
        now, share = time.perf_counter(), self._spent / self._might if self._might else 1.0
        if self._first is None or now < self._first[0] + LEAST:
            return math.inf
        return share * left * (now - self._first[0]) / max(1, self._done - self._first[1])

    def _epochs(self, key: Key) -> int:
        return self._alive[key][0] if key in self._alive else 0

    def _best_stop_loss(self) -> float:
        losses: dict[int, list[float]] = {}
        for key, (_, stop_loss) in self._alive.items():
            losses.setdefault(key.configuration, []).append(stop_loss)
        means = [statistics.fmean(of_folds) for of_folds in losses.values()]
        return min((mean for mean in means if math.isfinite(mean)), default=math.inf)


def duration(seconds: float) -> str:
    """Return a time as people say it.

    Example:
        >>> duration(8.2), duration(95.0), duration(8000.0)
        ('8 s', '2 min', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
