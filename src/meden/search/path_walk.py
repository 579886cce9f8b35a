"""The order in which a path is walked: dense first, then up until nothing is left, down again, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Start = Literal["dense", "empty", "both"]
Params = dict[str, Any]
DENSE = 0
"""Number of the configuration without the penalty."""


@dataclass
class Walk:
    """What a search tries next, and where it starts from: an ask-and-tell proposer of one strength at a time.

    Configuration 0 is the model without the penalty. The way up starts there; the way down starts, at the largest
    strength, from fresh weights, or where the way up has ended.
    """

    start: Start
    strengths: Callable[[], Sequence[float]]
    """Called once the dense model is trained; rising."""
    is_empty: Callable[[int], bool]
    """Says whether a configuration has no group left in any run."""
    most: int
    """Strengths that may be added above the largest."""
    budget: int = 0
    asked: list[Params] = field(default_factory=list)
    """All so far, by their numbers."""

    def __post_init__(self) -> None:
        self._steps = self._walk()
        self.largest = 0.0
        """Of the strengths that were planned."""

    def ask(self, most: int | None = None) -> list[Params]:
        """Return the next configuration; none is the end."""
        assert most is None or most >= 1
        params = next(self._steps, None)
        if params is None:
            return []
        self.asked.append(params)
        return [params]

    def tell(self, scores: Sequence[float]) -> None:
        """Nothing depends on scores."""

    def _walk(self) -> Iterator[Params]:
        yield {"strength": 0.0, "from": None}
        strengths = list(self.strengths())
        self.largest = strengths[-1]
        if self.start != "empty":
            yield from self._up(strengths)
        if self.start != "dense":
            yield from self._down(strengths)

    def _up(self, strengths: list[float]) -> Iterator[Params]:
        """Rise until all are empty; beyond the largest strength if need be."""
        ratio, before = strengths[-1] / strengths[-2], DENSE
        added = 0
        for place in range(len(strengths) + self.most):
            if place == len(strengths):
                strengths.append(strengths[-1] * ratio)
                added += 1
            number = len(self.asked)
            yield {"strength": strengths[place], "from": before}
            before = number
            if self.is_empty(number):
                del strengths[place + 1 :]
                return
            if place + 1 >= len(strengths) and added == self.most:
                return

    def _down(self, strengths: list[float]) -> Iterator[Params]:
        """Fall from the largest strength; from fresh weights, or from where the way up has ended."""
        before = len(self.asked) - 1 if self.start == "both" else None
        added = 0
        while self.start == "empty":
            number = len(self.asked)
            yield {"strength": strengths[-1], "from": before}
            before = number
            if self.is_empty(number) or added == self.most:
                break
            strengths.append(strengths[-1] * strengths[-1] / strengths[-2])
            added += 1
        for strength in strengths[-2::-1]:
            number = len(self.asked)
            yield {"strength": strength, "from": before}
            before = number
