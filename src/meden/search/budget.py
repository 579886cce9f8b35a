"""What a search may spend, and how much of it the next configurations may have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from meden._checks import InputError
from meden.deadline import NEVER, UNHURRIED, Deadline, Pace, now
from meden.study.ledger import Row

LIMITED_BATCH = 16
"""Most configurations at once where epochs or time are limited: of more it is known too late what one takes. A strategy
that learns proposes as many at once anyway, so that it proposes the same."""
SAFE = 0.9
"""Share of the time left that configurations may be expected to take."""
FIRST_SHARE, FIRST_OF_COMPARED = 0.25, 0.15
"""Share of the time that the first configuration is planned to take: its schedule is shortened to that. The second is
where a plain network follows, which takes as long: others are to be tried, too."""


PLAIN_COST = 1.0
"""Time of the plain network that the choice is compared with, in configurations."""
SIMPLE_SHARE = 0.15
"""Share of the time that simple models may take, before all else."""


class TimeTooShort(InputError):
    """The time limit has passed before one epoch of one fold was done."""


@dataclasses.dataclass(frozen=True)
class Until:
    """When a search must have ended that something follows."""

    deadline: Deadline
    after: float = 0.0
    """How long that takes, in configurations."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits of a search besides the number of its configurations.

    They say how far the search gets on its way, and never where it goes: what a strategy proposes does not depend on
    them, so that a search with larger ones begins with the same configurations.
    """

    epochs: int | None = None
    """Epochs of all fits together, at most."""
    longest: int = 1
    """Epochs that one configuration may need, all its fits together."""
    seconds: float | None = None
    """Wall time that was asked for; None is no limit."""
    until: Until = Until(NEVER)
    """When that is over."""
    baselines: bool = False
    """Whether the choice is compared with the plain network after the search."""

    def __post_init__(self) -> None:
        if self.epochs is not None and self.epochs < self.longest:
            needed = f"{self.longest}, which one configuration may need"
            raise InputError(f"epochs_budget must be at least {needed}, got {self.epochs}")

    @property
    def deadline(self) -> Deadline:
        """When the search must have ended: what is optional may ask how much time is left."""
        return self.until.deadline

    @property
    def at_once(self) -> int | None:
        """Configurations that are asked for at once, at most; None is as many as the strategy likes."""
        return LIMITED_BATCH if self.is_timed or self.epochs is not None else None

    @property
    def is_timed(self) -> bool:
        """Whether there is a time limit."""
        return self.seconds is not None

    def allows(self, rows: Sequence[Row], last: Sequence[Row]) -> int | None:
        """Return how many configurations may be tried next, all at once; None is any number.

        Args:
            rows: those of all fits so far.
            last: those of the last configurations, empty before the first.
        """
        limits = []
        if self.epochs is not None:
            limits.append((self.epochs - sum(row.num_epochs for row in rows)) // self.longest)
        if self.is_timed and not last:
            limits.append(1)  # to see how long one takes
        elif self.is_timed:
            left = self._end(last).seconds_left()
            limits.append(max(0, min(LIMITED_BATCH, int(SAFE * left / max(_seconds_of_one(last), 1e-3)))))
        return min(limits, default=None)

    def first_pace(self) -> Pace:
        """Return how long the first configuration may take: a share by plan, at most what leaves half for the rest."""
        left, share = self.deadline.seconds_left(), FIRST_OF_COMPARED if self.baselines else FIRST_SHARE
        return Pace(self.deadline.earlier(left - left / self._shares), goal=Deadline.after(share * left))

    def pace(self, last: Sequence[Row]) -> Pace:
        """Return how long the next configurations may take, by the rows of the last ones."""
        return Pace(self._end(last)) if self.is_timed else UNHURRIED

    def deadline_of_simple_models(self) -> Deadline:
        """Return when the simple models must have ended that are fitted before the search.

        There is no time for them if their share is less than what went by before: that was reading and importing, and
        so are the simplest of fits.
        """
        if self.seconds is None:
            return NEVER
        left = self.deadline.seconds_left()
        share = SIMPLE_SHARE * left
        return Deadline.after(share if share > self.seconds - left else 0.0)

    def pace_of_plain(self, chosen: Sequence[Row]) -> Pace:
        """Return how long the plain network may take after the search, by the rows of the choice."""
        return Pace(self.deadline.earlier(self.until.after * _seconds_of_one(chosen))) if self.is_timed else UNHURRIED

    def too_short(self, missing: float) -> TimeTooShort:
        """Return the error if not one epoch was done in time.

        Args:
            missing: seconds that it would have taken besides.
        """
        assert self.seconds is not None
        needed = self.seconds + max(0.0, now() - self.deadline.at) + missing * self._shares
        return TimeTooShort(
            f"time_limit must be at least about {math.ceil(needed)} s for an epoch of one fold and its overhead on "
            f"this machine now, got {self.seconds:g} s"
        )

    @property
    def _shares(self) -> float:
        """Parts of the time of which the first configuration may have one."""
        return 1 + min(self.until.after, 1.0)

    def _end(self, last: Sequence[Row]) -> Deadline:
        """Return when configurations must have ended."""
        return self.deadline.earlier((self.until.after + PLAIN_COST * self.baselines) * _seconds_of_one(last))


def _seconds_of_one(rows: Sequence[Row]) -> float:
    """Return the time of one configuration, of those whose rows these are."""
    return sum(row.seconds for row in rows) / len({row.configuration for row in rows})


UNLIMITED = Budget()
