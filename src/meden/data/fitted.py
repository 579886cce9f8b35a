"""A fitted column: canonical values (``columns.py``) to network inputs, by what the fitting rows showed.

Legend: ``n`` rows, ``width`` inputs made of one column. Each is a frozen dataclass of JSON-able fields;
``encode`` takes canonical values (n,) to inputs, float64 (n, width).
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from meden._checks import check_choice
from meden._fields import check_all, checked_fields
from meden.data.columns import Kind, Values, missing
from meden.data.new_rows import far_remark

MAX_LEVELS = 50
"""Levels of a text column that get an input of their own: the most frequent; the rest share one, "other"."""
MIN_LEVEL_ROWS = 2
"""Fitting rows a level needs for an input of its own; what is seen once cannot generalise."""
ROBUST_CLIP = 3.0
"""Where robustly scaled numbers level off."""
FAR = 3.0
"""Ranges of the fitting rows outside of their range from where on a number is far from them, and clipped."""
LARGEST = float(np.finfo(np.float32).max)
"""The largest scaled number that is taken."""
ROUNDING = 8 * float(np.finfo(np.float64).eps)
"""Values that differ by less, relative to the largest, are constant."""
SMALLEST = 1e-300
"""So are those that differ by less than this, whose reciprocal is no number."""
SHOWN = 5
"""Names that a message lists."""
PERIODS = {"year": 365.2425, "week": 7.0, "day": 1.0}
"""Cycles of a date, in days."""


@dataclasses.dataclass(frozen=True)
class NumberColumn:
    """(value - center) * scale, missing values replaced by the median first, and marked by an indicator.

    A column that is constant (or wholly missing) in the fitting rows has scale 0: it contributes zeros. With a
    ``clip`` c, the scaled value z becomes z / sqrt(1 + (z / c)^2), which is smooth and stays within (-c, c). Without,
    values end at ``limits``.

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
    clip: float | None = None
    low: float = -np.inf
    high: float = np.inf
    """The fitting rows' smallest and largest value."""

    @classmethod
    def fit(cls, name: str, values: Values, *, robust: bool = False) -> Self:
        """Take median, center, scale and the need for an indicator from canonical values (n,).

        Args:
            name: of the column.
            values: of the fitting rows.
            robust: center and scale by the median and quartiles (:func:`robust_scaling`) and clip at ``ROBUST_CLIP``,
                in place of mean and standard deviation.
        """
        absent = missing(values)
        fill = float(np.median(values[~absent])) if not absent.all() else 0.0
        filled = np.where(absent, fill, values)
        center, scale = (robust_scaling if robust else standardisation)(filled)
        low, high = (float(filled.min()), float(filled.max())) if filled.size else (fill, fill)
        return cls(name, fill, center, scale, bool(absent.any()), ROBUST_CLIP if robust else None, low, high)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The column, and its indicator."""
        return (self.name, f"{self.name} is missing") if self.indicator else (self.name,)

    @property
    def limits(self) -> tuple[float, float]:
        """Where values are far from those of the fit: ``FAR`` ranges outside of their range."""
        margin = FAR * (self.high - self.low)
        return self.low - margin, self.high + margin

    def far(self, values: Values) -> Values:
        """Return which values lie beyond the limits, (n,); none of a column that contributes zeros."""
        low, high = self.limits
        return ((values < low) | (values > high)) & (self.scale > 0)

    def remarks(self, values: Values) -> dict[str, str]:
        """Return what is to be said of values of new rows, by what it is about."""
        return _missing_remark(values, "the median", fitted=self.indicator) | self._far_remark(values, "{:.4g}".format)

    def _far_remark(self, values: Values, shown: Callable[[float], str]) -> dict[str, str]:
        far = self.far(values)
        return {"far": far_remark(values, far, self.low, self.high, shown, "clipped")} if far.any() else {}

    def encode(self, values: Values) -> Values:
        """Impute, scale, clip, indicate; NaN for what is too large once scaled."""
        absent = missing(values)
        filled = np.where(absent, self.fill, values)
        scaled = (filled - self.center) * self.scale
        too_large = np.abs(scaled) > LARGEST
        if self.clip is not None:
            scaled = scaled / np.sqrt(1 + (scaled / self.clip) ** 2)
        elif self.far(filled).any():
            scaled = (np.clip(filled, *self.limits) - self.center) * self.scale
        if too_large.any():
            scaled[too_large] = np.nan
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

    def remarks(self, values: Values) -> dict[str, str]:
        """Return what is to be said of values of new rows, by what it is about."""
        said = _missing_remark(values, "no level", fitted=self.indicator)
        if unknown := self.unknown(values):
            said["levels"] = (
                f"{listed(unknown)} never or too rarely seen in training to have a level; these rows are predicted "
                "without it"
            )
        return said


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
    def fit(cls, name: str, values: Values, *, robust: bool = False) -> Self:
        """Take the fitted day and the cycles that vary from canonical values (n,)."""
        present = values[~missing(values)]
        periods = tuple(p for p, days in PERIODS.items() if present.size and np.ptp(present % days) > 0)
        return cls(name, NumberColumn.fit(name, values, robust=robust), periods)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The day, its indicator, the cycles."""
        return self.day.input_names + tuple(f"{self.name} {p} {f}" for p in self.periods for f in ("sin", "cos"))

    def remarks(self, values: Values) -> dict[str, str]:
        """Return what is to be said of values of new rows, by what it is about."""
        said = _missing_remark(values, "the median", fitted=self.day.indicator)
        return said | self.day._far_remark(values, _date)

    def encode(self, values: Values) -> Values:
        """Standardise the day and turn the cycles; a missing date has no phase, and zeros there."""
        turns = [values / PERIODS[period] * 2 * np.pi for period in self.periods]
        waves = [wave(turn) for turn in turns for wave in (np.sin, np.cos)]
        return np.column_stack([self.day.encode(values), *np.nan_to_num(waves)])


