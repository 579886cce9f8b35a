"""The dear way to know what a search is worth: search again in each outer fold, and score on rows it never had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError
from meden.data import Dataset, Fold, as_dataset, make_folds
from meden.member import Member, ModelMaker
from meden.noise import derive
from meden.run import HeldOut
from meden.search.compare import overlap, paired_difference
from meden.search.tune import tune
from meden.space.names import AskedSpace
from meden.study.metrics import MetricName, check_metric, of_rows
from meden.study.results import Which
from meden.study.study import Study
from meden.training.fit_many import fit_many

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NestedScore:
    """What a search is worth, choosing included: each outer fold was searched by itself."""

    metric: str
    estimate: float
    """Mean over the outer folds."""
    low: float
    high: float
    """Ends of the interval."""
    confidence: float
    fold_scores: Array
    """Of each outer fold, (F,)."""
    studies: tuple[Study, ...]
    """The search of each outer fold, on its training rows."""


def nested(
    make_model: ModelMaker,
    data: Any,
    space: AskedSpace | None = None,
    *,
    outer_folds: int = 5,
    metric: MetricName = "loss",
    which: Which = "one_se",
    target: str | None = None,
    task: str | None = None,
    groups: Any = None,
    order: Any = None,
    seed: int = 0,
    confidence: float = 0.9,
    on_fold: Callable[[int, Study], None] | None = None,
    **options: Any,
) -> NestedScore:
    """Cross-validate a whole search: choose on each outer fold's training rows, score the choice on the others.

    It takes ``outer_folds`` times as long as the search, and says what such a search is worth on average, not what
    the configuration is worth that a search on all rows would choose.

    Args:
        make_model: as for :func:`meden.tune`.
        data: as for :func:`meden.tune`.
        space: as for :func:`meden.tune`.
        outer_folds: number of outer folds, 2 or more.
        metric: what decides in each search, and is told of the outer rows: ``"loss"``, ``"accuracy"``,
            ``"balanced_accuracy"``, ``"mse"`` or ``"r2"``.
        which: the choice that is trained on all rows of an outer fold's training part: ``"one_se"`` or ``"best"``.
        target: target column, for tables.
        task: ``"classification"`` or ``"regression"``; None tells by the target.
        groups: column or labels (n,) of rows that stay together, in outer and inner folds.
        order: column or values (n,) that order the rows in time, in outer and inner folds.
        seed: of outer splits and of the searches.
        confidence: coverage of the interval, in (0, 1).
        on_fold: called with the number of each outer fold and its study.
        **options: of :func:`meden.tune`, such as ``folds``, ``budget``, ``strategy``, ``recipe``.

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
    if options.get("study_dir") is not None:
        raise InputError(f"study_dir must not be given to a nested search, got {options['study_dir']!r}")
    dataset = as_dataset(data, target=target, task=task, groups=groups)
    check_metric(metric, dataset)
    divided = make_folds(dataset, outer_folds, seed=derive(seed, "outer"), order=order, stop_fraction=0.0)
    parts = [
        (dataset.take(fold.fit), _ordered(order, fold.fit), derive(seed, "outer", k)) for k, fold in enumerate(divided)
    ]
    for part, in_time, own in parts:
        make_folds(part, options.get("folds", 5), seed=own, order=in_time)  # refused before the first search
    studies = []
    for number, (part, in_time, own) in enumerate(parts):
        studies.append(tune(make_model, part, space, metric=metric, order=in_time, seed=own, **options))
        if on_fold is not None:
            on_fold(number, studies[-1])
    members = [_member(study, which, fold) for study, fold in zip(studies, divided, strict=True)]
    results = [run.held_out for run in fit_many(make_model, members, dataset)]
    scores = _fold_means(metric, results, divided, dataset)
    found = paired_difference(scores, overlap(divided), confidence)
    return NestedScore(metric, found.mean, found.low, found.high, confidence, scores, tuple(studies))


def _ordered(order: Any, rows: NDArray[np.int64]) -> Any:
    """Return the order of some rows; a column of the table is there already."""
    return order if order is None or isinstance(order, str) else np.asarray(order)[rows]


def _member(study: Study, which: Which, fold: Fold) -> Member:
    """Return the training that :meth:`Study.refit` does, with the outer fold's rows to score it."""
    recipe, model_args = study.final(which)
    return Member(recipe, fold, study.seed, model_args)


def _fold_means(
    metric: MetricName, results: Sequence[HeldOut | None], folds: Sequence[Fold], dataset: Dataset
) -> Array:
    parts = [result for result in results if result is not None]
    losses, scores = (
        np.concatenate([getattr(part, name) for part in parts])[None].astype(np.float64)
        for name in ("losses", "scores")
    )
    scored = np.concatenate([fold.score for fold in folds])
    weights = None if dataset.weights is None else dataset.weights[scored]
    values = of_rows(metric, losses, scores, dataset.labels[scored], weights)[0]
    ends = np.cumsum([len(fold.score) for fold in folds])[:-1]
    return np.array([part.mean() for part in np.split(values, ends)])
