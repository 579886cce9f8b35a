"""One strength of a path.

Legend: ``R`` runs (fold, then seed), ``G`` groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from meden._shown import ShownFields
from meden.study.selection import standard_error

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class PathPoint(ShownFields):
    """One strength of a path.

    Attributes:
        strength: multiplier of the penalty.
        losses: mean data loss of the scored rows, (R,); NaN where it diverged.
        scores: mean score of the scored rows, (R,): accuracy, or squared error in the target's units.
        kept: names of the groups that are not all zeros, of each run.
        norms: Euclidean norm of each group, (R, G), in the order of the names of a path; NaN where a run has no such
            group.
        objectives: training loss plus penalty, (R,); infinite where it diverged.
        configurations: number of the configuration that each run is of, (R,): the lowest objective of those at this
            strength.
        gap: how far the other way, up or down, ended above it at most; 0 where there was one.
    """

    strength: float
    losses: Array
    scores: Array
    kept: tuple[frozenset[str], ...]
    norms: Array
    objectives: Array
    configurations: tuple[int, ...]
    gap: float

    @property
    def loss(self) -> float:
        """Mean over the runs."""
        return float(self.losses.mean())

    @property
    def loss_error(self) -> float:
        """Standard error of :attr:`loss`."""
        return standard_error(self.losses)

    @property
    def score(self) -> float:
        """Mean over the runs."""
        return float(self.scores.mean())

    @property
    def num_kept(self) -> float:
        """Groups that are kept, averaged over the runs."""
        return float(np.mean([len(kept) for kept in self.kept]))

    def frequency(self, name: str) -> float:
        """Return the share of runs that keep a group."""
        return float(np.mean([name in kept for kept in self.kept]))
