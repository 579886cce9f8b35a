"""What is searched: dimensions by name, and what a point of the space means.

A name is a field of :class:`meden.Recipe`, one of the short names ``l1``, ``l2``, or an argument of the user's
``make_model``. A short name is a penalty on the weights, coupled proximally: its strength then is that of the
objective, and means the same whatever the learning rate and the number of steps.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from meden._checks import InputError, check_count, check_number, nearest
from meden.optim import Regularizer
from meden.penalties import L1, L2
from meden.recipe import Recipe

PENALTIES: dict[str, type[L1] | type[L2]] = {"l1": L1, "l2": L2}
UNEVEN = 0.6180339887
"""A place between two ends where no whole number is."""
SIMPLER_WHEN_LARGER = ("l1", "l2", "dropout")
SIMPLER_WHEN_SMALLER = ("width", "depth", "epochs")
GIVEN = ("num_inputs", "num_outputs")
"""Arguments of ``make_model`` that come from the data."""


@dataclass(frozen=True)
class LogUniform:
    """Numbers from ``low`` to ``high``, uniform in the logarithm; both above 0."""

    low: float
    high: float

    def __post_init__(self) -> None:
        check_number("LogUniform low", self.low, low=0.0, low_open=True)
        check_number("LogUniform high", self.high, low=self.low, low_open=True)

    def distribution(self) -> BaseDistribution:
        """Return Optuna's twin."""
        return FloatDistribution(self.low, self.high, log=True)

    def grid(self, num: int) -> list[Any]:
        """Return ``num`` values, evenly spaced, ends included."""
        return [self.low * (self.high / self.low) ** (i / max(num - 1, 1)) for i in range(num)]

    def edges(self) -> list[Any]:
        """Return values that stand for all others when they are checked: both ends, and one in between."""
        return [self.low, self.low * (self.high / self.low) ** UNEVEN, self.high]

    def position(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        return math.log(value / self.low) / math.log(self.high / self.low)


@dataclass(frozen=True)
class Uniform:
    """Numbers from ``low`` to ``high``, uniform."""

    low: float
    high: float

    def __post_init__(self) -> None:
        check_number("Uniform low", self.low)
        check_number("Uniform high", self.high, low=self.low, low_open=True)

    def distribution(self) -> BaseDistribution:
        """Return Optuna's twin."""
        return FloatDistribution(self.low, self.high)

    def grid(self, num: int) -> list[Any]:
        """Return ``num`` values, evenly spaced, ends included."""
        return [self.low + (self.high - self.low) * i / max(num - 1, 1) for i in range(num)]

    def edges(self) -> list[Any]:
        """Return values that stand for all others when they are checked: both ends, and one in between."""
        return [self.low, self.low + (self.high - self.low) * UNEVEN, self.high]

    def position(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class IntUniform:
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        check_count("IntUniform low", self.low, low=0)
        check_count("IntUniform high", self.high, low=self.low + 1)

    def distribution(self) -> BaseDistribution:
        """Return Optuna's twin."""
        return IntDistribution(self.low, self.high)

    def grid(self, num: int) -> list[Any]:
        """Return at most ``num`` distinct values, evenly spaced, ends included."""
        return sorted({round(value) for value in Uniform(self.low, self.high).grid(num)})

    def edges(self) -> list[Any]:
        """Return values that stand for all others when they are checked: both ends."""
        return [self.low, self.high]

    def position(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


class Choice:
    """One of a few values: ``Choice(64, 128)``."""

    def __init__(self, *options: Any) -> None:
        if not options or not all(isinstance(option, (str, int, float, bool, type(None))) for option in options):
            raise InputError(f"Choice takes numbers, strings, booleans or None, at least one, got {options!r}")
        self.options = options

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.options)

    def distribution(self) -> BaseDistribution:
        """Return Optuna's twin."""
        return CategoricalDistribution(self.options)

    def grid(self, num: int) -> list[Any]:  # noqa: ARG002 - a choice has as many values as it has
        """Return the options."""
        return list(self.options)

    def edges(self) -> list[Any]:
        """Return the options."""
        return list(self.options)

    def position(self, value: Any) -> float:
        """Return where a value lies, 0 to 1, in the order given."""
        return self.options.index(value) / max(len(self.options) - 1, 1)


Dimension = LogUniform | Uniform | IntUniform | Choice
Space = Mapping[str, Dimension]
ModelMaker = Callable[..., Any]


def check_space(space: Any, make_model: ModelMaker) -> None:
    """Check that each name means something and each dimension is one.

    Raises:
        InputError: for an empty space, an unknown name (with the nearest), or a value that is no dimension.
    """
    if not isinstance(space, Mapping) or not space:
        raise InputError(
            f"space must name at least one thing to search, such as l2=LogUniform(1e-6, 0.1), got {space!r}"
        )
    check_names(space, make_model)
    for name, dimension in space.items():
        if not isinstance(dimension, Dimension):
            raise InputError(f"space {name!r} must be LogUniform, Uniform, IntUniform or Choice, got {dimension!r}")


def check_names(names: Iterable[str], make_model: ModelMaker) -> None:
    """Check that each name is a recipe's field, a short name or an argument of ``make_model``.

    Raises:
        InputError: naming the first that is not, and the nearest that would be.
    """
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(make_model).parameters.values()):
        return
    known = [*PENALTIES, *Recipe.model_fields, *model_arguments(make_model)]
    for name in names:
        if name not in known:
            raise InputError(f"name must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}")


def configure(recipe: Recipe, params: Mapping[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe and the arguments of ``make_model`` that a point of the space stands for.

    Raises:
        InputError: if a value is out of its field's range.
    """
    fields = {name: value for name, value in params.items() if name in Recipe.model_fields}
    extra = [Regularizer(PENALTIES[n](params[n]), coupling="proximal") for n in PENALTIES if n in params]
    model_args = {name: value for name, value in params.items() if name not in fields and name not in PENALTIES}
    return recipe.replace(**fields, regularizers=(*recipe.regularizers, *extra)), model_args


def simplicity(space: Space, params: Mapping[str, Any]) -> float:
    """Return how simple a point is: larger strengths and dropout, and smaller networks, count as simpler."""
    larger = sum(space[name].position(params[name]) for name in SIMPLER_WHEN_LARGER if name in space)
    smaller = sum(space[name].position(params[name]) for name in SIMPLER_WHEN_SMALLER if name in space)
    return float(larger - smaller)


def model_arguments(make_model: ModelMaker) -> list[str]:
    """Return the names of the arguments of ``make_model`` that a space may set."""
    return [name for name in inspect.signature(make_model).parameters if name not in GIVEN]
