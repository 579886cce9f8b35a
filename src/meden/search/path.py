"""A penalty from the strength at which nothing is left down to almost none: what stays, and what it is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any, Unpack, get_args

import numpy as np

from meden._checks import InputError, check_choice, check_count, check_number
from meden.data import Fold, as_dataset, num_batches
from meden.member import ModelMaker
from meden.penalties import GroupLasso, Groups, Penalty, SparsePenalty
from meden.recipe import Recipe
from meden.search.checks import check_models
from meden.search.engine import Search, open_ledger
from meden.search.identity import identity_of
from meden.search.path_points import Path, found_on
from meden.search.path_source import PathSource
from meden.search.path_walk import Start, Walk
from meden.search.progress import OnProgress
from meden.search.settings import CV, CompareFields, check_fields, settings_of
from meden.search.tune import check_recipe
from meden.structure.groups import Kind
from meden.study.final_states import WEIGHTS, FinalStates
from meden.workers.fitter import Networks
from meden.workers.workers import Workers

STEPS = 50
"""Optimizer steps at each strength, at least: at an adaptive optimizer's rate of 0.01 a weight moves half of a unit."""


def path(
    make_model: ModelMaker,
    data: Any,
    penalty: type[SparsePenalty] | SparsePenalty = GroupLasso,
    *,
    kind: Kind = "inputs",
    num: int = 50,
    ratio: float = 1e-3,
    strengths: Sequence[float] | None = None,
    start: Start = "dense",
    epochs: int | None = None,
    cv: CV | None = None,
    workers: Workers | None = None,
    recipe: Recipe | None = None,
    study_dir: FilePath | str | None = None,
    target: str | None = None,
    task: str | None = None,
    seed: int = 0,
    allow_version: bool = False,
    on_progress: OnProgress | None = None,
    **fields: Unpack[CompareFields],
) -> Path:
    """Train along a path of strengths, from one that leaves no group down to a small one, each from the last weights.

    Args:
        make_model: as for :func:`meden.tune`.
        data: as for :func:`meden.tune`.
        penalty: one that makes exact zeros, on each group; of an instance all settings but the strength are taken.
        kind: what is kept or leaves: ``"inputs"`` (of a table its columns), ``"units"``, ``"filters"``, ``"heads"``.
        num: strengths, evenly spaced in their logarithms.
        ratio: the smallest strength as a share of the largest, above 0 and below 1. The largest is the one at which
            zeros are a solution, with what the dense models have besides the groups; the same in all folds.
        strengths: two or more above 0, in any order, in place of ``num`` and ``ratio``.
        start: ``"dense"`` walks up from the model without the penalty; ``"empty"`` down from the largest strength;
            ``"both"`` up, then down, and keeps the lower objective at each strength.
        epochs: of each strength; None is a tenth of the recipe's, which what starts from fresh weights is trained for,
            and 50 steps at least.
        cv: as for :func:`meden.tune`, or its fields by themselves, but for ``stop_fraction``: all rows of a fold's
            training part fit, as nothing stops early.
        workers: as for :func:`meden.tune`, or its fields by themselves.
        recipe: what all runs share, without early stopping; None is ``Recipe()``.
        study_dir: folder of the ledger and of the runs' weights; a path that was cut off goes on from there. None
            keeps all in memory.
        target: target column, for tables.
        task: ``"classification"`` or ``"regression"``; None infers it from the target.
        seed: of splits, weights, batches and noise.
        allow_version: as for :func:`meden.tune`.
        on_progress: as for :func:`meden.tune`.
        **fields: of ``cv`` and ``workers``, by themselves.

    Returns:
        The path: ``points``, ``best``, ``one_se``, ``support()``, ``ranking()``, ``refit()``, ``report(file)``.

    Raises:
        InputError: before any compute, if anything does not fit; or if ``study_dir`` holds something else.

    Example:
        >>> import meden
        >>> recipe = meden.Recipe(epochs=20, lr=0.01)
        >>> found = meden.path(meden.models.MLP, "iris", num=5, folds=2, recipe=recipe)
        >>> found.points[0].num_kept, found.points[-1].num_kept
        (0.0, 4.0)

    Reference:
        J. Friedman, T. Hastie and R. Tibshirani, Regularization paths for generalized linear models via coordinate
        descent, 2010 (warm starts along a path); I. Lemhadri, F. Ruan, L. Abraham and R. Tibshirani, LassoNet: a
        neural network with feature sparsity, 2021 (up from the dense network).
    """
    check_fields(fields, CV, Workers)
    cv, workers = settings_of(CV, cv, fields), settings_of(Workers, workers, fields)
    own = _checked_penalty(penalty, kind)
    check_choice("kind", kind, get_args(Kind))
    check_choice("start", start, get_args(Start))
    check_count("num", num, low=2)
    check_number("ratio", ratio, low=0.0, high=1.0, low_open=True, high_open=True)
    given = None if strengths is None else _given(strengths)
    recipe = Recipe() if recipe is None else check_recipe(recipe)
    if recipe.early_stopping is not None:
        raise InputError("recipe must not stop early on a path: set early_stopping=None")
    if "stop_fraction" in cv.model_fields_set and cv.stop_fraction:
        raise InputError(f"stop_fraction must be 0 on a path, since nothing stops early, got {cv.stop_fraction}")
    if epochs is not None:
        check_count("epochs", epochs)
    dataset = as_dataset(data, target=target, task=task, groups=cv.groups)
    folds = cv.replace(stop_fraction=0.0).divide(dataset, seed)
    each = _epochs(recipe, folds) if epochs is None else epochs
    models = check_models(make_model, [(recipe, {})], dataset, folds)
    workers.reach()
    ends = FinalStates(None if study_dir is None else FilePath(study_dir) / WEIGHTS)
    source = PathSource(make_model, dataset, folds, own, kind, recipe, each, cv.seeds, seed, ends)
    if not any(own.any() for own in source.varies):
        raise InputError("data must have inputs that vary, got only constant ones")

    def identity() -> dict[str, Any]:
        walked = {"path": [repr(own), kind, num, ratio, given, start, each]}
        searched = {"recipe": recipe.to_dict(), "seeds": cv.seeds, "seed": seed}
        return identity_of(dataset, folds, models) | walked | searched

    def rising() -> list[float]:
        return _grid(source.strength_max(), num, ratio) if given is None else given

    num = num if given is None else len(given)
    walk = Walk(start, rising, source.is_empty, most=num, budget=(2 * num if start == "both" else num) + 1)
    with open_ledger(study_dir, identity, allow_version=allow_version) as ledger:
        source.rows = ledger.rows
        Search(
            fitter=Networks(make_model, source.dataset),
            folds=folds,
            seeds=cv.seeds,
            member=source.member,
            proposals=walk,
            ledger=ledger,
            workers=workers,
            on_progress=on_progress,
            on_weights=source.ends.keep,
        ).run()
    return found_on(source, walk.asked, walk.largest)


