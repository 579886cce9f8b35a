"""Configurations that are known beforehand, in place of a strategy that proposes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Fixed:
    """Batches of configurations; those of a batch are trained together.

    Args:
        *batches: in order; a configuration is a mapping of names to plain values.

    Example:
        >>> fixed = Fixed([{"lr": 0.1}, {"lr": 0.01}], [{"lr": 1.0}])
        >>> fixed.budget, fixed.ask(), fixed.ask(), fixed.ask()
        (3, [{'lr': 0.1}, {'lr': 0.01}], [{'lr': 1.0}], [])
    """

    def __init__(self, *batches: Sequence[Mapping[str, Any]]) -> None:
        self.budget = sum(map(len, batches))
        self._left = [[dict(params) for params in batch] for batch in batches]

    def ask(self, most: int | None = None) -> list[dict[str, Any]]:
        """Return the next batch, empty after the last; ``most`` must leave room for all of it."""
        batch = self._left.pop(0) if self._left else []
        assert most is None or len(batch) <= most
        return batch

    def tell(self, scores: Sequence[float]) -> None:
        """Nothing depends on scores."""
