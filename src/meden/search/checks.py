"""What is refused before the first fit: settings that cannot be trained, models that cannot be made or do not fit.

A search must not fail after an hour because of a value it could have reached from the start.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from meden._checks import InputError, one_line
from meden.data import Dataset, Fold
from meden.member import EncodedData, Member, ModelMaker, as_taken, build_model
from meden.objective import check_fits, on_device
from meden.optim import bind
from meden.recipe import Recipe, prepare_noise
from meden.search.identity import Models
from meden.space.dimensions import Dimension
from meden.space.names import Space, configure
from meden.trainable import check_trains
from meden.training.fit import check_augmentations
from meden.training.grouping import grouped

MOST_POINTS = 2000
"""Points of a space that are tried: all combinations of edges, or so many of them drawn at random."""
MOST_MODELS = 32
Setting = tuple[Recipe, Mapping[str, Any]]
"""A recipe and the arguments of its model."""


def check_reachable(
    space: Space, recipe: Recipe, make_model: ModelMaker, dataset: Dataset, folds: Sequence[Fold]
) -> Models:
    """Check what a space can reach: its recipes at all edges, and the models made with the edges of their arguments.

    Raises:
        InputError: naming what cannot be trained.
    """
    settings = [_reached(recipe, params) for params in _points(space, MOST_POINTS)]
    for reached, _ in settings:
        check_stopping(reached, folds)
        if reached.schedule.kind == "plateau":
            raise InputError(
                "recipe schedule must not be 'plateau' in a search, since the choice is trained on all rows and "
                "none are left to monitor"
            )
    distinct = {(repr(model_args), reached.batch_size == 1): (reached, model_args) for reached, model_args in settings}
    return check_models(make_model, list(distinct.values())[:MOST_MODELS], dataset, folds)


def check_models(
    make_model: ModelMaker,
    settings: Iterable[tuple[Recipe, Mapping[str, Any]]],
    dataset: Dataset,
    folds: Sequence[Fold],
) -> Models:
    """Make each model once, see that it takes data and recipe; return what a ledger says of them.

    Raises:
        InputError: if ``make_model`` fails, or model, data and recipe do not fit together.
    """
    settings = list(settings)
    dataset = as_taken(make_model, dataset, Member(settings[0][0], folds[0], 0, settings[0][1]))
    encoder = dataset.fit_encoder(folds[0].fit)
    first = dataset.labels.reshape(dataset.num_rows, -1)[:, 0]
    rows = [int(first.argmin()), int(first.argmax())]  # of the first class and the last
    share = EncodedData(encoder, dataset.features(encoder, rows), dataset.targets(encoder, rows))

    def checked() -> Iterator[nn.Module]:
        for recipe, model_args in settings:
            model = _made(make_model, share, dataset, Member(recipe, folds[0], 0, model_args))
            yield model
            _check_fits(model, share, dataset)
            check_trains(model, on_device(share.x, model), recipe.batch_size, num_rows=min(len(f.fit) for f in folds))
            check_augmentations(recipe, share.x, dataset.task)
            prepare_noise(model, recipe, 0)
            bind(model, grouped(recipe.regularizers, model, on_device(share.x, model)), adaptive=recipe.adaptive)

    return Models.of(make_model, checked())


def check_stopping(recipe: Recipe, folds: Sequence[Fold]) -> None:
    """Check that there are rows to watch if a recipe watches them.

    Raises:
        InputError: if there are none.
    """
    watches = recipe.early_stopping is not None or recipe.schedule.kind == "plateau"
    if watches and not all(len(fold.stop) for fold in folds):
        raise InputError("stop_fraction must be above 0 when a recipe stops early or uses the plateau schedule, got 0")


def _reached(recipe: Recipe, params: Mapping[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    try:
        return configure(recipe, params)
    except InputError as error:
        raise InputError(f"space must hold only configurations that can be trained: {error}") from None


def _points(space: Mapping[str, Dimension], most: int) -> Iterator[dict[str, Any]]:
    """Yield combinations of the dimensions' edges: all of them, or ``most`` drawn at random if there are more."""
    edges = [dimension.edges() for dimension in space.values()]
    if math.prod(map(len, edges)) <= most:
        chosen: Iterable[Sequence[Any]] = itertools.product(*edges)
    else:
        draw = random.Random(0)
        chosen = ([draw.choice(values) for values in edges] for _ in range(most))
    return (dict(zip(space, point, strict=True)) for point in chosen)


def _made(make_model: ModelMaker, share: EncodedData, dataset: Dataset, member: Member) -> nn.Module:
    arguments = ", ".join(f"{name}={value!r}" for name, value in member.model_args.items())
    with _as_input_error(f"make_model({arguments}) must return a model"):
        return build_model(make_model, share, dataset, member)


def _check_fits(model: nn.Module, share: EncodedData, dataset: Dataset) -> None:
    with _as_input_error(f"make_model must return a model that takes inputs of shape {tuple(share.x.shape)}"):
        check_fits(model, dataset.task, {"data": (on_device(share.x, model), on_device(share.y, model))})


@contextmanager
def _as_input_error(rule: str) -> Iterator[None]:
    """Report what the user's code raised in one line, after the rule that it broke."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(f"{rule}, but failed: {cause}") from error
