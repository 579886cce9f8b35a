"""The search: asking, training, choosing; comparisons; nested searches; learning curves; paths of strengths."""

from meden.search.alternative import Alternative, FoldMean
from meden.search.asking import Asking
from meden.search.compare import compare
from meden.search.comparison import Comparison
from meden.search.jobs import Command, Job, Leak
from meden.search.learning_curve import learning_curve
from meden.search.nested import NestedScore, nested
from meden.search.path import path
from meden.search.path_point import PathPoint
from meden.search.path_points import Path
from meden.search.progress import OnProgress, Progress, ProgressLines
from meden.search.settings import CV, Limits
from meden.search.tracker import Losses, Tracker
from meden.search.tune import tune
from meden.workers import Workers

__all__ = [
    "CV",
    "Alternative",
    "Asking",
    "Command",
    "Comparison",
    "FoldMean",
    "Job",
    "Leak",
    "Limits",
    "Losses",
    "NestedScore",
    "OnProgress",
    "Path",
    "PathPoint",
    "Progress",
    "ProgressLines",
    "Tracker",
    "Workers",
    "compare",
    "learning_curve",
    "nested",
    "path",
    "tune",
]
