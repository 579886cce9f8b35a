"""How much: spaces, strategies, the ledger, selection, tune and compare."""

from meden.search.selection import Score
from meden.search.space import Choice, IntUniform, LogUniform, Uniform
from meden.search.study import Study, Trial
from meden.search.tune import Progress, tune

__all__ = ["Choice", "IntUniform", "LogUniform", "Progress", "Score", "Study", "Trial", "Uniform", "tune"]
