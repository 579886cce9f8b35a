"""What the names of a space mean: which recipe, and which model, a point of it stands for.

A name is a field of :class:`meden.Recipe`, a short name, or an argument of the user's ``make_model``. Short names are
strengths: ``l1`` and ``l2`` of penalties on the weights, coupled proximally, so that a strength is that of the
objective, and means the same whatever the learning rate and the number of steps; ``weight_decay`` of decay beside the
optimizer's steps, as in AdamW, of which a step takes off so much times the learning rate; ``swap_noise``, ``jitter``,
``feature_mask``, ``affine``, ``elastic``, ``mixup``, ``cutmix`` and ``label_smoothing`` of augmentations. ``affine`` is
in units of what :class:`meden.augment.Affine` does by default, all three at once; ``elastic`` in pixels. A short name
that is None is off. It is trained at strength 0, which changes nothing, so that it shares a stack with those that are
on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from meden._checks import InputError, nearest
from meden.augment import (
    Affine,
    Augmentation,
    CutMix,
    Elastic,
    FeatureMask,
    Jitter,
    LabelSmoothing,
    Mixup,
    SwapNoise,
)
from meden.member import ModelMaker
from meden.optim import Regularizer
from meden.penalties import L1, L2, Penalty
from meden.recipe import Recipe
from meden.space.dimensions import Dimension, FromData


def _affine(strength: float) -> Affine:
    """Return the default turns, moves and changes of size, times a strength."""
    default = Affine()
    return Affine(*(strength * part for part in (default.degrees, default.translate, default.scale)))


PENALTIES: dict[str, Callable[[Any], Penalty]] = {"l1": L1, "l2": L2}
DECAY = "weight_decay"
AUGMENTATIONS: dict[str, Callable[[Any], Augmentation]] = {
    "swap_noise": SwapNoise,
    "jitter": Jitter,
    "feature_mask": FeatureMask,
    "affine": _affine,
    "elastic": Elastic,
    "mixup": Mixup,
    "cutmix": CutMix,
    "label_smoothing": LabelSmoothing,
}
"""In the order in which they act: noise on cells, warps of images, mixtures, then what is done to the target alone."""
SHORT_NAMES = (*PENALTIES, DECAY, *AUGMENTATIONS)
OFF: Mapping[str, Any] = {
    "dropout": 0.0,
    "dropout_shape": "constant",
    "rdrop": None,
    "regularizers": (),
    "activity": (),
    "augment": (),
    "averaging": None,
    "sharpness": None,
    "early_stopping": None,
}
"""Fields of a recipe that regularise, and what they are where nothing does."""
REGULARISING = (*OFF, *SHORT_NAMES)
SIMPLER_WHEN_LARGER = (*SHORT_NAMES, "dropout", "rdrop")
SIMPLER_WHEN_SMALLER = ("width", "depth", "epochs")
NUMBERS = (
    "lr",
    "momentum",
    "epochs",
    "stop_after",
    "clip_norm",
    "dropout",
    "dropout_shape",
    "rdrop",
    "schedule",
    "early_stopping",
    "eval_rows",
)
"""Fields of a recipe in which members of one stack may differ; None is another matter."""
GIVEN = ("num_inputs", "num_outputs", "num_numbers", "num_targets")
"""Arguments of ``make_model`` that come from the data, the last two where the network is for tables."""


Space = Mapping[str, Dimension]
AskedSpace = Mapping[str, Dimension | FromData]
"""A space as it is written down: strengths may have ends that the data decide."""


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
    _check_dimensions(space, FromData)


def check_space_of_function(space: Any) -> None:
    """Check the space of a training function, which gives names a meaning of its own.

    Raises:
        InputError: for an empty space, a name that is no text, or a value that is no dimension.
    """
    if not isinstance(space, Mapping) or not space:
        raise InputError(
            f"space must name at least one of job.params to search, such as lr=LogUniform(), got {space!r}"
        )
    for name in space:
        if not isinstance(name, str):
            raise InputError(f"space must have strings as names, got {name!r}")
    _check_dimensions(space)


def _check_dimensions(space: Mapping[str, Any], *more: type[Any]) -> None:
    kinds = ("LogUniform", "Uniform", "IntUniform", "Choice", "Maybe", *(kind.__name__ for kind in more))
    for name, dimension in space.items():
        if not isinstance(dimension, (Dimension, *more)):
            allowed = f"{', '.join(kinds[:-1])} or {kinds[-1]}"
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
    penalties += [Regularizer(made, coupling="decoupled") for made in _made({DECAY: L2}, params)]
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
        >>> from meden.space import Choice, Uniform
        >>> shaping({"width": Choice(8, 16), "lr": Uniform(0, 1), "l1": Choice(0.1), "clip_norm": Choice(None)})
        ['width', 'clip_norm']
    """
    alike = [name for name in space if name in NUMBERS and None not in space[name].edges()]
    return [name for name in space if name not in (*SHORT_NAMES, *alike)]


def longest(space: Space, recipe: Recipe) -> int:
    """Return the epochs of the longest fit that a space can reach."""
    edges = space["epochs"].edges() if "epochs" in space else [recipe.epochs]
    return max(recipe.replace(epochs=epochs).last_epoch for epochs in edges)


def model_arguments(make_model: ModelMaker) -> list[str]:
    """Return the names of the arguments of ``make_model`` that a space may set."""
    return [name for name in inspect.signature(make_model).parameters if name not in GIVEN]
