"""Dimensions of a space: what one searched name may be, and how its values are drawn, gridded and placed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from meden._checks import InputError, check_count, check_number

if TYPE_CHECKING:
    from optuna import Trial

UNEVEN = 0.6180339887
"""A place between two ends where no whole number is."""


@dataclass(frozen=True)
class LogUniform:
    """Numbers from ``low`` to ``high``, uniform in the logarithm.

    Args:
        low: smallest number, above 0.
        high: largest number, above ``low``.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_number("LogUniform low", self.low, low=0.0, low_open=True)
        check_number("LogUniform high", self.high, low=self.low, low_open=True)

    def __contains__(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def suggest(self, trial: Trial, name: str) -> Any:
        """Ask Optuna for a value."""
        return trial.suggest_float(name, self.low, self.high, log=True)

    def grid(self, num: int) -> list[Any]:
        """Return ``num`` values, evenly spaced, ends included."""
        return [self.at(i / max(num - 1, 1)) for i in range(num)]

    def edges(self) -> list[Any]:
        """Return values that stand for all others when they are checked: both ends, and one in between."""
        return [self.low, self.at(UNEVEN), self.high]

    def at(self, place: float) -> float:
        """Return the value at a place, 0 to 1."""
        return min(self.low * math.pow(self.high / self.low, place), self.high)

    def position(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        return math.log(value / self.low) / math.log(self.high / self.low)


@dataclass(frozen=True)
class Uniform:
    """Numbers from ``low`` to ``high``, uniform.

    Args:
        low: smallest number.
        high: largest number, above ``low``.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_number("Uniform low", self.low)
        check_number("Uniform high", self.high, low=self.low, low_open=True)

    def __contains__(self, value: Any) -> bool:
        return _is_number(value) and self.low <= value <= self.high

    def suggest(self, trial: Trial, name: str) -> Any:
        """Ask Optuna for a value."""
        return trial.suggest_float(name, self.low, self.high)

    def grid(self, num: int) -> list[Any]:
        """Return ``num`` values, evenly spaced, ends included."""
        return [self.at(i / max(num - 1, 1)) for i in range(num)]

    def edges(self) -> list[Any]:
        """Return values that stand for all others when they are checked: both ends, and one in between."""
        return [self.low, self.at(UNEVEN), self.high]

    def at(self, place: float) -> float:
        """Return the value at a place, 0 to 1."""
        return min(self.low + (self.high - self.low) * place, self.high)

    def position(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class IntUniform:
    """Integers from ``low`` to ``high``, both included.

    Args:
        low: smallest number, 0 or more.
        high: largest number, above ``low``.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        check_count("IntUniform low", self.low, low=0)
        check_count("IntUniform high", self.high, low=self.low + 1)

    def __contains__(self, value: Any) -> bool:
        return _is_number(value) and isinstance(value, int) and self.low <= value <= self.high

    def suggest(self, trial: Trial, name: str) -> Any:
        """Ask Optuna for a value."""
        return trial.suggest_int(name, self.low, self.high)

    def grid(self, num: int) -> list[Any]:
        """Return at most ``num`` distinct values, evenly spaced, ends included."""
        return sorted({round(value) for value in Uniform(self.low, self.high).grid(num)})

    def edges(self) -> list[Any]:
        """Return values that stand for all others when they are checked: both ends."""
        return [self.low, self.high]

    def at(self, place: float) -> int:
        """Return the value at a place, 0 to 1; each has an equal share."""
        return min(self.low + int(place * (self.high - self.low + 1)), self.high)

    def position(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


class Choice:
    """One of a few values: ``Choice(64, 128)``."""

    def __init__(self, *options: Any) -> None:
        if not options or not all(isinstance(option, (str, int, float, bool, type(None))) for option in options):
            raise InputError(f"Choice must hold at least one number, string, boolean or None, got {options!r}")
        self.options = options

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.options)

    def __contains__(self, value: Any) -> bool:
        return any(value == option and type(value) is type(option) for option in self.options)

    def suggest(self, trial: Trial, name: str) -> Any:
        """Ask Optuna for a value."""
        return trial.suggest_categorical(name, self.options)

    def grid(self, num: int) -> list[Any]:  # noqa: ARG002 - a choice has as many values as it has
        """Return the options."""
        return list(self.options)

    def edges(self) -> list[Any]:
        """Return the options."""
        return list(self.options)

    def at(self, place: float) -> Any:
        """Return the option at a place, 0 to 1; each has an equal share."""
        return self.options[min(int(place * len(self.options)), len(self.options) - 1)]

    def position(self, value: Any) -> float:
        """Return where a value lies, 0 to 1, in the order given."""
        return self.options.index(value) / max(len(self.options) - 1, 1)


@dataclass(frozen=True)
class FromData:
    """A strength of ``l1`` or ``l2`` whose range comes from the data: see :func:`meden.space.from_data.resolve`.

    Args:
        decades: powers of ten from the low end to the high one.
    """

    decades: float = 4.0

    def __post_init__(self) -> None:
        check_number("FromData decades", self.decades, low=0.0, low_open=True)


Ordered = LogUniform | Uniform | IntUniform | FromData


@dataclass(frozen=True)
class Maybe:
    """A setting that may be off: None in half of the draws, otherwise a value of ``dimension``.

    Args:
        dimension: what is drawn from where it is on: a range of numbers.

    Example:
        >>> Maybe(Uniform(0.0, 0.5)).grid(3)
        [None, 0.0, 0.5]
    """

    dimension: Ordered

    def __post_init__(self) -> None:
        if not isinstance(self.dimension, get_args(Ordered)):
            allowed = "LogUniform, Uniform, IntUniform or FromData (a Choice may have None as an option)"
            raise InputError(f"Maybe must hold {allowed}, got {self.dimension!r}")

    def __contains__(self, value: Any) -> bool:
        return value is None or value in self.inner

    @property
    def inner(self) -> LogUniform | Uniform | IntUniform:
        """The dimension of values that are on."""
        assert not isinstance(self.dimension, FromData), "ranges.resolve comes first"
        return self.dimension

    def suggest(self, trial: Trial, name: str) -> Any:
        """Ask Optuna whether, and for a value only if so: what is off has no strength that could be learned from."""
        return self.inner.suggest(trial, name) if trial.suggest_categorical(switch(name), (False, True)) else None

    def grid(self, num: int) -> list[Any]:
        """Return None and at most ``num - 1`` values, evenly spaced."""
        return [None, *self.inner.grid(max(num - 1, 1))]

    def edges(self) -> list[Any]:
        """Return None and the edges of what is on."""
        return [None, *self.inner.edges()]

    def at(self, place: float) -> Any:
        """Return None for places below a half, and a value for those above."""
        return None if place < 0.5 else self.inner.at(2 * place - 1)

    def position(self, value: Any) -> float:
        """Return where a value lies, 0 to 1; off counts as the least."""
        return 0.0 if value is None else self.inner.position(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def switch(name: str) -> str:
    """Return Optuna's name for whether something is on."""
    return f"{name} is on"


Dimension = LogUniform | Uniform | IntUniform | Choice | Maybe
