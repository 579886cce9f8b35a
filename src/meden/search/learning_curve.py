"""Would more rows help, or more regularisation? The same recipe on nested subsets of the rows that train."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, get_args

import numpy as np

from meden._checks import InputError, check_choice, check_count
from meden.data import Dataset, Fold, as_dataset, num_batches
from meden.data.subsets import nested
from meden.data.tables import Table
from meden.member import Member, ModelMaker
from meden.noise import derive
from meden.recipe import Recipe
from meden.search.alternative import CONFIDENCE, mean_over_folds, overlap
from meden.search.checks import check_models, check_stopping
from meden.search.engine import Search, open_ledger
from meden.search.fixed import Fixed
from meden.search.identity import identity_of
from meden.search.progress import OnProgress
from meden.search.settings import CV, CompareFields, check_fields, settings_of
from meden.search.tune import check_recipe
from meden.space.names import OFF
from meden.study.data_summary import DataSummary
from meden.study.learning_curve import CHOSEN, PLAIN, LearningCurve, Same
from meden.study.ledger import Key
from meden.study.metrics import MetricName
from meden.study.model_reference import ModelReference
from meden.study.results import Trial
from meden.study.selection import Score
from meden.study.size_curve import SPAN, Array, SizeCurve
from meden.workers.fitter import Networks
from meden.workers.workers import Workers

NUM_SIZES = 8
"""Sizes that are measured unless given: a law of three parameters, which may begin at any of the first five."""
REACH = 16
"""Times the smallest of them that the largest is, where there are rows enough."""
FEWEST_ROWS = 10
"""Of the smallest of them; each class has two there."""
MOST_BYTES = 2**28
"""Of encoded tables that are held at once: each subset has encoders of its own."""
Configurations = list[dict[str, int | str]]


def learning_curve(
    make_model: ModelMaker,
    data: Any,
    recipe: Recipe | None = None,
    *,
    model_args: Mapping[str, Any] | None = None,
    plain: bool | Recipe = False,
    sizes: Sequence[int] | None = None,
    same: Same = "steps",
    cv: CV | None = None,
    workers: Workers | None = None,
    study_dir: Path | str | None = None,
    target: str | None = None,
    task: str | None = None,
    seed: int = 0,
    allow_version: bool = False,
    on_start: Callable[[], None] | None = None,
    on_progress: OnProgress | None = None,
    **fields: Unpack[CompareFields],
) -> LearningCurve:
    """Train a recipe on smaller and smaller subsets of each fold, and estimate what more rows would gain.

    Each subset lies in the next. Classes are balanced, groups kept whole, and with ``order`` a subset is the latest
    past. Encoders are fitted on the subset alone. The stop split shrinks alike: few rows that are stopped by many would
    do better than a table of so few rows could, and the curve would flatten before it falls. All sizes of a fold are
    scored by the same rows. Each seed draws other subsets.

    Args:
        make_model: as for :func:`meden.tune`.
        data: as for :func:`meden.tune`.
        recipe: how each size is trained; None is 100 epochs with early stopping after 10.
        model_args: arguments of ``make_model``.
        plain: trains also the same network with nothing that regularises, early stopping included; or the recipe that
            does so.
        sizes: numbers of rows that train, two or more that rise, at most the fitting rows of the smallest fold; None
            are 8, evenly spaced in their logarithms, from a sixteenth to all of them.
        same: what all sizes have as many of: ``"steps"`` of the optimizer, so that an epoch of a small size passes over
            its rows more often; or ``"epochs"``, which takes a third of the time, but trains a small size less.
        cv: as for :func:`meden.tune`, or its fields by themselves.
        workers: as for :func:`meden.tune`, or its fields by themselves.
        study_dir: folder of the ledger; a curve that was cut off goes on from there. None keeps it in memory.
        target: target column, for tables.
        task: ``"classification"`` or ``"regression"``; None infers it from the target.
        seed: of splits, subsets, weights, batches and noise.
        allow_version: as for :func:`meden.tune`.
        on_start: called once all checks are passed, before the first fit.
        on_progress: as for :func:`meden.tune`.
        **fields: of ``cv`` and ``workers``, by themselves.

    Returns:
        The curve: ``sentences``, ``predict(n)``, ``table()``, ``report(path)``.

    Raises:
        InputError: before any compute, if anything does not fit; or if ``study_dir`` holds something else.

    Example:
        >>> import meden
        >>> recipe = meden.Recipe(lr=0.01, epochs=20)
        >>> found = meden.learning_curve(meden.models.MLP, "iris", recipe, sizes=[10, 20, 40, 60], folds=3)
        >>> found.sizes.tolist(), found.chosen.values.shape
        ([10.0, 20.0, 40.0, 60.0], (3, 4))

    Reference:
        T. Viering and M. Loog, The shape of learning curves: a review, 2022.
    """
    check_fields(fields, CV, Workers)
    cv, workers = settings_of(CV, cv, fields), settings_of(Workers, workers, fields)
    check_choice("same", same, get_args(Same))
    asked_for = _recipes(recipe, plain)
    arguments = dict(model_args or {})
    dataset = as_dataset(data, target=target, task=task, groups=cv.groups)
    folds = cv.divide(dataset, seed)
    asked = _sizes(dataset, folds, sizes)
    for reached in asked_for.values():
        check_stopping(reached, folds)
    subsets = _Subsets(dataset, folds, seed, cv.order)
    smallest = [subsets.fold(place, 0, asked[0]) for place in range(len(folds))]
    models = check_models(make_model, [(reached, arguments) for reached in asked_for.values()], dataset, smallest)
    workers.reach()
    recipes = {name: _as_long(reached, folds) if same == "steps" else reached for name, reached in asked_for.items()}

    def identity() -> dict[str, Any]:
        settings = [[name, reached.to_dict(), repr(arguments)] for name, reached in recipes.items()]
        division = {"sizes": asked, "seeds": cv.seeds, "seed": seed, "order": repr(cv.order)}
        return identity_of(dataset, folds, models) | {"learning_curve": settings} | division

    def member(key: Key, params: Mapping[str, Any]) -> Member:
        fold = subsets.fold(key.fold, key.seed, params["rows"])
        return Member(recipes[params["network"]], fold, derive(seed, "seed", key.seed), arguments)

    with open_ledger(study_dir, identity, allow_version=allow_version) as ledger:
        if on_start is not None:
            on_start()
        trials = Search(
            fitter=Networks(make_model, dataset),
            folds=folds,
            seeds=cv.seeds,
            member=member,
            proposals=Fixed(*_batches(dataset, asked, list(recipes), len(folds) * cv.seeds)),
            ledger=ledger,
            workers=workers,
            on_progress=on_progress,
        ).run()
    curves, scores, gain = _measured(dataset, folds, trials, subsets, cv.seeds, seed)
    return LearningCurve(
        metric=_metric(dataset),
        chosen=curves[CHOSEN],
        plain=curves.get(PLAIN),
        gain=gain,
        scores=scores,
        same=same,
        num_seeds=cv.seeds,
        seed=seed,
        data=DataSummary.of(dataset),
        model=ModelReference.of(make_model),
        recipe=asked_for[CHOSEN],
        model_args=arguments,
    )


class _Subsets:
    """The folds of a search as they would be with fewer rows: those that fit and those that stop shrink alike."""

    def __init__(self, dataset: Dataset, folds: Sequence[Fold], seed: int, order: Any) -> None:
        self._folds = folds
        self._fit = functools.cache(
            lambda fold, run: nested(dataset, folds[fold].fit, seed=derive(seed, "subset", fold, run), order=order)
        )
        self._stop = functools.cache(
            lambda fold, run: nested(dataset, folds[fold].stop, seed=derive(seed, "stop", fold, run), order=order)
        )
        self.fold = functools.cache(self._fold)  # networks of one size share theirs, and what encoded it

    def _fold(self, fold: int, run: int, size: int) -> Fold:
        """Return a fold of which a subset fits and as large a share stops, by the fold, the seed and the size."""
        whole = self._folds[fold]
        stop = whole.stop
        if len(stop):
            stop = self._stop(fold, run).first(max(1, round(size * len(stop) / len(whole.fit))))
        return Fold(self._fit(fold, run).first(size), stop, whole.score)


def _recipes(recipe: Recipe | None, plain: bool | Recipe) -> dict[str, Recipe]:
    if not isinstance(plain, (bool, Recipe)):
        raise InputError(f"plain must be true or false, or a meden.Recipe, got {plain!r:.80}")
    chosen = check_recipe(recipe)
    if not plain:
        return {CHOSEN: chosen}
    return {CHOSEN: chosen, PLAIN: plain if isinstance(plain, Recipe) else chosen.replace(**OFF)}


def _sizes(dataset: Dataset, folds: Sequence[Fold], given: Sequence[int] | None) -> list[int]:
    """Return the sizes, as they were given or evenly spaced.

    Raises:
        InputError: if they do not rise, or there are not rows enough.
    """
    most = min(len(fold.fit) for fold in folds)
    num_classes = len(dataset.classes) if dataset.labels.ndim == 1 else 0
    if given is None:
        fewest = max(FEWEST_ROWS, 2 * num_classes)
        if most < SPAN * fewest:
            classes = f" and {num_classes} classes" if num_classes else ""
            raise InputError(
                f"data must leave at least {SPAN * fewest:.0f} fitting rows in every fold for a learning curve of "
                f"{NUM_SIZES} sizes from {fewest} rows, got {most} of {dataset.num_rows} rows{classes}; give "
                "sizes, or fewer folds"
            )
        spaced = np.geomspace(max(fewest, most / REACH), most, NUM_SIZES)
        return sorted({round(size) for size in spaced})
    if not isinstance(given, (list, tuple)) or len(given) < 2:
        raise InputError(f"sizes must be a list of two or more increasing integers, got {given!r:.80}")
    for size in given:
        check_count("sizes", size, low=max(2, num_classes))
    if any(later <= size for size, later in itertools.pairwise(given)):
        raise InputError(f"sizes must increase, got {list(given)!r:.80}")
    if given[-1] > most:
        raise InputError(
            f"sizes must be at most {most}, the fitting rows of the smallest fold of {dataset.num_rows} rows, got "
            f"{given[-1]}"
        )
    return list(given)


def _as_long(recipe: Recipe, folds: Sequence[Fold]) -> Recipe:
    """Return a recipe whose epochs have as many steps as with all rows, whatever rows it is given."""
    most = max(len(fold.fit) for fold in folds)
    return recipe.replace(steps_per_epoch=num_batches(most, recipe.batch_size, recipe.steps_per_epoch))


def _batches(dataset: Dataset, sizes: Sequence[int], networks: Sequence[str], runs: int) -> Iterator[Configurations]:
    """Yield what is trained together: as many sizes as there is memory for, each of which is encoded in each run."""
    bytes_of_size = 0
    if isinstance(dataset.inputs, Table):
        bytes_of_size = 4 * runs * dataset.num_rows * dataset.fit_encoder(range(dataset.num_rows)).num_inputs
    at_once = max(1, min(len(sizes), MOST_BYTES // max(bytes_of_size, 1)))
    for start in range(0, len(sizes), at_once):
        part = sizes[start : start + at_once]
        yield [{"rows": size, "network": name} for size in part for name in networks]


def _metric(dataset: Dataset) -> MetricName:
    """Return what is told: of numbers in the target's units, as their loss is in those of a subset's encoder."""
    return "loss" if dataset.task == "classification" else "mse"


def _measured(
    dataset: Dataset, folds: Sequence[Fold], trials: Sequence[Trial], subsets: _Subsets, seeds: int, seed: int
) -> tuple[dict[str, SizeCurve], dict[str, Array], Score | None]:
    """Put the runs together: the curve of each network, its accuracies, and what the recipe gains over the plain."""
    ordered = sorted(trials, key=lambda trial: trial.params["rows"])
    by_network: dict[str, list[Trial]] = {}
    for trial in ordered:
        by_network.setdefault(trial.params["network"], []).append(trial)
    runs = list(itertools.product(range(len(folds)), range(seeds)))
    asked = [trial.params["rows"] for trial in by_network[CHOSEN]]
    rows = np.array([np.mean([len(subsets.fold(*run, size).fit) for run in runs]) for size in asked])
    kept = np.append(np.diff(rows) > 0, True)  # whole groups may leave two sizes the same rows

    def table(own: Sequence[Trial], of: str) -> Array:
        """Return a mean over the seeds for each fold and size, (F, S)."""
        each = [getattr(trial, f"fold_{of}").reshape(-1, seeds).mean(axis=1) for trial in own]
        return np.stack(each, axis=1)[:, kept]

    metric = _metric(dataset)
    of = "losses" if metric == "loss" else "scores"
    curves = {name: SizeCurve(name, rows[kept], table(own, of), seed) for name, own in by_network.items()}
    scores = {name: table(own, "scores") for name, own in by_network.items()} if metric == "loss" else {}
    if PLAIN not in curves:
        return curves, scores, None
    gained = mean_over_folds(curves[PLAIN].values[:, -1] - curves[CHOSEN].values[:, -1], overlap(folds))
    told = Score(gained.mean, gained.low, gained.high, CONFIDENCE, gained.mean, metric)
    return curves, scores, told if np.isfinite(gained.mean) else None