def _epochs(recipe: Recipe, folds: Sequence[Fold]) -> int:
    """Return a tenth of the epochs, and so many that the fewest rows make :data:`STEPS` steps."""
    steps = min(num_batches(len(fold.fit), recipe.batch_size, recipe.steps_per_epoch) for fold in folds)
    return min(max(1, recipe.epochs // 10, math.ceil(STEPS / steps)), recipe.epochs)


def _checked_penalty(penalty: Any, kind: str) -> SparsePenalty:
    """Return an instance whose groups are the rows of a matrix; its strength gives way to those of the path."""
    is_class = isinstance(penalty, type) and issubclass(penalty, Penalty)
    name = penalty.__name__ if is_class else type(penalty).__name__
    if not (is_class or isinstance(penalty, Penalty)):
        raise InputError(f"penalty must be one of meden.penalties, such as GroupLasso, got {penalty!r:.80}")
    if not (issubclass(penalty, SparsePenalty) if is_class else isinstance(penalty, SparsePenalty)):
        raise InputError(f"penalty must produce exact zeros on a path, such as L1 or GroupLasso, got {name}")
    made: SparsePenalty = penalty(1.0) if is_class else penalty.replace({"strength": 1.0})
    if not (made.separable or isinstance(getattr(made, "groups", None), Groups)):
        raise InputError(f"penalty must act on numbers or on rows on a path, such as L1 or GroupLasso, got {name}")
    dim = made.settings().get("dim", "units")
    if dim not in ("units", kind):
        raise InputError(f"penalty must have the groups of the path, {kind!r}, got dim={dim!r}")
    return made if dim == "units" else made.replace({"dim": "units"})


def _given(strengths: Sequence[float]) -> list[float]:
    if len(strengths) < 2:
        raise InputError(f"strengths must be two or more numbers, got {len(strengths)}")
    for strength in strengths:
        check_number("strengths", strength, low=0.0, low_open=True)
    rising = sorted(set(map(float, strengths)))
    if len(rising) < 2:
        raise InputError(f"strengths must differ, got only {rising[0]}")
    return rising


def _grid(largest: float, num: int, ratio: float) -> list[float]:
    """Return so many strengths, rising to a last bit above the largest."""
    return [float(f"{strength:.6g}") for strength in np.geomspace(largest * ratio, largest, num) * (1 + 1e-5)]
