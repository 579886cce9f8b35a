"""Which regulariser helps, and by how much: alternatives trained on the same folds and seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Unpack

from meden._checks import InputError
from meden.data import as_dataset
from meden.member import ModelMaker
from meden.objective import SCORE_NAMES
from meden.recipe import Recipe
from meden.search.alternative import Alternative, overlap
from meden.search.checks import check_models, check_stopping
from meden.search.comparison import Comparison
from meden.search.comparison_origin import Origin
from meden.search.engine import Search, members_of, open_ledger
from meden.search.fixed import Fixed
from meden.search.identity import identity_of
from meden.search.progress import OnProgress
from meden.search.settings import CV, CompareFields, check_fields, settings_of
from meden.search.tune import check_recipe
from meden.space.names import check_names, configure
from meden.study.data_summary import DataSummary
from meden.study.model_reference import ModelReference
from meden.study.results import Trial
from meden.workers.fitter import Networks
from meden.workers.workers import Workers


def compare(
    make_model: ModelMaker,
    data: Any,
    alternatives: Mapping[str, Recipe | Mapping[str, Any] | None],
    *,
    cv: CV | None = None,
    workers: Workers | None = None,
    recipe: Recipe | None = None,
    study_dir: Path | str | None = None,
    target: str | None = None,
    task: str | None = None,
    seed: int = 0,
    allow_version: bool = False,
    on_start: Callable[[], None] | None = None,
    on_progress: OnProgress | None = None,
    **fields: Unpack[CompareFields],
) -> Comparison:
    """Train several alternatives on the same folds with the same starting weights and batches, and compare them.

    Args:
        make_model: as for :func:`meden.tune`.
        data: as for :func:`meden.tune`.
        alternatives: names to recipes, or to what each changes in ``recipe``: its fields, the short names ``l1`` and
            ``l2``, arguments of ``make_model``; None or ``{}`` changes nothing. Two at least; the first is what the
            others are compared with.
        cv: as for :func:`meden.tune`, or its fields by themselves.
        workers: as for :func:`meden.tune`, or its fields by themselves.
        recipe: what alternatives that are no recipes share; None is 100 epochs with early stopping after 10.
        study_dir: folder of the ledger; a comparison that was cut off goes on from there. None keeps it in memory.
        target: target column, for tables.
        task: ``"classification"`` or ``"regression"``; None infers it from the target.
        seed: of splits, weights, batches and noise.
        allow_version: as for :func:`meden.tune`.
        on_start: called once all checks are passed, before the first fit.
        on_progress: as for :func:`meden.tune`.
        **fields: of ``cv`` and ``workers``, by themselves.

    Returns:
        The comparison: ``verdict``, ``table()``, ``difference(name)``, ``report(path)``, and a printed table.

    Raises:
        InputError: before any compute, if anything does not fit; or if ``study_dir`` holds something else.

    Example:
        >>> import meden
        >>> plain = meden.Recipe(epochs=2)
        >>> made = meden.compare(meden.models.MLP, "iris", {"none": plain, "L2": {"l2": 0.1}}, folds=2, recipe=plain)
        >>> [alternative.name for alternative in made.alternatives], made.metric
        (['none', 'L2'], 'accuracy')
    """
    check_fields(fields, CV, Workers)
    cv, workers = settings_of(CV, cv, fields), settings_of(Workers, workers, fields)
    settings = _settings(make_model, alternatives, check_recipe(recipe))
    dataset = as_dataset(data, target=target, task=task, groups=cv.groups)
    folds = cv.divide(dataset, seed)
    for reached, _ in settings.values():
        check_stopping(reached, folds)
    models = check_models(make_model, settings.values(), dataset, folds)
    workers.reach()

    def identity() -> dict[str, Any]:
        return identity_of(dataset, folds, models) | {"alternatives": _plain(settings), "seeds": cv.seeds, "seed": seed}

    with open_ledger(study_dir, identity, allow_version=allow_version) as ledger:
        if on_start is not None:
            on_start()
        trials = Search(
            fitter=Networks(make_model, dataset),
            folds=folds,
            seeds=cv.seeds,
            member=members_of(lambda params: settings[params["alternative"]], folds, seed),
            proposals=Fixed([{"alternative": name} for name in settings]),
            ledger=ledger,
            workers=workers,
            on_progress=on_progress,
        ).run()
    found = [_alternative(name, *settings[name], trial, cv.seeds) for name, trial in zip(settings, trials, strict=True)]
    origin = Origin(
        data=DataSummary.of(dataset),
        model=ModelReference.of(make_model),
        division=cv.division,
        num_seeds=cv.seeds,
        seed=seed,
    )
    return Comparison(SCORE_NAMES[dataset.task], tuple(found), cv.seeds, overlap(folds), origin)


def _settings(make_model: ModelMaker, alternatives: Any, recipe: Recipe) -> dict[str, tuple[Recipe, dict[str, Any]]]:
    if not isinstance(alternatives, Mapping) or len(alternatives) < 2:
        raise InputError(f"alternatives must name two or more ways to train, got {alternatives!r:.80}")
    return {str(name): _setting(str(name), given, make_model, recipe) for name, given in alternatives.items()}


def _setting(name: str, given: Any, make_model: ModelMaker, recipe: Recipe) -> tuple[Recipe, dict[str, Any]]:
    if isinstance(given, Recipe):
        return given, {}
    if not isinstance(given, Mapping | None):
        raise InputError(f"alternative {name!r} must be a meden.Recipe or a dict of changes, got {given!r}")
    try:
        check_names(given or {}, make_model)
        return configure(recipe, given or {})
    except InputError as error:
        raise InputError(f"alternative {name!r}: {error}") from None


def _plain(settings: Mapping[str, tuple[Recipe, Mapping[str, Any]]]) -> list[list[Any]]:
    """Return what a ledger says of alternatives, which it knows by their place."""
    return [[name, recipe.to_dict(), repr(dict(model_args))] for name, (recipe, model_args) in settings.items()]


def _alternative(name: str, recipe: Recipe, model_args: Mapping[str, Any], trial: Trial, seeds: int) -> Alternative:
    measured = trial.fold_losses, trial.fold_scores, trial.fold_train_losses
    losses, scores, train = (values.reshape(-1, seeds).mean(axis=1) for values in measured)
    return Alternative(name, recipe, model_args, losses, scores, train, trial.status, trial.reason, trial.rows)
