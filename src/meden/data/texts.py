"""The cells of a column as texts: the distinct ones, and which each row holds.

Legend: ``n`` rows.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types as pdtypes

from meden.data.columns import Values, text_of


@dataclasses.dataclass(frozen=True, eq=False)
class Texts:
    """Stripped texts of a column."""

    distinct: tuple[str, ...]
    codes: Values
    """Positions in ``distinct``, -1 for missing, (n,)."""
    num_padded: int
    """Cells with spaces around."""

    @functools.cached_property
    def counts(self) -> dict[str, int]:
        """How many rows hold each text."""
        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.distinct))
        return dict(zip(self.distinct, counts.tolist(), strict=True))

    def each(self, values: Values) -> Values:
        """Return for each row what ``values``, one of each distinct text, has for it; (n,), NaN for missing."""
        return np.append(values, np.nan)[self.codes]

    def rows(self, wanted: set[str]) -> list[tuple[int, str]]:
        """Return rows, with their texts, that hold one of the texts wanted."""
        chosen = np.array([text in wanted for text in self.distinct] + [False])
        return [(int(row), self.distinct[self.codes[row]]) for row in np.flatnonzero(chosen[self.codes])]


def texts_of(cells: pd.Series[Any]) -> Texts | None:
    """Return a column's cells as texts; None if it holds no strings, or what is neither string nor number.

    Example:
        >>> found = texts_of(pd.Series(["yes", " yes", 1, None]))
        >>> found.distinct, found.codes.tolist(), found.num_padded
        (('yes', '1'), [0, 0, 1, -1], 1)
    """
    if isinstance(cells.dtype, pd.CategoricalDtype) or pdtypes.is_numeric_dtype(cells.dtype):
        return None
    if pdtypes.infer_dtype(cells, skipna=True) not in ("string", "mixed-integer", "mixed"):
        return None
    try:
        codes, raw = pd.factorize(cells.astype(object).to_numpy(dtype=object), use_na_sentinel=True)
    except TypeError:  # lists and the like
        return None
    strings = [isinstance(value, str) for value in raw]
    if not any(strings) or not all(isinstance(v, (str, int, float)) and not isinstance(v, bool) for v in raw):
        return None
    stripped = [text_of(value) for value in raw]
    padded = np.array([one != value for one, value in zip(stripped, raw, strict=True) if isinstance(value, str)])
    merged, distinct = pd.factorize(np.array(stripped, dtype=object))
    is_padded = np.zeros(len(raw) + 1, dtype=bool)
    is_padded[np.flatnonzero(strings)] = padded
    return Texts(tuple(distinct), np.append(merged, -1)[codes], int(is_padded[codes].sum()))
