"""What a search tries configurations of: the networks that a function makes, or a training function."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meden._checks import InputError, one_line
from meden.data import Dataset, Fold
from meden.data.rows import as_rows
from meden.member import ModelMaker
from meden.noise import derive
from meden.recipe import Recipe
from meden.search.checks import check_reachable, check_stopping
from meden.search.engine import MemberOf, members_of
from meden.search.identity import Models
from meden.search.jobs import Command, Functions, HandOver, JobMember, TrainingFunction
from meden.search.settings import CV
from meden.space.dimensions import FromData
from meden.space.from_data import resolve
from meden.space.names import AskedSpace, Space, check_space, check_space_of_function, configure
from meden.study.data_summary import DataSummary
from meden.study.ledger import Key
from meden.study.metrics import MetricName, check_metric
from meden.study.model_reference import ModelReference
from meden.workers.fitter import Fitter, Networks
from meden.workers.workers import Workers

OF_FUNCTIONS = ("epochs", "early_stopping", "stop_after")
"""Fields of a recipe that a training function is told; the others are its own affair."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What a search tries configurations of, once all that could fail has been tried."""

    dataset: Dataset
    folds: Sequence[Fold]
    space: Space
    fitter: Fitter
    member: MemberOf
    models: Models
    """What a ledger says of the code."""
    data: DataSummary
    model: ModelReference


def networks(
    make_model: ModelMaker,
    dataset: Dataset,
    space: AskedSpace,
    cv: CV,
    *,
    recipe: Recipe,
    metric: MetricName,
    seed: int,
    keep_losses: bool = False,
) -> Subject:
    """Return the networks that a function makes, of settings that can all be trained.

    Raises:
        InputError: if something does not fit, see :func:`meden.tune`.
    """
    check_space(space, make_model)
    folds = cv.divide(dataset, seed)
    check_metric(metric, dataset, folds)
    found = resolve(space, dataset, folds, make_model)
    return Subject(
        dataset=dataset,
        folds=folds,
        space=found,
        fitter=Networks(make_model, dataset),
        member=members_of(functools.partial(configure, recipe), folds, seed, keep_losses=keep_losses),
        models=check_reachable(found, recipe, make_model, dataset, folds),
        data=DataSummary.of(dataset),
        model=ModelReference.of(make_model),
    )


def training_function(
    train: TrainingFunction,
    rows: Any,
    space: AskedSpace | None,
    cv: CV,
    *,
    recipe: Recipe,
    metric: MetricName,
    seed: int,
    task: str | None,
    study_dir: Path | str | None,
    workers: Workers,
) -> Subject:
    """Return a training function, with the rows it trains on.

    Raises:
        InputError: if something does not fit, see :func:`meden.tune`.
    """
    if not callable(train):
        raise InputError(f"train must be a function of a job, got {train!r:.80}")
    if workers.num_processes > 1:
        _check_reaches_others(train)
    check_space_of_function(space)
    assert space is not None
    found = {name: dimension for name, dimension in space.items() if not isinstance(dimension, FromData)}
    for name in sorted(recipe.model_fields_set):
        if name not in OF_FUNCTIONS and getattr(recipe, name) != Recipe.model_fields[name].default:
            raise InputError(
                f"recipe must set only {', '.join(OF_FUNCTIONS)} for a training function, which decides the rest "
                f"itself, got {name}={getattr(recipe, name)!r:.60}"
            )
    dataset = as_rows(rows, task=task, groups=cv.groups)
    folds = cv.divide(dataset, seed)
    check_stopping(recipe, folds)
    check_metric(metric, dataset, folds)
    return Subject(
        dataset=dataset,
        folds=folds,
        space=found,
        fitter=Functions(
            train,
            dataset,
            None if study_dir is None else Path(study_dir).absolute(),
            metric,
            seeds_all=not isinstance(train, HandOver),
        ),
        member=_jobs_of(recipe, folds, seed),
        models=Models.of(train, ()),
        data=DataSummary.of(dataset),
        model=_reference(train),
    )


def _reference(train: TrainingFunction) -> ModelReference:
    """Return what a study says of a training function; of a command all of it, which it never runs by itself."""
    if isinstance(train, Command):
        return ModelReference(str(train), arguments={"command": str(train)}, trains=True)
    return ModelReference.of_function(train)


def _check_reaches_others(train: TrainingFunction) -> None:
    """Check that other processes can be given a training function."""
    from joblib.externals.loky.backend.reduction import dumps

    try:
        dumps(train)
    except Exception as error:
        raise InputError(
            "train must be picklable to run in other processes (jobs=1 needs none), but cannot be pickled: "
            f"{type(error).__name__}: {one_line(error)}"
        ) from error


def _jobs_of(recipe: Recipe, folds: Sequence[Fold], seed: int) -> MemberOf:
    def member(key: Key, params: Mapping[str, Any]) -> JobMember:
        own = recipe.replace(epochs=params["epochs"]) if "epochs" in params else recipe
        return JobMember(own, folds[key.fold], derive(seed, "seed", key.seed), params, key=key)

    return member