def standardisation(values: Values) -> tuple[float, float]:
    """Return mean and 1 / standard deviation of finite values (n,); 0 for the latter if they are constant.

    Example:
        >>> standardisation(np.array([1.0, 3.0])), standardisation(np.array([0.1, 0.1, 0.1]))[1]
        ((2.0, 1.0), 0.0)
    """
    if not values.size:
        return 0.0, 0.0
    middle = float(values.min() / 2 + values.max() / 2)  # taken away first: an offset would round what varies
    moved = values - middle
    largest = float(np.abs(moved).max())
    if largest <= max(SMALLEST, ROUNDING * float(np.abs(values).max())):
        return middle, 0.0
    unit = moved / largest  # squares of very large or small values would not be finite, or 0
    return middle + float(unit.mean()) * largest, 1.0 / (float(unit.std()) * largest)


def robust_scaling(values: Values) -> tuple[float, float]:
    """Return median and 1 / interquartile range of finite values (n,).

    Where the quartiles agree the scale is 2 / range, and 0 if the values are constant.

    Example:
        >>> robust_scaling(np.array([0.0, 1.0, 2.0, 3.0, 100.0])), robust_scaling(np.array([0.0, 0.0, 0.0, 0.0, 4.0]))
        ((2.0, 0.5), (0.0, 0.5))

    Reference:
        D. Holzmüller, L. Grinsztajn and I. Steinwart, Better by default: strong pre-tuned MLPs and boosted trees on
        tabular data, 2024 (with the clipping).
    """
    if not values.size:
        return 0.0, 0.0
    low, center, high = np.quantile(values, (0.25, 0.5, 0.75))
    spread = float(high - low) or float(np.ptp(values)) / 2
    varies = spread > max(SMALLEST, ROUNDING * float(np.abs(values).max()))
    return float(center), 1.0 / spread if varies else 0.0


Column = NumberColumn | TextColumn | DateColumn


def listed(names: Sequence[str]) -> str:
    """Return the first few names."""
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _missing_remark(values: Values, taken: str, *, fitted: bool) -> dict[str, str]:
    """Say that values are missing where the fit had none, or that none is there."""
    absent = missing(values)
    if not absent.any() or (fitted and not (absent.all() and len(values) > 1)):
        return {}
    seen = "" if fitted else "; no training row was missing one"
    return {"missing": f"{int(absent.sum())} of {len(values)} rows have no value, {taken} is used instead{seen}"}


def _date(day: float) -> str:
    return str(np.datetime64(round(day), "D"))


def fit_column(name: str, kind: Kind, values: Values, *, robust: bool = False) -> Column:
    """Fit a column of a kind on the canonical values (n,) of the fitting rows; ``robust`` is about how it is scaled."""
    if kind == "text":
        return TextColumn.fit(name, values)
    if kind == "date":
        return DateColumn.fit(name, values, robust=robust)
    return NumberColumn.fit(name, values, robust=robust and kind == "number")


def column_from_dict(kind: Kind, fields: Mapping[str, Any]) -> Column:
    """Return the column whose ``dataclasses.asdict`` gave ``fields`` (through JSON or not)."""
    if kind == "text":
        text = TextColumn(**checked_fields(TextColumn, fields))
        check_all("levels must differ", len(set(text.levels)) == len(text.levels) <= MAX_LEVELS, text.levels)
        return text
    if kind == "date":
        date = DateColumn(**checked_fields(DateColumn, fields))
        known = set(date.periods) <= PERIODS.keys() and len(set(date.periods)) == len(date.periods)
        check_all(f"periods must be of {', '.join(PERIODS)}", known, date.periods)
        _check_numbers(date.day)
        return date
    check_choice("kind", kind, ("number", "boolean"))
    number = NumberColumn(**checked_fields(NumberColumn, fields))
    _check_numbers(number)
    return number


def _check_numbers(column: NumberColumn) -> None:
    numbers = (column.fill, column.center, column.scale)
    check_all("fill, center and scale must be finite", all(map(math.isfinite, numbers)) and column.scale >= 0, numbers)
    check_all("clip must be above 0", column.clip is None or column.clip > 0, column.clip)
    check_all("low must be at most high", column.low <= column.high, column.low)
