"""What methods that do not prepare a table by themselves are given, fitted to the rows that train."""

from __future__ import annotations

from typing import Self

import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

MISSING = "missing"


def texts(rows: pd.DataFrame) -> list[str]:
    """Return the columns that are no numbers."""
    return [name for name in rows if not pd.api.types.is_numeric_dtype(rows[name])]


class Levels(TransformerMixin, BaseEstimator):
    """Text columns as strings or categories; what is missing is a level, and unknown levels are missing.

    Args:
        kind: ``"string"`` or ``"category"``.
        most: text columns with more levels than this are left out; None keeps all.
        medians: whether missing numbers are filled with the column's median.
    """

    def __init__(self, kind: str = "category", most: int | None = None, medians: bool = False) -> None:
        self.kind = kind
        self.most = most
        self.medians = medians

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:  # noqa: ARG002 - as scikit-learn calls it
        """Learn the levels, and the medians."""
        self.levels_ = {name: sorted({MISSING, *X[name].dropna().astype(str)}) for name in texts(X)}
        self.left_out_ = [name for name, found in self.levels_.items() if self.most and len(found) > self.most]
        self.medians_ = X.select_dtypes("number").median() if self.medians else {}
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the columns that are kept."""
        made = {}
        for name, levels in self.levels_.items():
            cells = X[name].astype(object).where(X[name].notna(), MISSING).astype(str)
            cells = cells.where(cells.isin(levels), MISSING)
            made[name] = cells.astype(object) if self.kind == "string" else pd.Categorical(cells, categories=levels)
        return X.assign(**made).fillna(self.medians_ if self.medians else {}).drop(columns=self.left_out_)


def standard_columns() -> ColumnTransformer:
    """Return standardised numbers with marks of what was missing, and a column for each level of texts."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    levels = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2, sparse_output=False)
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")), (levels, make_column_selector(dtype_exclude="number"))
    )
