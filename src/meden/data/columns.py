"""A raw column: which kind it is, and its values in the one form that encoders and hashes read.

A kind belongs to the whole column, like its name: it is read once, when a table comes in. Every number an encoder
uses comes from the fitting rows alone (``fitted.py``).

Legend: ``n`` rows. Canonical values are float64 (n,) with NaN for missing (``number``; ``boolean`` as 0 and 1;
``date`` as days since 1970 in UTC), or an object array (n,) of strings with None for missing (``text``).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types as pdtypes

from meden._checks import BadCells, InputError

Kind = Literal["number", "boolean", "text", "date"]
Values = npt.NDArray[Any]

_ISO_DATE = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
_INFERRED: dict[str, Kind] = {
    "integer": "number",
    "floating": "number",
    "mixed-integer-float": "number",
    "decimal": "number",
    "boolean": "boolean",
    "string": "text",
    "mixed-integer": "text",
    "datetime64": "date",
    "datetime": "date",
    "date": "date",
}
_BOOLEANS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}


def kind_of(column: pd.Series[Any]) -> Kind:
    """Return the kind of a column that holds at least one value.

    Booleans are ``boolean``; numbers (also among objects) ``number``; dates ``date``, and so are strings if every
    one of them is an ISO date (``2024-02-29``, ``2024-02-29T12:30:00Z``); other strings, pandas categories of
    anything, and mixtures of strings and numbers are ``text``.

    Raises:
        InputError: if the column holds anything else (lists, durations, complex numbers, bytes).

    Example:
        >>> kind_of(pd.Series(["2024-01-31", None])), kind_of(pd.Series(["a", 1])), kind_of(pd.Series([1, None]))
        ('date', 'text', 'number')
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "text"
    if pdtypes.is_numeric_dtype(column.dtype) and not pdtypes.is_complex_dtype(column.dtype):
        return "boolean" if pdtypes.is_bool_dtype(column.dtype) else "number"
    inferred = pdtypes.infer_dtype(column, skipna=True)
    kind = _INFERRED.get(inferred)
    if kind is None and inferred == "mixed" and all(isinstance(v, (str, bool, int, float)) for v in column.dropna()):
        kind = "text"
    if kind is None:
        raise InputError(
            f"column {column.name!r} must hold numbers, strings, booleans or dates, got {inferred} ({column.dtype})"
        )
    return "date" if is_iso(column) else kind


def canonical(column: pd.Series[Any], kind: Kind) -> Values:
    """Return the values of a column, read as ``kind``, in canonical form (see the top of the file).

    Raises:
        InputError: naming the column and a value that cannot be read as that kind, or counting infinities.
    """
    values = _read(column, kind)
    if kind != "text":
        _check_readable(column, values, kind)
        check_finite(column.name, values)
    return values


def readable(column: pd.Series[Any], kind: Kind) -> tuple[Values, list[tuple[int, str]]]:
    """Return what :func:`canonical` does, with NaN for cells that cannot be read; and their rows, with their texts.

    Example:
        >>> readable(pd.Series([1.5, float("inf")]), "number")
        (array([1.5, nan]), [(1, 'inf')])
    """
    values = _read(column, kind)
    if kind == "text":
        return values, []
    wrong = np.isinf(values) | (np.isnan(values) & column.notna().to_numpy(dtype=bool))
    return np.where(wrong, np.nan, values), [(int(row), text_of(column.iloc[row])) for row in np.flatnonzero(wrong)]


def check_finite(name: object, values: Values) -> None:
    """Check that no value of a column is infinite.

    Raises:
        BadCells: naming the column and the first row.
    """
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise BadCells(
            f"column {name!r} must hold finite values, got {infinite.size} infinite of {len(values)} "
            f"(first in row {int(infinite[0])})",
            infinite,
        )


def text_of(value: object) -> str:
    """Return a cell as text, without spaces around; a whole number reads alike whether it came as integer or float."""
    if isinstance(value, str):
        return value.strip()
    return str(int(value)) if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)


def missing(values: Values) -> npt.NDArray[np.bool_]:
    """Return which canonical values are missing, (n,)."""
    return np.asarray(pd.isna(values), dtype=bool)


def _read(column: pd.Series[Any], kind: Kind) -> Values:
    return {"number": _numbers, "boolean": _booleans, "date": _days, "text": _texts}[kind](column)


def _texts(column: pd.Series[Any]) -> Values:
    cells = column.astype(object)
    absent = column.isna().to_numpy(dtype=bool)
    texts = np.empty(len(cells), dtype=object)
    texts[:] = [None if gone else text_of(value) for value, gone in zip(cells, absent, strict=True)]
    return texts


def _numbers(column: pd.Series[Any]) -> Values:
    if pdtypes.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    cells = column.astype(object)
    return pd.to_numeric(cells.where(cells.notna(), None), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _booleans(column: pd.Series[Any]) -> Values:
    return np.array([_BOOLEANS.get(t.lower(), np.nan) if t is not None else np.nan for t in _texts(column)])


def _days(column: pd.Series[Any]) -> Values:
    if pdtypes.is_numeric_dtype(column.dtype):  # a number is no date, whatever to_datetime would make of it
        return np.full(len(column), np.nan)
    if pdtypes.infer_dtype(column, skipna=True) == "string":
        moments = pd.to_datetime(column.astype(object), utc=True, errors="coerce", format="ISO8601")
    else:
        moments = pd.to_datetime(column, utc=True, errors="coerce")
    # microseconds fit a float64 exactly until the year 2255; nanoseconds would depend on the pandas version
    since = moments.dt.tz_localize(None).to_numpy().astype("datetime64[us]") - np.datetime64(0, "us")
    return np.asarray(since / np.timedelta64(1, "D"), dtype=np.float64)


def is_iso(column: pd.Series[Any]) -> bool:
    """Say whether a column holds strings, and all of them are ISO dates."""
    if isinstance(column.dtype, pd.CategoricalDtype) or pdtypes.infer_dtype(column, skipna=True) != "string":
        return False
    present = column.dropna()
    if not present.astype(str).str.fullmatch(_ISO_DATE).all():
        return False
    return not bool(np.isnan(_days(present)).any())


def _check_readable(column: pd.Series[Any], values: Values, kind: Kind) -> None:
    unread = np.flatnonzero(np.isnan(values) & column.notna().to_numpy(dtype=bool))
    if unread.size:
        example = column.iloc[int(unread[0])]
        raise InputError(f"column {column.name!r} must hold {kind}s, got {example!r} (row {int(unread[0])})")
