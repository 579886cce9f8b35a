"""What came of a search, and what it is worth: the ledger, selection, metrics, the study and its page."""

from meden.study.load import load_study
from meden.study.results import Results, Trial
from meden.study.selection import Score
from meden.study.study import Study

__all__ = ["Results", "Score", "Study", "Trial", "load_study"]
