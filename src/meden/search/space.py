"""What is searched: dimensions by name, and what a point of the space means.

A name is a field of :class:`meden.Recipe`, a short name, or an argument of the user's ``make_model``. Short names are
strengths: ``l1`` and ``l2`` of penalties on the weights, coupled proximally, so that a strength is that of the
objective, and means the same whatever the learning rate and the number of steps; ``swap_noise``, ``jitter``,
``feature_mask``, ``mixup``, ``cutmix`` and ``label_smoothing`` of augmentations. A short name that is None is off. It
is trained at strength 0, which changes nothing, so that it shares a stack with those that are on.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from optuna import Trial

from meden._checks import InputError, check_count, check_number, nearest
from meden.augment import Augmentation, CutMix, FeatureMask, Jitter, LabelSmoothing, Mixup, SwapNoise
from meden.optim import Regularizer
from meden.penalties import L1, L2, Penalty
from meden.recipe import Recipe

PENALTIES: dict[str, Callable[[Any], Penalty]] = {"l1": L1, "l2": L2}
AUGMENTATIONS: dict[str, Callable[[Any], Augmentation]] = {
    "swap_noise": SwapNoise,
    "jitter": Jitter,
    "feature_mask": FeatureMask,
    "mixup": Mixup,
    "cutmix": CutMix,
    "label_smoothing": LabelSmoothing,
}
"""In the order in which they act: noise on cells, then mixtures, then what is done to the target alone."""
SHORT_NAMES = (*PENALTIES, *AUGMENTATIONS)
UNEVEN = 0.6180339887
"""A place between two ends where no whole number is."""
SIMPLER_WHEN_LARGER = (*SHORT_NAMES, "dropout")
SIMPLER_WHEN_SMALLER = ("width", "depth", "epochs")
NUMBERS = (
    "lr",
    "momentum",
    "epochs",
    "stop_after",
    "clip_norm",
    "dropout",
    "dropout_shape",
    "schedule",
    "early_stopping",
    "eval_rows",
)
"""Fields of a recipe in which members of one stack may differ; None is another matter."""
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
    """Numbers from ``low`` to ``high``, uniform."""

    low: float
    high: float

    def __post_init__(self) -> None:
        check_number("Uniform low", self.low)
        check_number("Uniform high", self.high, low=self.low, low_open=True)

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
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int

    def __post_init__(self) -> None:
        check_count("IntUniform low", self.low, low=0)
        check_count("IntUniform high", self.high, low=self.low + 1)

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
            raise InputError(f"Choice takes numbers, strings, booleans or None, at least one, got {options!r}")
        self.options = options

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.options)

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
    """The strength of ``l1`` or ``l2``, with ends that the data decide: see :func:`meden.search.ranges.resolve`."""

    decades: float = 4.0
    """Powers of ten from the low end to the high one."""

    def __post_init__(self) -> None:
        check_number("FromData decades", self.decades, low=0.0, low_open=True)


Ordered = LogUniform | Uniform | IntUniform | FromData


@dataclass(frozen=True)
class Maybe:
    """First whether, then how much: off in half of what is drawn, and None then; else a value of ``dimension``.

    Example:
        >>> Maybe(Uniform(0.0, 0.5)).grid(3)
        [None, 0.0, 0.5]
    """

    dimension: Ordered

    def __post_init__(self) -> None:
        if not isinstance(self.dimension, get_args(Ordered)):
            allowed = "LogUniform, Uniform, IntUniform or FromData (a Choice may have None as an option)"
            raise InputError(f"Maybe must hold {allowed}, got {self.dimension!r}")

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


def switch(name: str) -> str:
    """Return Optuna's name for whether something is on."""
    return f"{name} is on"


Dimension = LogUniform | Uniform | IntUniform | Choice | Maybe
Space = Mapping[str, Dimension]
AskedSpace = Mapping[str, Dimension | FromData]
"""A space as it is written down: strengths may have ends that the data decide."""
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
        if not isinstance(dimension, Dimension | FromData):
            allowed = "LogUniform, Uniform, IntUniform, Choice, Maybe or FromData"
            raise InputError(f"space {name!r} must be {allowed}, got {dimension!r}")


def check_names(names: Iterable[str], make_model: ModelMaker) -> None:
    """Check that each name is a recipe's field, a short name or an argument of ``make_model``.

    Raises:
        InputError: naming the first that is not, and the nearest that would be.
    """
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(make_model).parameters.values()):
        return
    known = [*SHORT_NAMES, *Recipe.model_fields, *model_arguments(make_model)]
    for name in names:
        if name not in known:
            raise InputError(f"name must be one of {', '.join(known)}, got {name!r}{nearest(name, known)}")


def configure(recipe: Recipe, params: Mapping[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """Return the recipe and the arguments of ``make_model`` that a point of the space stands for.

    Raises:
        InputError: if a value is out of its field's range.
    """
    fields = {name: value for name, value in params.items() if name in Recipe.model_fields}
    penalties = [Regularizer(made, coupling="proximal") for made in _made(PENALTIES, params)]
    fields["regularizers"] = (*fields.get("regularizers", recipe.regularizers), *penalties)
    fields["augment"] = (*fields.get("augment", recipe.augment), *_made(AUGMENTATIONS, params))
    model_args = {name: value for name, value in params.items() if name not in (*fields, *SHORT_NAMES)}
    return recipe.replace(**fields), model_args


def _made(kinds: Mapping[str, Callable[[Any], Any]], params: Mapping[str, Any]) -> list[Any]:
    """Return the parts of a recipe that short names stand for; what is off has strength 0."""
    return [make(0.0 if params[name] is None else params[name]) for name, make in kinds.items() if name in params]


def simplicity(space: Space, params: Mapping[str, Any]) -> float:
    """Return how simple a point is: larger strengths and dropout, and smaller networks, count as simpler."""
    larger = sum(space[name].position(params[name]) for name in SIMPLER_WHEN_LARGER if name in space)
    smaller = sum(space[name].position(params[name]) for name in SIMPLER_WHEN_SMALLER if name in space)
    return float(larger - smaller)


def shaping(space: Space) -> list[str]:
    """Return the names whose values decide which configurations can be trained in one stack.

    Example:
        >>> shaping({"width": Choice(8, 16), "lr": Uniform(0, 1), "l1": Choice(0.1), "clip_norm": Choice(None)})
        ['width', 'clip_norm']
    """
    alike = [name for name in space if name in NUMBERS and None not in space[name].edges()]
    return [name for name in space if name not in (*SHORT_NAMES, *alike)]


def longest(space: Space, recipe: Recipe) -> int:
    """Return the epochs of the longest training that a space can reach."""
    edges = space["epochs"].edges() if "epochs" in space else [recipe.epochs]
    return max(recipe.replace(epochs=epochs).last_epoch for epochs in edges)


def model_arguments(make_model: ModelMaker) -> list[str]:
    """Return the names of the arguments of ``make_model`` that a space may set."""
    return [name for name in inspect.signature(make_model).parameters if name not in GIVEN]
