"""Linear models for tables, solved exactly along paths of strengths."""

from meden.tabular.linear.candidates import few_columns, linear_candidates

__all__ = ["few_columns", "linear_candidates"]
