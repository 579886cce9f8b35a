"""Numbers as a reader wants them: four significant digits, units said."""

from __future__ import annotations

import math

from meden.report.document import Value

MISSING = "–"  # noqa: RUF001 - a dash is what a reader expects in an empty cell


def number(value: float, *, keep_zeros: bool = False) -> str:
    """Return a number with at most four significant digits; a dash if it is not finite.

    Args:
        value: any number; whole numbers (``int``) are written in full.
        keep_zeros: write ``0.2100`` and not ``0.21``, for columns of measurements.

    Example:
        >>> number(0.123456), number(1.5e-7), number(123456.7), number(128), number(0.21, keep_zeros=True)
        ('0.1235', '1.5e-7', '123,457', '128', '0.2100')
    """
    if isinstance(value, int) or (abs(value) >= 1e4 and abs(value) < 1e9):
        return f"{value:,.0f}"
    if not math.isfinite(value):
        return MISSING
    text = f"{value:#.4g}" if keep_zeros else f"{value:.4g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa.removesuffix(".")


def cell(value: Value, measured: bool = False) -> str:
    """Return the text of a table's cell.

    Args:
        value: of the cell.
        measured: numbers keep their trailing zeros.
    """
    if value is None:
        return MISSING
    if isinstance(value, (str, bool)):
        return str(value)
    return number(value, keep_zeros=measured)


def percent(share: float) -> str:
    """Return a share as a percentage.

    Example:
        >>> percent(0.93456)
        '93.5 %'
    """
    return f"{100 * share:.1f} %" if math.isfinite(share) else MISSING


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    Example:
        >>> plural(1, "fold"), plural(5, "fold")
        ('1 fold', '5 folds')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
