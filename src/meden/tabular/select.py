"""Which columns of a table are worth keeping: a path of strengths, with and without noise columns beside them.

Legend: ``P`` columns, ``M`` noise copies of each, ``F`` folds, ``S`` seeds.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError, check_choice, check_count, check_number
from meden.data import Dataset, Fold
from meden.data.knockoffs import with_noise_columns
from meden.data.tables import Table
from meden.member import Member, ModelMaker
from meden.models import MLP, Linear
from meden.models.placed import HERE, placed
from meden.noise import derive
from meden.penalties import GroupLasso, SparsePenalty
from meden.recipe import Recipe
from meden.run import HeldOut
from meden.search import CV, Path, PathPoint, path
from meden.search.alternative import overlap
from meden.search.checks import check_stopping
from meden.search.progress import OnProgress
from meden.search.simple_models import SimpleModels
from meden.study.metrics import MetricName, fitting, of_rows, truths_of
from meden.study.selection import one_standard_error
from meden.study.stability import copies_for, false_discovery_rates, frequency
from meden.tabular.selection import InputSelection, SelectedColumn, With
from meden.tabular.setup import set_up
from meden.training.fit_many import fit_many
from meden.workers.workers import Workers

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Selector:
    """A network whose inputs a path can close, and how that goes best."""

    make_model: ModelMaker
    lr: float = 0.01
    start: Literal["dense", "empty"] = "dense"
    """Up from the network with all inputs, which a network of several layers that has none does not find again; or down
    from none, which keeps fewer of thousands and is the same where the objective is convex."""


SELECTORS: Mapping[str, Selector] = {
    "mlp": Selector(functools.partial(MLP, depth=1)),
    "skip": Selector(functools.partial(MLP, depth=1, skip=True)),
    "linear": Selector(Linear, lr=0.003, start="empty"),
}
"""By name; the first is the usual one."""
STRENGTHS = 20
RATE = 0.2
SMALLEST = 0.01
"""The smallest strength, as a share of that at which nothing is left."""
STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 400, 20, 400
"""Steps of the dense model, in whole epochs between these."""
WITHOUT_NOISE, WITH_NOISE = "path", "noise"
"""Folders of the two paths, within that of a selection."""
PREFERRED: tuple[MetricName, ...] = ("accuracy", "r2", "mse", "loss")


def select_inputs(
    dataset: Dataset,
    *,
    model: str = "mlp",
    device: str = HERE,
    penalty: type[SparsePenalty] | SparsePenalty = GroupLasso,
    num: int = STRENGTHS,
    recipe: Recipe | None = None,
    noise: bool = True,
    rate: float = RATE,
    cv: CV | None = None,
    workers: Workers | None = None,
    study_dir: FilePath | str | None = None,
    seed: int = 0,
    allow_version: bool = False,
    on_progress: OnProgress | None = None,
) -> InputSelection:
    """Find the columns of a table that survive a group penalty, how often they do, and what they are worth.

    A path of strengths over the columns (:func:`meden.path`) says which survive at the one-SE strength. Another one, of
    the table with noise columns beside its own (:func:`meden.data.knockoffs.with_noise_columns`), says which stand out
    from noise. The usual network for tables is then trained in each fold on the columns that survive there, on all, and
    on none. In each fold the strength is chosen by the scored rows of the other folds; the models of those folds have
    seen its own scored rows, however, and all folds have the same strengths.

    Args:
        dataset: a table.
        model: network whose inputs are closed, ``"mlp"`` or ``"linear"``; what predicts is another one.
        device: that networks are trained on, see :func:`meden.models.placed.placed`.
        penalty: as for :func:`meden.path`.
        num: strengths, 2 or more.
        recipe: of the path, without early stopping; None is the usual one.
        noise: whether to hold the columns against noise columns, which takes more than twice the time.
        rate: share of false ones that is allowed among the columns that stand out, on average, in (0, 1). It holds
            where columns depend on each other as those of a Gaussian copula do: not where some are squares, ratios or
            bins of others.
        cv: how the rows are divided, and the seeds.
        workers: processes that train.
        study_dir: folder of both paths; a selection that was cut off goes on from there. None keeps all in memory.
        seed: of splits, weights, batches, dropout and noise columns.
        allow_version: as for :func:`meden.tune`.
        on_progress: as for :func:`meden.tune`.

    Raises:
        InputError: before any compute, if anything does not fit.

    Example:
        >>> from meden.data import as_dataset
        >>> quick = Recipe(optimizer="adam", lr=0.02, epochs=10, batch_size=32)
        >>> found = select_inputs(as_dataset("iris"), num=5, recipe=quick, noise=False, cv=CV(folds=2))
        >>> "petal width (cm)" in found.kept
        True
    """
    check_choice("model", model, SELECTORS)
    check_count("num", num, low=2)
    check_number("rate", rate, low=0.0, high=1.0, low_open=True, high_open=True)
    if not isinstance(dataset.inputs, Table):
        raise InputError("data must be a table with columns to select, got arrays; pass a DataFrame or a file")
    cv, columns = cv or CV(), dataset.feature_names
    folds = cv.divide(dataset, seed)
    check_stopping(set_up(dataset, device=device).recipe, folds)
    whole = cv.replace(folds=tuple(_whole(fold) for fold in folds), stop_fraction=0.0, order=None, gap=0)
    copies = copies_for(len(columns), rate) if noise else 0
    selector = SELECTORS[model]
    walk = functools.partial(
        path,
        placed(selector.make_model, device),
        penalty=penalty,
        num=num,
        ratio=SMALLEST,
        start=selector.start,
        recipe=recipe or path_recipe(dataset.num_rows, selector.lr),
        cv=whole,
        workers=workers,
        seed=seed,
        allow_version=allow_version,
        on_progress=on_progress,
    )
    found = walk(data=dataset, study_dir=_part(study_dir, WITHOUT_NOISE))
    rates = None
    if copies:
        noisy, names = with_noise_columns(dataset, copies, seed=derive(seed, "noise columns"))
        beside = walk(data=noisy, study_dir=_part(study_dir, WITH_NOISE))
        rates = false_discovery_rates(
            np.array([_norms(beside, (own, *n)) for own, n in zip(columns, names, strict=True)])
        )
    results = _results(dataset, folds, kept_by_fold(found), cv.seeds, seed, device)
    return InputSelection(
        columns=_columns(found, columns, rates, overlap(folds)),
        names=columns,
        metric=next(metric for metric in PREFERRED if metric in fitting(dataset.task, dataset.labels)),
        results=results,
        overlap=overlap(folds),
        rate=rate,
        copies=copies,
        path=found,
    )


def path_recipe(num_rows: int, lr: float) -> Recipe:
    """Return the usual recipe of a path on so many rows."""
    batch_size = 64
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, math.ceil(STEPS * batch_size / num_rows)))
    return Recipe(optimizer="adam", lr=lr, batch_size=batch_size, epochs=epochs)


def points_by_fold(found: Path) -> list[PathPoint]:
    """Return the one-SE strength of all other folds, for each fold, (F,)."""
    losses = np.array([point.losses.reshape(-1, found.num_seeds).mean(axis=1) for point in found.points])
    simplicity = [-point.num_kept for point in found.points]
    others = [np.delete(losses, fold, axis=1) for fold in range(losses.shape[1])]
    return [found.points[one_standard_error(other, simplicity)] for other in others]


def kept_by_fold(found: Path) -> list[list[frozenset[str]]]:
    """Return what each fold and seed keeps, (F, S), at the one-SE strength of the other folds."""
    runs = [range(fold * found.num_seeds, (fold + 1) * found.num_seeds) for fold in range(len(found.points[0].kept))]
    return [[point.kept[run] for run in own] for point, own in zip(points_by_fold(found), runs, strict=False)]


def _columns(found: Path, names: Sequence[str], rates: Array | None, shared: float) -> tuple[SelectedColumn, ...]:
    point, support = found.one_se, found.support()
    made = []
    for place, name in enumerate(names):
        kept = np.array([name in own for own in point.kept]).reshape(-1, found.num_seeds)
        norm = float(_norms(found, (name,), "one_se")[0])
        rate = None if rates is None else float(rates[place])
        made.append(SelectedColumn(name, name in support, frequency(kept, shared), norm, rate))
    return tuple(sorted(made, key=lambda column: (not column.kept, -column.frequency.share, -column.norm)))


def _norms(found: Path, names: Sequence[str], at: str = "best") -> list[float]:
    """Return mean norms over all runs; a column that is no input of a run has none."""
    places = {name: place for place, name in enumerate(found.names)}
    norms = np.nan_to_num(found.at(at).norms).mean(axis=0)  # type: ignore[arg-type]
    return [float(norms[places[name]]) if name in places else 0.0 for name in names]


def _results(
    dataset: Dataset,
    folds: Sequence[Fold],
    kept: Sequence[Sequence[frozenset[str]]],
    seeds: int,
    seed: int,
    device: str,
) -> dict[With, dict[MetricName, Array]]:
    """Return held-out results of each fold, averaged over seeds, in all metrics that fit."""
    constant = SimpleModels(dataset, seed)
    with_none = [[constant.held_out("constant", fold)] for fold in folds]
    numbers = [derive(seed, "seed", number) for number in range(seeds)]
    fitted = functools.partial(_fitted, dataset, device)
    everything = fitted(set(dataset.feature_names), [(fold, n) for fold in folds for n in numbers])
    with_all = [everything[place * seeds : (place + 1) * seeds] for place in range(len(folds))]
    with_kept = [
        [fitted(names, [(fold, number)])[0] if names else none[0] for names, number in zip(own, numbers, strict=True)]
        for fold, own, none in zip(folds, kept, with_none, strict=True)
    ]
    told: dict[With, Any] = {"all": with_all, "kept": with_kept, "none": with_none}
    truths, metrics = truths_of(dataset, folds), fitting(dataset.task, dataset.labels)
    return {
        name: {
            metric: np.array(
                [
                    np.mean([of_rows(metric, one, truth).mean() for one in own])
                    for own, truth in zip(each, truths, strict=True)
                ]
            )
            for metric in metrics
        }
        for name, each in told.items()
    }


def _fitted(dataset: Dataset, device: str, names: Collection[str], runs: Sequence[tuple[Fold, int]]) -> list[HeldOut]:
    """Train the usual network on some columns, and return what it makes of the rows that score."""
    assert isinstance(dataset.inputs, Table)
    setup = set_up(dataclasses.replace(dataset, inputs=dataset.inputs.only(names)), device=device)
    members = [Member(setup.recipe, fold, number) for fold, number in runs]
    ended = [run.held_out for run in fit_many(setup.make_model, members, setup.data)]
    return [one for one in ended if one is not None]


def _whole(fold: Fold) -> Fold:
    """Return a fold whose stop split fits, too."""
    return Fold(np.sort(np.concatenate([fold.fit, fold.stop])), fold.stop[:0], fold.score)


def _part(study_dir: FilePath | str | None, name: str) -> FilePath | None:
    return None if study_dir is None else FilePath(study_dir) / name
