"""What a search on a table is run with: the network, its space and recipe, and how much of a time limit it gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from meden._checks import check_choice
from meden.data import Dataset
from meden.member import ModelMaker
from meden.recipe import Recipe
from meden.space.names import AskedSpace
from meden.tabular.defaults import DEFAULTS, FOLDS, MODEL
from meden.tabular.network import NETWORKS, network, scaled_for
from meden.tabular.time_plan import plan_time


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """Arguments of :func:`meden.tune`, by their names there."""

    make_model: ModelMaker
    data: Dataset
    space: AskedSpace
    recipe: Recipe
    first: Sequence[Mapping[str, Any]]
    time_limit: float | None

    def arguments(self) -> dict[str, Any]:
        """Return all of them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def set_up(
    dataset: Dataset,
    *,
    model: str = MODEL,
    space: AskedSpace | None = None,
    recipe: Recipe | None = None,
    folds: int = FOLDS,
    time_limit: float | None = None,
) -> Setup:
    """Return what a search on a table is run with.

    Args:
        dataset: the table.
        model: name of the network.
        space: what is searched; None is the network's own, and then its usual configuration is tried first.
        recipe: what all configurations share; None is the network's own, as long as there is time for.
        folds: number of folds.
        time_limit: seconds for everything, final models included; None is no limit.

    Raises:
        InputError: if there is no such network, or the time is too short.

    Example:
        >>> from meden.data import as_dataset
        >>> made = set_up(as_dataset("wine"), model="linear")
        >>> list(made.space), made.recipe.epochs
        (['l2', 'l1', 'lr'], 100)
    """
    check_choice("model", model, NETWORKS)
    defaults, dataset = DEFAULTS[model], scaled_for(model, dataset)
    make_model = network(model, dataset)
    most_epochs = defaults.most_epochs if recipe is None else None
    recipe = recipe or defaults.recipe_for(dataset.task)
    if time_limit is not None:
        recipe, time_limit = plan_time(
            make_model, dataset, recipe, time_limit=time_limit, folds=folds, most_epochs=most_epochs
        )
    return Setup(
        make_model=make_model,
        data=dataset,
        space=defaults.space if space is None else space,
        recipe=recipe,
        first=defaults.first if space is None else (),
        time_limit=time_limit,
    )
