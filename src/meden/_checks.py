"""Argument checks: every message names the argument, what is allowed and what came."""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """Invalid user input; the message names the argument, what is allowed and what was received."""


class BadCells(InputError):
    """Some cells of a column cannot be used, and the others can; the message names the first.

    Args:
        message: as of every such error.
        rows: positions of all those cells in the column, from 0.
    """

    def __init__(self, message: str, rows: Iterable[int] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(int(row) for row in rows)


class Damaged(InputError):
    """A file is not, or no longer, as meden wrote it; the message names it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name most like ``name`` and not it, or an empty string.

    Example:
        >>> nearest("Age", ["age", "dose"]), nearest("nope", ["age", "dose"])
        ("; did you mean 'age'?", '')
    """
    others = {str(k).lower(): str(k) for k in known if str(k) != str(name)}
    close = difflib.get_close_matches(str(name).lower(), others, n=1)
    return f"; did you mean {others[close[0]]!r}?" if close else ""


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> None:
    """Check that ``value`` is a finite number in the interval; tensors pass unchecked.

    Raises:
        InputError: if it is not a number, not finite or outside the interval.
    """
    if _is_tensor(value):
        return
    allowed = _interval(low, high, low_open, high_open)
    if isinstance(value, bool) or (not isinstance(value, (int, float)) and not hasattr(value, "__float__")):
        raise InputError(f"{name} must be a number {allowed}, got {value!r}")
    number = float(value)
    below = number <= low if low_open else number < low
    above = number >= high if high_open else number > high
    if not math.isfinite(number) or below or above:
        raise InputError(f"{name} must be a finite number {allowed}, got {value!r}")


def check_strength(name: str, value: Any) -> None:
    """Check a strength: a finite number, zero or more, or a tensor that broadcasts."""
    check_number(name, value, low=0.0)


def check_count(name: str, value: Any, *, low: int = 1, high: int | None = None) -> None:
    """Check that ``value`` is a whole number of at least ``low``, and at most ``high`` if that is given."""
    whole = not isinstance(value, bool) and hasattr(value, "__index__")
    if not whole or value < low or (high is not None and value > high):
        allowed = f"of at least {low}" if high is None else f"in [{low}, {high}]"
        raise InputError(f"{name} must be a whole number {allowed}, got {value!r}")


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line; nothing if it cannot be made to say it."""
    try:
        return " ".join(str(error).split())
    except Exception:
        return ""


def parse_json(text: str | bytes) -> Any:
    """Return what JSON says.

    Raises:
        ValueError: if it is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_json(text: str | bytes) -> bool:
    """Say whether a text is JSON, to its end."""
    try:
        parse_json(text)
    except ValueError:
        return False
    return True


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Check that ``value`` is one of ``choices``; the message suggests the nearest."""
    choices = list(choices)
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value!r}{nearest(value, choices)}")


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # without torch there are no tensors
    return torch is not None and isinstance(value, torch.Tensor)


def _interval(low: float, high: float, low_open: bool, high_open: bool) -> str:
    if low == -math.inf and high == math.inf:
        return "of any size"
    if high == math.inf:
        return f"{'above' if low_open else 'of at least'} {low:g}"
    return f"in {'(' if low_open else '['}{low:g}, {high:g}{')' if high_open else ']'}"
