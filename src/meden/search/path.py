"""One strength from large to small: each training starts where the last ended, and is checked against a cold start."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from meden._checks import InputError, check_choice, check_count
from meden.data import Dataset, Fold, as_dataset, holdout
from meden.member import Member, ModelMaker, build_model, encode_folds
from meden.objective import evaluate, on_device
from meden.recipe import Recipe
from meden.run import Run
from meden.space.dimensions import FromData, LogUniform
from meden.space.from_data import resolve
from meden.space.names import PENALTIES, configure
from meden.training.fit import fit


@dataclass(frozen=True)
class PathPoint:
    """One strength of a path."""

    strength: float
    run: Run
    started: Literal["warm", "cold"]
    """Whether the model of the strength before was the better start, or a fresh one."""
    objective: float
    """Mean training loss plus penalty."""
    gap: float
    """How far the other start was above it; far from 0 where the solution depends on the start."""
    loss: float
    """Mean data loss of the rows kept aside."""
    num_zeros: int
    """Trained numbers that are exactly zero."""


def strength_path(
    make_model: ModelMaker,
    data: Any,
    name: str,
    *,
    num: int = 10,
    strengths: Sequence[float] | None = None,
    recipe: Recipe | None = None,
    fraction: float = 0.2,
    target: str | None = None,
    task: str | None = None,
    seed: int = 0,
) -> list[PathPoint]:
    """Train from the largest strength to the smallest, and keep the better of a warm and a cold start at each.

    A warm start saves epochs where the objective is convex, as for linear models. Deep networks may never leave the
    zeros that a large strength left behind: there the cold start wins, and the path goes on from it.

    Args:
        make_model: as for :func:`meden.tune`.
        data: as for :func:`meden.tune`.
        name: ``"l1"`` or ``"l2"``.
        num: strengths, from the largest that makes sense (see :func:`meden.space.from_data.resolve`) down.
        strengths: them, in any order, in place of ``num``.
        recipe: what all trainings share, without early stopping; None is ``Recipe()``.
        fraction: share of the rows that only score, in (0, 1).
        target: target column, for tables.
        task: ``"classification"`` or ``"regression"``; None tells by the target.
        seed: of the split, weights, batches and noise.

    Raises:
        InputError: before any compute, if anything does not fit.

    Example:
        >>> import meden
        >>> recipe = meden.Recipe(epochs=2, batch_size=64)
        >>> steps = strength_path(meden.models.MLP, "iris", "l1", num=3, recipe=recipe)
        >>> [step.strength for step in steps] == sorted((step.strength for step in steps), reverse=True)
        True

    Reference:
        J. Friedman, T. Hastie and R. Tibshirani, Regularization paths for generalized linear models via coordinate
        descent, 2010 (warm starts along a path).
    """
    check_choice("name", name, PENALTIES)
    check_count("num", num, low=2)
    recipe = recipe or Recipe()
    if recipe.early_stopping is not None:
        raise InputError("recipe must train to the end on a path: early_stopping must be None")
    dataset = as_dataset(data, target=target, task=task)
    rows, kept_aside = holdout(dataset, fraction, seed)
    fold = Fold(fit=rows, stop=rows[:0], score=kept_aside)
    chosen = _strengths(name, num, dataset, fold) if strengths is None else sorted(strengths, reverse=True)
    recipes = [configure(recipe, {name: float(strength)})[0] for strength in chosen]
    share = encode_folds(dataset, [fold])[fold]
    cold = build_model(make_model, share, dataset, Member(recipe, fold, seed))
    train, aside = ((share.x[part], share.y[part]) for part in (rows, kept_aside))
    steps: list[PathPoint] = []
    for strength, own in zip(chosen, recipes, strict=True):
        starts = {"cold": cold} | ({"warm": steps[-1].run.model} if steps else {})
        runs = {
            how: fit(copy.deepcopy(model), train, recipe=own, seed=seed, task=dataset.task)
            for how, model in starts.items()
        }
        steps.append(_step(float(strength), runs, aside, dataset))
    return steps


def _strengths(name: str, num: int, dataset: Dataset, fold: Fold) -> list[float]:
    dimension = resolve({name: FromData()}, dataset, [fold])[name]
    assert isinstance(dimension, LogUniform)
    return dimension.grid(num)[::-1]


def _step(strength: float, runs: dict[str, Run], aside: tuple[Tensor, Tensor], dataset: Dataset) -> PathPoint:
    objectives = {how: _objective(run) for how, run in runs.items()}
    best = min(objectives, key=lambda how: objectives[how])
    x, y = (on_device(part, runs[best].model) for part in aside)
    return PathPoint(
        strength=strength,
        run=runs[best],
        started="warm" if best == "warm" else "cold",
        objective=objectives[best],
        gap=max(objectives.values()) - objectives[best],
        loss=evaluate(runs[best].model, [(x, y)], dataset.task)["loss"],
        num_zeros=runs[best].history[-1].num_zeros,
    )


def _objective(run: Run) -> float:
    last = run.history[-1]
    return last.train["loss"] + sum(last.penalties.values()) if last.is_finite() else float("inf")
