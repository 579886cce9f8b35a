"""What came of a search, and what it is worth: the ledger, selection, metrics, the study and its page."""

from meden.study.evaluation import Evaluation
from meden.study.flat_region import FlatRegion, flat_region
from meden.study.importance import Importances, importance_of
from meden.study.load import load_study
from meden.study.results import Results, Trial
from meden.study.selection import Score
from meden.study.study import Study
from meden.study.verdict import Verdict, verdict_of

__all__ = [
    "Evaluation",
    "FlatRegion",
    "Importances",
    "Results",
    "Score",
    "Study",
    "Trial",
    "Verdict",
    "flat_region",
    "importance_of",
    "load_study",
    "verdict_of",
]
