"""The expensive way to know what a search is worth: search again in each outer fold, score on rows it never had."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from meden._checks import check_choice
from meden._shown import ShownFields
from meden.data import Dataset, Fold, as_dataset, make_folds
from meden.member import Member, ModelMaker
from meden.noise import derive
from meden.recipe import Recipe
from meden.run import HeldOut
from meden.search.alternative import mean_over_folds, overlap
from meden.search.engine import Search, open_ledger
from meden.search.fixed import Fixed
from meden.search.identity import identity_of
from meden.search.settings import CV, Limits, SearchFields, check_fields, settings_of
from meden.search.strategies import StrategyName
from meden.search.tune import tune
from meden.space.names import AskedSpace
from meden.study.ledger import Key, Row
from meden.study.metrics import MetricName, check_metric, is_defined, of_rows, truths_of
from meden.study.results import CHOICE, Which
from meden.study.study import Study
from meden.workers.fitter import Networks
from meden.workers.workers import Workers

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class NestedScore(ShownFields):
    """The score of a whole search, including the selection: each outer fold was searched separately.

    Attributes:
        metric: what all these numbers are.
        estimate: mean over the outer folds.
        low: lower end of the interval.
        high: upper end of the interval.
        confidence: coverage the interval aims at.
        fold_scores: score of each outer fold in which the metric can be told, (F,).
        studies: the search of each outer fold, on its training rows.
    """

    metric: str
    estimate: float
    low: float
    high: float
    confidence: float
    fold_scores: Array
    studies: tuple[Study, ...]


def nested(
    make_model: ModelMaker,
    data: Any,
    space: AskedSpace | None = None,
    *,
    outer_folds: int = 5,
    which: Which = CHOICE,
    confidence: float = 0.9,
    cv: CV | None = None,
    limits: Limits | None = None,
    workers: Workers | None = None,
    strategy: StrategyName = "tpe",
    metric: MetricName = "loss",
    recipe: Recipe | None = None,
    study_dir: Path | str | None = None,
    target: str | None = None,
    task: str | None = None,
    seed: int = 0,
    allow_version: bool = False,
    on_fold: Callable[[int, Study], None] | None = None,
    **fields: Unpack[SearchFields],
) -> NestedScore:
    """Cross-validate a whole search: choose on each outer fold's training rows, score the choice on the others.

    It takes ``outer_folds`` times as long as the search, and says what such a search is worth on average, not what
    the configuration is worth that a search on all rows would choose.

    Args:
        make_model: as for :func:`meden.tune`.
        data: as for :func:`meden.tune`.
        space: as for :func:`meden.tune`.
        outer_folds: number of outer folds, 2 or more.
        which: what is trained on all rows of an outer fold's training part: ``"one_se"``, the choice, or ``"best"``.
        confidence: coverage of the interval, in (0, 1).
        cv: of each search, as for :func:`meden.tune`, or its fields by themselves. Its ``groups``, ``order`` and
            ``gap`` hold in outer folds too.
        limits: of each search, as for :func:`meden.tune`, or its fields by themselves.
        workers: as for :func:`meden.tune`, or its fields by themselves.
        strategy: as for :func:`meden.tune`.
        metric: what decides in each search, and what the outer rows are scored by, as for :func:`meden.tune`.
        recipe: as for :func:`meden.tune`.
        study_dir: folder of the ledger, with a folder for the study of each outer fold; what was cut off goes on from
            there. None keeps all in memory.
        target: target column, for tables.
        task: ``"classification"`` or ``"regression"``; None infers it from the target.
        seed: of outer splits and of the searches.
        allow_version: as for :func:`meden.tune`.
        on_fold: called with the number of each outer fold and its study.
        **fields: of ``cv``, ``limits`` and ``workers``, by themselves.

    Raises:
        InputError: before any compute, if anything does not fit; or if a search finds nothing but divergence.

    Example:
        >>> import meden
        >>> space, recipe = {"l2": meden.LogUniform(1e-4, 1.0)}, meden.Recipe(epochs=2)
        >>> options = {"folds": 2, "budget": 2, "strategy": "grid", "recipe": recipe}
        >>> found = nested(meden.models.MLP, "iris", space, outer_folds=2, metric="accuracy", **options)
        >>> found.fold_scores.shape, found.low <= found.estimate <= found.high
        ((2,), True)

    Reference:
        S. Varma and R. Simon, Bias in error estimation when using cross-validation for model selection, 2006; the
        interval by the corrected variance of C. Nadeau and Y. Bengio, Inference for the generalization error, 2003.
    """
    check_fields(fields, CV, Limits, Workers)
    cv, limits = settings_of(CV, cv, fields), settings_of(Limits, limits, fields)
    workers = settings_of(Workers, workers, fields)
    check_choice("which", which, ("one_se", "best"))
    dataset = as_dataset(data, target=target, task=task, groups=cv.groups)
    outer = make_folds(dataset, outer_folds, seed=derive(seed, "outer"), order=cv.order, gap=cv.gap, stop_fraction=0.0)
    check_metric(metric, dataset, outer)
    parts = [
        (dataset.take(fold.fit), cv.replace(groups=None, order=_ordered(cv.order, fold.fit)), derive(seed, "outer", k))
        for k, fold in enumerate(outer)
    ]
    for part, inner, own in parts:
        inner.divide(part, own)  # refused before the first search
    search = functools.partial(
        tune,
        make_model,
        space=space,
        limits=limits,
        workers=workers,
        strategy=strategy,
        metric=metric,
        recipe=recipe,
        baselines=False,
        allow_version=allow_version,
    )
    studies = []
    for k, (part, inner, own) in enumerate(parts):
        folder = None if study_dir is None else Path(study_dir) / f"fold_{k}"
        studies.append(search(data=part, cv=inner, seed=own, study_dir=folder))
        if on_fold is not None:
            on_fold(k, studies[-1])
    rows = _final_rows(make_model, dataset, outer, studies, which, workers, study_dir, allow_version)
    scores = _fold_means(metric, rows, outer, dataset)
    found = mean_over_folds(scores, overlap(outer), confidence)
    return NestedScore(metric, found.mean, found.low, found.high, confidence, scores, tuple(studies))


def _ordered(order: Any, rows: NDArray[np.int64]) -> Any:
    """Return the order of some rows; a column of the table is there already."""
    return order if order is None or isinstance(order, str) else np.asarray(order)[rows]


def _final_rows(
    make_model: ModelMaker,
    dataset: Dataset,
    outer: Sequence[Fold],
    studies: Sequence[Study],
    which: Which,
    workers: Workers,
    study_dir: Path | str | None,
    allow_version: bool,
) -> Sequence[Row]:
    """Train, in each outer fold, what :meth:`Study.refit` trains there, and score it on the fold's other rows."""
    finals = [study.final(which) for study in studies]

    def identity() -> dict[str, Any]:
        chosen = [[recipe.to_dict(), repr(model_args)] for recipe, model_args in finals]
        return identity_of(dataset, outer) | {"choices": chosen}

    def member(key: Key, _params: Mapping[str, Any]) -> Member:
        recipe, model_args = finals[key.fold]
        return Member(recipe, outer[key.fold], studies[key.fold].seed, model_args)

    with open_ledger(study_dir, identity, allow_version=allow_version) as ledger:
        (trial,) = Search(
            fitter=Networks(make_model, dataset),
            folds=outer,
            seeds=1,
            member=member,
            proposals=Fixed([{"which": which}]),
            ledger=ledger,
            workers=workers,
        ).run()
    return trial.rows


def _fold_means(metric: MetricName, rows: Sequence[Row], folds: Sequence[Fold], dataset: Dataset) -> Array:
    """Return the metric of each outer fold in which it can be told."""
    pairs = [pair for pair in zip(rows, truths_of(dataset, folds), strict=True) if is_defined(metric, pair[1])]
    told = [HeldOut(row.losses, row.scores, row.outputs) for row, _ in pairs]
    return np.array([of_rows(metric, one, truth).mean() for one, (_, truth) in zip(told, pairs, strict=True)])
