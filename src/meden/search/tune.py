"""How much to regularise: the search."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from meden._checks import InputError, check_count
from meden.data import as_dataset, make_folds, splits_hash
from meden.member import ModelMaker
from meden.noise import derive
from meden.recipe import Recipe
from meden.search import racing as races
from meden.search.budget import Budget
from meden.search.checks import check_reachable
from meden.search.engine import Progress, Search
from meden.search.optuna_database import OptunaDatabase
from meden.search.strategies import Proposals, StrategyName
from meden.space.cocktail import cocktail
from meden.space.from_data import resolve
from meden.space.names import AskedSpace, check_space, longest
from meden.stopping import EarlyStopping
from meden.study.data_summary import DataSummary
from meden.study.folder import Description, write_description
from meden.study.ledger import LEDGER, Ledger
from meden.study.load import results_of
from meden.study.metrics import MetricName, check_metric
from meden.study.model_reference import ModelReference
from meden.study.study import Study
from meden.workers.workers import Backend, Workers

DEFAULT_RECIPE = Recipe(epochs=100, early_stopping=EarlyStopping(patience=10))
"""What a search starts from unless told otherwise: long enough, and stopped by the stop split."""


def tune(
    make_model: ModelMaker,
    data: Any,
    space: AskedSpace | None = None,
    *,
    folds: int = 5,
    budget: int = 64,
    epochs_budget: int | None = None,
    time_limit: float | None = None,
    racing: bool = False,
    seeds: int = 1,
    strategy: StrategyName = "tpe",
    metric: MetricName = "loss",
    recipe: Recipe | None = None,
    study_dir: Path | str | None = None,
    storage: str | None = None,
    jobs: int = 1,
    backend: Backend = "local",
    address: str | None = None,
    target: str | None = None,
    task: str | None = None,
    groups: Any = None,
    order: Any = None,
    stop_fraction: float = 0.15,
    seed: int = 0,
    notes: Mapping[str, Any] | None = None,
    on_start: Callable[[], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Study:
    """Search a space by cross-validation.

    In each fold, encoders are fitted and models trained on the fitting rows, the stop split (rows of the fold's
    training part) says when to stop, and the scored rows do nothing but score.

    Args:
        make_model: returns a fresh model; called with those names of the space that are its arguments, and with
            ``num_inputs`` and ``num_outputs`` if it takes them.
        data: ``(X, y)``, a DataFrame or file with ``target``, a bundled name, or a :class:`meden.data.Dataset`.
        space: names to dimensions; a name is a field of :class:`meden.Recipe`, a short name for the strength of a
            penalty (``l1``, ``l2``) or of an augmentation (``mixup``, ``cutmix``, ``label_smoothing``, ``swap_noise``,
            ``jitter``, ``feature_mask``), or an argument of ``make_model``. None is :func:`meden.space.cocktail`.
        folds: number of folds, 2 or more.
        budget: configurations to try, 1 or more; with one of the next two, at most as many.
        epochs_budget: epochs of all trainings together, at most; None is no limit.
        time_limit: seconds; None is no limit. What is tried then depends on the speed of the machine: of all limits
            this is the only one whose result nobody else can reproduce. (Going on after a kill still repeats what was
            done before it.)
        racing: give up configurations that lose, early: see :mod:`meden.search.racing`. They count as tried, with the
            status ``dropped``, and cannot be chosen.
        seeds: trainings per configuration and fold, with different starting weights, batches and noise.
        strategy: ``"tpe"``, ``"gp"``, ``"sobol"``, ``"random"`` or ``"grid"``.
        metric: what decides which configuration is best: ``"loss"``; ``"accuracy"`` or ``"balanced_accuracy"`` of
            classes, ``"mse"`` or ``"r2"`` of numbers. Stopping, races and proposals go by the loss, which is smoother.
        recipe: what all configurations share; None is 100 epochs with early stopping after 10.
        study_dir: folder of the ledger; a search that was cut off goes on from there, and :func:`meden.load_study`
            opens it without training. None keeps it in memory.
        storage: address of a database to copy the configurations to, for Optuna's dashboard and its other tools, such
            as ``"postgresql+psycopg://user@host/name"`` (extra ``postgres``); None is the file ``study.db`` in
            ``study_dir``.
        jobs: processes that train, among which the cores are divided; 1 is this one. Neither their number nor who
            trains what changes the result.
        backend: ``"local"``, or ``"ray"`` for a Ray cluster (extra ``ray``), where a job is a task of one core.
        address: of the cluster; None is a new one on this machine, unless Ray knows another.
        target: target column, for tables.
        task: ``"classification"`` or ``"regression"``; None tells by the target.
        groups: column or labels (n,) of rows that stay together.
        order: column or values (n,) that order the rows in time: each fold trains on the past.
        stop_fraction: share of a fold's training part in its stop split.
        seed: of splits, proposals, weights, batches and noise.
        notes: plain values to keep in ``study_dir``, for whoever goes on with the study.
        on_start: called once all checks are passed, before the first training.
        on_progress: called after each training.

    Returns:
        The study: ``best``, ``one_se``, ``score``, ``table()``, ``refit()``, ``report(path)``.

    Raises:
        InputError: before any compute, if anything does not fit; or if ``study_dir`` holds another study. After
            ``time_limit``, if not one configuration could be trained: it says how much time one needs.

    Example:
        >>> import meden
        >>> space = {"l2": meden.LogUniform(1e-4, 1.0)}
        >>> recipe = meden.Recipe(epochs=3)
        >>> study = meden.tune(meden.models.MLP, "iris", space, folds=2, budget=2, strategy="grid", recipe=recipe)
        >>> len(study.trials), study.metric
        (2, 'accuracy')
    """
    recipe = check_recipe(recipe)
    for name, value in (("budget", budget), ("seeds", seeds)):
        check_count(name, value)
    workers = Workers(jobs=jobs, backend=backend, address=address)
    dataset = as_dataset(data, target=target, task=task, groups=groups)
    check_metric(metric, dataset)
    space = cocktail(dataset.task, make_model) if space is None else space
    check_space(space, make_model)
    divided = make_folds(dataset, folds, seed=seed, order=order, stop_fraction=stop_fraction)
    if racing and not all(len(fold.stop) for fold in divided):
        raise InputError("stop_fraction must be above 0 for a race, which is decided on the stop splits, got 0")
    found = resolve(space, dataset, divided)
    proposals = Proposals(found, strategy, budget=budget, seed=derive(seed, "search"))
    models = check_reachable(found, recipe, make_model, dataset, divided)
    epochs = longest(found, recipe)
    limits = Budget(epochs_budget, time_limit, epochs * len(divided) * seeds)
    workers.reach()
    summary = DataSummary.of(dataset)
    settings: dict[str, Any] = {"strategy": strategy, "budget": budget, "seeds": seeds, "seed": seed}
    settings |= {"epochs_budget": epochs_budget, "time_limit": time_limit, "racing": racing}
    ledger, database = Ledger(None, {}), None
    if study_dir is not None:
        identity: dict[str, Any] = {
            "data": summary.hash,
            "splits": splits_hash(divided),
            "models": models,
            "space": {name: repr(dimension) for name, dimension in found.items()},
            "recipe": recipe.to_dict(),
        } | settings
        database = OptunaDatabase(Path(study_dir), identity, storage)
        ledger = Ledger(Path(study_dir) / LEDGER, identity)
    elif storage is not None:
        raise InputError("storage holds a copy of a ledger: study_dir must be given too, got None")
    settings |= {"folds": folds, "metric": metric, "stop_fraction": stop_fraction}
    settings |= {"order": order if isinstance(order, str) else None}
    described = Description(
        data=summary,
        folds=divided,
        space=found,
        recipe=recipe,
        model=ModelReference.of(make_model),
        settings=settings,
        notes=notes or {},
        num_fits=proposals.budget * len(divided) * seeds,
    )
    with ledger, closing(database) if database else nullcontext():
        if study_dir is not None:
            write_description(described, Path(study_dir))
        if on_start is not None:
            on_start()
        rungs = races.rungs(epochs) if racing else None
        setting = make_model, dataset, divided, found, recipe, seeds, seed
        Search(*setting, proposals, limits, rungs, ledger, database, workers, on_progress).run()
        ended = dataclasses.replace(described, num_fits=len(ledger.rows))
        if study_dir is not None:
            write_description(ended, Path(study_dir))
    return Study.of(results_of(ended, ledger.rows.values()), make_model, dataset)


def check_recipe(recipe: Recipe | None) -> Recipe:
    """Return the recipe that all configurations share, the default one for None.

    Raises:
        InputError: if it is something else.
    """
    if not isinstance(recipe, Recipe | None):
        raise InputError(f"recipe must be a meden.Recipe or None, got {recipe!r:.80}")
    return recipe or DEFAULT_RECIPE
