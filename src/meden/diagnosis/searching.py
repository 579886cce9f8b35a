"""What is known of a search whose choice is looked at: plain numbers of its configurations.

Legend: ``m`` finished configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meden.diagnosis.finding import Interval


@dataclass(frozen=True, kw_only=True)
class EdgeOfRange:
    """A searched name whose chosen value lies at an end of its range."""

    name: str
    value: str
    """Of the choice, as people write it."""
    end: str
    """``"lower"`` or ``"upper"``."""
    low: str
    high: str
    """Ends of the range."""
    wider: str
    """The range with that end moved further out, as ``--search`` takes it; empty where it can go no further."""


@dataclass(frozen=True, kw_only=True)
class Lead:
    """How much better the choice is than something else, in the deciding metric; above 0 is better."""

    over: str
    """What it is compared with, in words."""
    estimate: float
    interval: Interval
    """Of 95 %."""
    text: str
    """The same in words, with its unit."""


@dataclass(frozen=True, kw_only=True)
class SearchEvidence:
    """A search, by its numbers."""

    num_tried: int
    """Configurations that ended, lost ones included."""
    num_finished: int
    """Those with a result, m."""
    num_names: int
    """Names that were searched, of which more than one value was possible."""
    num_alike: int | None = None
    """Of the finished ones, those within one standard error of the best, itself included; None where folds do not
    tell."""
    flat: bool = False
    """Whether most are alike, and so little apart that nobody would mind."""
    alike: str = ""
    """The same in words, with the width."""
    edges: tuple[EdgeOfRange, ...] = ()
    """Of the choice."""
    leads: tuple[Lead, ...] = ()
    """Over the second best, and over the same network without regularisation, where they are there."""
    source: str = ""
    """How a command line names the data; empty where no command takes them."""

    ranges: Mapping[str, str] = field(default_factory=dict)
    """What was searched by name, as ``--search`` takes it."""

    def command(self, *options: str, **wider: str) -> str:
        """Return the line that searches the same again, with other options or ranges; empty where there is none."""
        if not self.source:
            return ""
        searched = [f"--search {name}={text}" for name, text in {**self.ranges, **wider}.items()]
        return " ".join(("meden", "tune", self.source, *searched, *options))
