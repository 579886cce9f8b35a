"""The search: asking, training, choosing; comparisons; nested searches; paths of strengths."""

from meden.search.compare import Alternative, Comparison, Difference, compare
from meden.search.engine import Progress
from meden.search.nested import NestedScore, nested
from meden.search.path import PathPoint, strength_path
from meden.search.tune import tune

__all__ = [
    "Alternative",
    "Comparison",
    "Difference",
    "NestedScore",
    "PathPoint",
    "Progress",
    "compare",
    "nested",
    "strength_path",
    "tune",
]
