"""How much: spaces, strategies, the ledger, selection, tune and compare."""

from meden.search.compare import Alternative, Comparison, Difference, compare
from meden.search.selection import Score
from meden.search.space import Choice, IntUniform, LogUniform, Uniform
from meden.search.study import Study, Trial
from meden.search.tune import Progress, tune

__all__ = [
    "Alternative",
    "Choice",
    "Comparison",
    "Difference",
    "IntUniform",
    "LogUniform",
    "Progress",
    "Score",
    "Study",
    "Trial",
    "Uniform",
    "compare",
    "tune",
]
