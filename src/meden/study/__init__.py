"""What came of a search, and what it is worth: the ledger, selection, metrics, the study and its page."""

from meden.study.selection import Score
from meden.study.study import Study, Trial

__all__ = ["Score", "Study", "Trial"]
