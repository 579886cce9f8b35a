"""What a search may spend, and how much of it the next batch may have."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from meden._checks import InputError
from meden.study.ledger import Row

TIMED_BATCH = 16
"""Most configurations of a batch when time is short: the larger it is, the later it is known what one takes."""
SAFE = 0.9
"""Share of the time left that a batch may be expected to take."""


class TimeIsUp(Exception):
    """The time limit has passed in the middle of a batch."""


class TimeTooShort(InputError):
    """The time limit has passed before one configuration was done."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits of a search besides the number of its configurations.

    Batches depend on what the ledger's rows say and on nothing else, so that a search that was cut off asks again for
    the same ones.
    """

    epochs: int | None = None
    """Epochs of all fits together, at most."""
    seconds: float | None = None
    """Wall time."""
    longest: int = 1
    """Epochs that one configuration may need, all its fits together."""

    def __post_init__(self) -> None:
        if self.epochs is not None and self.epochs < self.longest:
            needed = f"{self.longest}, which one configuration may need"
            raise InputError(f"epochs_budget must be at least {needed}, got {self.epochs}")

    def allows(self, rows: Sequence[Row], last: Sequence[Row]) -> int | None:
        """Return how many configurations may be asked for; None is any number.

        Args:
            rows: those of all fits so far.
            last: those of the last batch, empty before the first.
        """
        limits = []
        if self.epochs is not None:
            limits.append((self.epochs - sum(row.num_epochs for row in rows)) // self.longest)
        if self.seconds is not None and not last:
            limits.append(1)  # to see how long one takes
        elif self.seconds is not None:
            each = sum(row.seconds for row in last) / len({row.configuration for row in last})
            left = self.seconds - sum(row.seconds for row in rows)
            limits.append(max(0, min(TIMED_BATCH, int(SAFE * left / max(each, 1e-3)))))
        return min(limits, default=None)

    def too_short(self, overdue: float, epochs: int) -> TimeTooShort:
        """Return the error if no configuration was done in time.

        Args:
            overdue: seconds since the time was up.
            epochs: of that configuration that were done, all its fits together.
        """
        assert self.seconds is not None
        needed = (self.seconds + overdue) * self.longest / max(epochs, 1)
        return TimeTooShort(
            f"time_limit must be at least about {needed:.2g} s, which one configuration may need "
            f"(up to {self.longest} epochs in all its folds), got {self.seconds:g} s"
        )


UNLIMITED = Budget()
