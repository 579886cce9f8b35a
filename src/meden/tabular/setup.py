"""What a search on a table is run with: the network, its space and recipe, and how much of a time limit it gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from meden._checks import InputError, check_choice, check_number
from meden.data import Dataset
from meden.deadline import Deadline, now
from meden.member import ModelMaker
from meden.models.placed import HERE, placed
from meden.recipe import Recipe
from meden.search.budget import Until
from meden.space.names import AskedSpace
from meden.tabular.defaults import DEFAULTS, MODEL
from meden.tabular.network import NETWORKS, network, scaled_for

FINAL_COST = {"all": 0.75, "folds": 1.5}
"""Time of the final models, in configurations, by how they are trained."""
REPORT_SHARE = 1.0
"""Time to write down what was found, in parts of what reading and starting have taken: both are longer where the table
is larger, and where the machine is busy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """Arguments of :func:`meden.tune`, by their names there."""

    make_model: ModelMaker
    data: Dataset
    space: AskedSpace
    recipe: Recipe
    first: Sequence[Mapping[str, Any]]
    time_limit: float | None
    until: Until | None

    def arguments(self) -> dict[str, Any]:
        """Return all of them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def set_up(
    dataset: Dataset,
    *,
    model: str = MODEL,
    device: str = HERE,
    space: AskedSpace | None = None,
    recipe: Recipe | None = None,
    epochs: int | None = None,
    stops: bool = True,
    refit: str = "all",
    time_limit: float | None = None,
    since: float | None = None,
) -> Setup:
    """Return what a search on a table is run with.

    Args:
        dataset: the table.
        model: name of the network.
        device: that it is trained on, see :func:`meden.models.placed.placed`.
        space: what is searched; None is the network's own, and then its usual configuration is tried first.
        recipe: what all configurations share; None is the network's own.
        epochs: of the network's own recipe; None are its usual ones, or more where there is a time limit, by which they
            are shortened to what there is time for.
        stops: whether folds have a stop split; without one the network's own recipe is trained to its end.
        refit: how the final models are trained, ``"all"`` or ``"folds"``.
        time_limit: seconds for everything, final models included; None is no limit.
        since: when that began, on the clock :func:`time.time`; None is now.

    Raises:
        InputError: if there is no such network or device, or no time is left.

    Example:
        >>> from meden.data import as_dataset
        >>> made = set_up(as_dataset("wine"), model="linear")
        >>> list(made.space), made.recipe.epochs
        (['l2', 'l1', 'lr'], 100)
    """
    check_choice("model", model, NETWORKS)
    defaults, dataset = DEFAULTS[model], scaled_for(model, dataset)
    make_model = placed(network(model, dataset), device)
    until = None if time_limit is None else until_for(time_limit, refit=refit, since=since)
    if recipe is None:
        recipe = defaults.recipe if stops else defaults.recipe.replace(early_stopping=None)
        epochs = epochs or (None if until is None else defaults.most_epochs)
        recipe = recipe if epochs is None else recipe.replace(epochs=epochs)
    return Setup(
        make_model=make_model,
        data=dataset,
        space=defaults.space_for(dataset.task) if space is None else space,
        recipe=recipe,
        first=defaults.first_for(dataset.task) if space is None else (),
        time_limit=time_limit,
        until=until,
    )


def until_for(time_limit: float, *, refit: str, since: float | None = None) -> Until:
    """Return when a search must have ended, so that what follows it is done in time; arguments as for :func:`set_up`.

    Raises:
        InputError: if no time is left.
    """
    check_number("time_limit", time_limit, low=0.0, low_open=True)
    begun = 0.0 if since is None else now() - since
    deadline = Deadline.after(time_limit - begun - REPORT_SHARE * begun)
    if deadline.passed():
        needed = 1.5 * (1 + REPORT_SHARE) * begun
        raise InputError(
            f"time_limit must be at least about {needed:.2g} s, since reading the data took {begun:.2g} s, got "
            f"{time_limit:g} s"
        )
    return Until(deadline, FINAL_COST[refit])
