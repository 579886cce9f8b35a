"""One strength from large to small: each run starts where the last ended, and is checked against a cold start."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError, check_choice, check_count, check_number
from meden._shown import ShownFields
from meden.data import Dataset, Fold, as_dataset
from meden.history import History
from meden.member import Member, ModelMaker, as_taken, encode_folds
from meden.recipe import Recipe
from meden.run import Run
from meden.search.checks import check_models, check_stopping
from meden.search.engine import MemberOf, Search, members_of, open_ledger
from meden.search.final_states import FinalStates, run_of
from meden.search.fixed import Fixed
from meden.search.identity import identity_of
from meden.search.settings import CV, CompareFields, check_fields, settings_of
from meden.search.tune import check_recipe
from meden.space.dimensions import FromData, LogUniform
from meden.space.from_data import resolve
from meden.space.names import PENALTIES, configure
from meden.study.ledger import Key, Row
from meden.study.results import Trial
from meden.study.selection import standard_error
from meden.workers.fitter import Networks
from meden.workers.workers import Workers

Start = Literal["warm", "cold"]
RunOf = Callable[[Key, Row], Run]
WEIGHTS = "weights"
"""Folder, within that of a path, of where its runs ended."""


@dataclass(frozen=True, eq=False, repr=False)
class PathPoint(ShownFields):
    """One strength of a path; what there is of each run is ordered by fold, then seed."""

    strength: float
    runs: tuple[Run, ...]
    """Those of the better start."""
    started: tuple[Start, ...]
    """Whether the model of the strength before was the better start of each run, or a fresh one."""
    objective: float
    """Mean training loss plus penalty, averaged over the runs."""
    gap: float
    """How far the other start was above it, at most; far from 0 where the solution depends on the start."""
    losses: NDArray[np.float64]
    """Mean data loss of the scored rows of each run; NaN where it diverged."""
    num_zeros: float
    """Trained numbers that are exactly zero, averaged over the runs."""

    @property
    def loss(self) -> float:
        """Mean over the runs."""
        return float(self.losses.mean())

    @property
    def loss_error(self) -> float:
        """Standard error of :attr:`loss`."""
        return standard_error(self.losses)


def strength_path(
    make_model: ModelMaker,
    data: Any,
    name: str,
    *,
    num: int = 10,
    strengths: Sequence[float] | None = None,
    cv: CV | None = None,
    workers: Workers | None = None,
    recipe: Recipe | None = None,
    study_dir: Path | str | None = None,
    target: str | None = None,
    task: str | None = None,
    seed: int = 0,
    allow_version: bool = False,
    **fields: Unpack[CompareFields],
) -> list[PathPoint]:
    """Train from the largest strength to the smallest, and keep the better of a warm and a cold start at each.

    A warm start saves epochs where the objective is convex, as for linear models. Deep networks may never leave the
    zeros that a large strength left behind: there the cold start wins, and the path goes on from it. Each fold and
    seed has a path of its own; they are trained side by side, as are the cold starts of all strengths.

    Args:
        make_model: as for :func:`meden.tune`.
        data: as for :func:`meden.tune`.
        name: ``"l1"`` or ``"l2"``.
        num: strengths, from the largest that makes sense (see :func:`meden.space.from_data.resolve`) down.
        strengths: them, in any order, in place of ``num``.
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
        **fields: of ``cv`` and ``workers``, by themselves.

    Returns:
        A point for each strength, the largest first.

    Raises:
        InputError: before any compute, if anything does not fit; or if ``study_dir`` holds something else.

    Example:
        >>> import meden
        >>> recipe = meden.Recipe(epochs=2, batch_size=64)
        >>> points = strength_path(meden.models.MLP, "iris", "l1", num=3, folds=2, recipe=recipe)
        >>> [point.strength for point in points] == sorted((point.strength for point in points), reverse=True)
        True

    Reference:
        J. Friedman, T. Hastie and R. Tibshirani, Regularization paths for generalized linear models via coordinate
        descent, 2010 (warm starts along a path).
    """
    check_fields(fields, CV, Workers)
    cv, workers = settings_of(CV, cv, fields), settings_of(Workers, workers, fields)
    check_choice("name", name, PENALTIES)
    check_count("num", num, low=2)
    recipe = Recipe() if recipe is None else check_recipe(recipe)
    if recipe.early_stopping is not None:
        raise InputError("recipe must train to the end on a path: early_stopping must be None")
    if "stop_fraction" in cv.model_fields_set and cv.stop_fraction:
        raise InputError(f"stop_fraction must be 0 on a path, on which nothing stops early, got {cv.stop_fraction}")
    dataset = as_dataset(data, target=target, task=task, groups=cv.groups)
    folds = cv.replace(stop_fraction=0.0).divide(dataset, seed)
    chosen = _strengths(name, num, dataset, folds, make_model) if strengths is None else _given(strengths)
    recipes = [configure(recipe, {name: strength})[0] for strength in chosen]
    check_stopping(recipe, folds)
    models = check_models(make_model, [(own, {}) for own in recipes], dataset, folds)
    workers.reach()

    def identity() -> dict[str, Any]:
        searched = {"path": [name, *chosen], "recipe": recipe.to_dict(), "seeds": cv.seeds, "seed": seed}
        return identity_of(dataset, folds, models) | searched

    cold = members_of(lambda params: configure(recipe, {name: params[name]}), folds, seed)
    paths = _Paths(len(chosen), cold, FinalStates(None if study_dir is None else Path(study_dir) / WEIGHTS))
    first, *others = ({name: strength} for strength in chosen)
    fresh = [params | {"start": "cold"} for params in (first, *others)]
    with open_ledger(study_dir, identity, allow_version=allow_version) as ledger:
        trials = Search(
            fitter=Networks(make_model, dataset),
            folds=folds,
            seeds=cv.seeds,
            member=paths.member,
            proposals=Fixed(fresh, *([params | {"start": "warm"}] for params in others)),
            ledger=ledger,
            workers=workers,
            on_weights=paths.ends.keep,
        ).run()
    encoded = encode_folds(as_taken(make_model, dataset, Member(recipes[0], folds[0])), folds)

    def run(key: Key, row: Row) -> Run:
        member = cold(key, row.params)
        return run_of(make_model, dataset, encoded[member.fold], member, paths.ends[key], row)

    return [_point(strength, place, paths, trials, run) for place, strength in enumerate(chosen)]


@dataclass(frozen=True)
class _Paths:
    """The paths of all folds and seeds; configuration ``i`` is strength ``i`` from a cold start, warm ones follow."""

    num: int
    """Strengths."""
    cold: MemberOf
    ends: FinalStates

    def member(self, key: Key, params: Mapping[str, Any]) -> Member:
        """Return what is trained: from fresh weights, or from those of the better start at the strength before."""
        member = self.cold(key, params)
        if params["start"] == "cold":
            return member
        before = key._replace(configuration=key.configuration - self.num)
        objectives = self.objectives(before)
        best = min(objectives, key=lambda start: objectives[start])
        found = math.isfinite(objectives[best])
        return replace(member, start=self.ends[self.starts(before)[best]].weights if found else None)

    def starts(self, cold: Key) -> dict[Start, Key]:
        """Return the runs at a strength by how they started, from the key of the cold one; the first has no other."""
        warm = cold._replace(configuration=self.num + cold.configuration - 1)
        return {"cold": cold, "warm": warm} if cold.configuration else {"cold": cold}

    def objectives(self, cold: Key) -> dict[Start, float]:
        """Return what the runs at a strength reached."""
        return {start: _objective(self.ends[key].history) for start, key in self.starts(cold).items()}


def _strengths(name: str, num: int, dataset: Dataset, folds: Sequence[Fold], make_model: ModelMaker) -> list[float]:
    dimension = resolve({name: FromData()}, dataset, folds, make_model)[name]
    assert isinstance(dimension, LogUniform)
    return dimension.grid(num)[::-1]


def _given(strengths: Sequence[float]) -> list[float]:
    if not len(strengths):
        raise InputError("strengths must be one number or more, got none")
    for strength in strengths:
        check_number("strengths", strength, low=0.0)
    return sorted(map(float, strengths), reverse=True)


def _point(strength: float, place: int, paths: _Paths, trials: Sequence[Trial], run: RunOf) -> PathPoint:
    runs, started, objectives, losses = [], [], [], []
    for fresh in trials[place].rows:
        reached = paths.objectives(fresh.key)
        start = min(reached, key=lambda start: reached[start])
        key = paths.starts(fresh.key)[start]
        row = next(row for row in trials[key.configuration].rows if row.key == key)
        runs.append(run(key, row))
        started.append(start)
        objectives.append(list(reached.values()))
        losses.append(row.losses.mean(dtype=np.float64))
    of_both = np.array(objectives)
    with np.errstate(invalid="ignore"):  # no finite number is between two that diverged
        gap = float(np.ptp(of_both, axis=1).max())
    return PathPoint(
        strength=strength,
        runs=tuple(runs),
        started=tuple(started),
        objective=float(of_both.min(axis=1).mean()),
        gap=gap,
        losses=np.array(losses),
        num_zeros=float(np.mean([ended.history[-1].num_zeros for ended in runs])),
    )


def _objective(history: History) -> float:
    last = history[-1]
    return last.train["loss"] + sum(last.penalties.values()) if last.is_finite() else math.inf
