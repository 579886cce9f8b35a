"""A fitted column: canonical values (``columns.py``) to network inputs, by what the fitting rows showed.

Legend: ``n`` rows, ``width`` inputs made of one column. Each is a frozen dataclass of JSON-able fields;
``encode`` takes canonical values (n,) to inputs, float64 (n, width).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from meden.data.columns import Kind, Values, missing

MAX_LEVELS = 50
"""Levels of a text column that get an input of their own: the most frequent; the rest share one, "other"."""
MIN_LEVEL_ROWS = 2
"""Fitting rows a level needs for an input of its own; what is seen once cannot generalise."""
PERIODS = {"year": 365.2425, "week": 7.0, "day": 1.0}
"""Cycles of a date, in days."""


@dataclasses.dataclass(frozen=True)
class NumberColumn:
    """(value - center) * scale, missing values replaced by the median first, and told by an indicator.

    A column that is constant (or wholly missing) in the fitting rows has scale 0: it contributes zeros.

    Example:
        >>> column = NumberColumn.fit("age", np.array([20.0, 40.0, np.nan]))
        >>> column.encode(np.array([40.0, np.nan])).round(3).tolist()
        [[1.225, 0.0], [0.0, 1.0]]
    """

    name: str
    fill: float
    center: float
    scale: float
    indicator: bool

    @classmethod
    def fit(cls, name: str, values: Values) -> Self:
        """Take median, mean, 1 / standard deviation and the need for an indicator from canonical values (n,)."""
        absent = missing(values)
        fill = float(np.median(values[~absent])) if not absent.all() else 0.0
        center, scale = standardisation(np.where(absent, fill, values))
        return cls(name, fill, center, scale, indicator=bool(absent.any()))

    @property
    def input_names(self) -> tuple[str, ...]:
        """The column, and its indicator."""
        return (self.name, f"{self.name} is missing") if self.indicator else (self.name,)

    def encode(self, values: Values) -> Values:
        """Impute, standardise, indicate."""
        absent = missing(values)
        scaled = (np.where(absent, self.fill, values) - self.center) * self.scale
        return np.column_stack([scaled, absent] if self.indicator else [scaled]).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class TextColumn:
    """One input per level (0 or 1), one for all pooled levels if there were any, one for missing if there was any.

    Levels are the fitting rows' most frequent values, at most ``MAX_LEVELS``, each in at least ``MIN_LEVEL_ROWS``
    rows. A value that has no level counts as pooled; with nothing pooled in fitting it is all zeros.

    Example:
        >>> column = TextColumn.fit("pet", np.array(["cat", "dog", "cat", "dog", "emu", None], dtype=object))
        >>> column.input_names
        ('pet=cat', 'pet=dog', 'pet is other', 'pet is missing')
        >>> column.encode(np.array(["dog", "yak", None], dtype=object)).tolist()
        [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """

    name: str
    levels: tuple[str, ...]
    pooled: bool
    indicator: bool

    @classmethod
    def fit(cls, name: str, values: Values) -> Self:
        """Take the levels from canonical values (n,)."""
        counts = Counter(value for value in values if value is not None)
        ranked = sorted(counts, key=lambda level: (-counts[level], level))
        kept = [level for level in ranked[:MAX_LEVELS] if counts[level] >= MIN_LEVEL_ROWS]
        pooled = bool(kept) and len(kept) < len(counts)
        return cls(name, tuple(sorted(kept)), pooled, indicator=bool(missing(values).any()))

    @property
    def input_names(self) -> tuple[str, ...]:
        """The levels, ``other``, ``missing``."""
        flags = {"other": self.pooled, "missing": self.indicator}
        return tuple(f"{self.name}={level}" for level in self.levels) + tuple(
            f"{self.name} is {flag}" for flag, present in flags.items() if present
        )

    def encode(self, values: Values) -> Values:
        """One-hot."""
        index = pd.Index(self.levels, dtype=object).get_indexer(pd.Index(values, dtype=object))
        absent = missing(values)
        one_hot = index[:, None] == np.arange(len(self.levels))
        flags = [(index < 0) & ~absent] * self.pooled + [absent] * self.indicator
        return np.column_stack([one_hot, *flags]).astype(np.float64)

    def unknown(self, values: Values) -> list[str]:
        """Return values without a level; none for a column that had no level at all (identifiers)."""
        return sorted({v for v in values if v is not None} - set(self.levels)) if self.levels else []


@dataclasses.dataclass(frozen=True)
class DateColumn:
    """The standardised day, and sine and cosine of its phase in the year, the week and the day, where these vary.

    Example:
        >>> column = DateColumn.fit("sold", np.array([0.0, 1.0, 2.0]))  # three days at midnight
        >>> column.input_names
        ('sold', 'sold year sin', 'sold year cos', 'sold week sin', 'sold week cos')
    """

    name: str
    day: NumberColumn
    periods: tuple[str, ...]

    @classmethod
    def fit(cls, name: str, values: Values) -> Self:
        """Take the fitted day and the cycles that vary from canonical values (n,)."""
        present = values[~missing(values)]
        periods = tuple(p for p, days in PERIODS.items() if present.size and np.ptp(present % days) > 0)
        return cls(name, NumberColumn.fit(name, values), periods)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The day, its indicator, the cycles."""
        return self.day.input_names + tuple(f"{self.name} {p} {f}" for p in self.periods for f in ("sin", "cos"))

    def encode(self, values: Values) -> Values:
        """Standardise the day and turn the cycles; a missing date has no phase, and zeros there."""
        turns = [values / PERIODS[period] * 2 * np.pi for period in self.periods]
        waves = [wave(turn) for turn in turns for wave in (np.sin, np.cos)]
        return np.asarray(np.nan_to_num(np.column_stack([self.day.encode(values), *waves])))


def standardisation(values: Values) -> tuple[float, float]:
    """Return mean and 1 / standard deviation of finite values (n,); 0 for the latter if they are constant.

    Example:
        >>> standardisation(np.array([1.0, 3.0])), standardisation(np.array([0.1, 0.1, 0.1]))[1]
        ((2.0, 1.0), 0.0)
    """
    largest = float(np.abs(values).max(initial=0.0))
    unit = values / largest if largest > 0 else values  # squares of very large values would overflow
    spread = float(unit.std()) if values.size else 0.0
    center = float(unit.mean()) * largest if largest > 0 else 0.0
    return center, (1.0 / (spread * largest) if spread > 1e-12 else 0.0)


Column = NumberColumn | TextColumn | DateColumn


def fit_column(name: str, kind: Kind, values: Values) -> Column:
    """Fit a column of a kind on the canonical values (n,) of the fitting rows."""
    if kind == "text":
        return TextColumn.fit(name, values)
    return DateColumn.fit(name, values) if kind == "date" else NumberColumn.fit(name, values)


def column_from_dict(kind: Kind, fields: Mapping[str, Any]) -> Column:
    """Return the column whose ``dataclasses.asdict`` gave ``fields`` (through JSON or not)."""
    if kind == "text":
        return TextColumn(**{**fields, "levels": tuple(fields["levels"])})
    if kind == "date":
        return DateColumn(fields["name"], NumberColumn(**fields["day"]), tuple(fields["periods"]))
    return NumberColumn(**fields)
