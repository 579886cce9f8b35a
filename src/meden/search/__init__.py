"""How much: spaces, strategies, the ledger, selection, tune and compare."""

from meden.search.cocktail import cocktail
from meden.search.compare import Alternative, Comparison, Difference, compare
from meden.search.nested import NestedScore, nested
from meden.search.path import Step, strength_path
from meden.search.running import Progress
from meden.search.selection import Score
from meden.search.space import Choice, FromData, IntUniform, LogUniform, Maybe, Uniform
from meden.search.study import Study, Trial
from meden.search.tune import tune

__all__ = [
    "Alternative",
    "Choice",
    "Comparison",
    "Difference",
    "FromData",
    "IntUniform",
    "LogUniform",
    "Maybe",
    "NestedScore",
    "Progress",
    "Score",
    "Step",
    "Study",
    "Trial",
    "Uniform",
    "cocktail",
    "compare",
    "nested",
    "strength_path",
    "tune",
]
