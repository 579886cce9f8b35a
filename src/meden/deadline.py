"""How long something may take, and what fits into that: measured while it goes on, since a machine may be busy."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

now = time.time
"""The clock that all processes, and machines, share."""


@dataclass(frozen=True)
class Deadline:
    """A moment by which something must be done."""

    at: float = math.inf
    """Seconds of the clock :func:`time.time`; infinite is never."""

    @classmethod
    def after(cls, seconds: float, since: float | None = None) -> Deadline:
        """Return the deadline so many seconds from now, or after another moment of the same clock."""
        return cls((now() if since is None else since) + seconds)

    def seconds_left(self) -> float:
        """Return the seconds until then, 0 or more; infinite if there is no end.

        Example:
            >>> Deadline.after(-1.0).seconds_left(), Deadline().seconds_left()
            (0.0, inf)
        """
        return max(0.0, self.at - now())

    def passed(self) -> bool:
        """Return whether it is over."""
        return now() >= self.at

    def earlier(self, seconds: float) -> Deadline:
        """Return the deadline that leaves so many seconds for something after it."""
        return Deadline(self.at - seconds)


NEVER = Deadline()


class TimeIsUp(Exception):
    """The time is up before a training had an epoch.

    Args:
        missing: seconds that the epoch would have taken besides, about.
    """

    def __init__(self, missing: float) -> None:
        super().__init__(missing)
        self.missing = missing

    @classmethod
    def at(cls, steps: int, of: int, seconds: float) -> TimeIsUp:
        """Return it for an epoch of which so many steps, 1 or more, were done in so many seconds."""
        return cls(seconds * (of - steps) / steps)


@dataclass(frozen=True)
class Pace:
    """How long training runs may take: their schedules are shortened to what fits, and end whatever happens."""

    deadline: Deadline = NEVER
    """When all end with what they have by then."""
    goal: Deadline = NEVER
    """When they are planned to end, all together."""
    seconds: float = math.inf
    """What one of them may take, by that plan."""
    least: int = 0
    """Epochs that are trained however late it is: 0, or 1 where there must be a model."""

    @property
    def is_free(self) -> bool:
        """Whether there is no limit."""
        return math.isinf(self.deadline.at)

    def is_over(self, epochs: int) -> bool:
        """Return whether a training that has so many epochs ends now."""
        return epochs >= self.least and self.deadline.passed()

    def epochs(self, planned: int, done: int, seconds: float) -> int:
        """Return how many epochs there is time for, of those that are planned.

        Args:
            planned: epochs in all.
            done: 1 or more.
            seconds: that these took.

        Example:
            >>> Pace(seconds=10.0).epochs(100, done=2, seconds=1.0)
            20
        """
        left = min(self.seconds - seconds, self.deadline.seconds_left())
        return planned if math.isinf(left) else max(done, min(planned, done + int(left * done / max(seconds, 1e-9))))

    def each(self, rounds: float, spent: float = 0.0) -> Pace:
        """Return the pace of one of so many that follow each other, which has taken some seconds already."""
        left = min(self.goal.seconds_left(), self.deadline.seconds_left())
        return replace(self, seconds=spent + left / max(rounds, 1))


UNHURRIED = Pace()
