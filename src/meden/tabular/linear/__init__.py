"""Linear models for tables, solved exactly along paths of strengths."""

from meden.tabular.linear.candidates import linear_candidates

__all__ = ["linear_candidates"]
