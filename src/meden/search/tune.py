"""How much to regularise: the search."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from meden._checks import InputError
from meden._files import read_json
from meden.data import as_dataset
from meden.deadline import Deadline, now
from meden.member import ModelMaker
from meden.noise import derive
from meden.recipe import Recipe
from meden.search import racing as races
from meden.search.budget import Budget, Until
from meden.search.engine import Search
from meden.search.identity import identity_of
from meden.search.jobs import Answers, TrainingFunction
from meden.search.optuna_database import OptunaDatabase
from meden.search.plain import fit_plain
from meden.search.progress import OnProgress
from meden.search.settings import CV, Limits, SearchFields, check_fields, settings_of
from meden.search.simple_models import fit_simple_models
from meden.search.strategies import Proposals, StrategyName
from meden.search.subject import networks, training_function
from meden.search.tracker import Tracker, Trackers
from meden.search.trackers import trackers_of
from meden.space.cocktail import cocktail
from meden.space.names import AskedSpace, longest
from meden.stopping import EarlyStopping
from meden.study.final_states import WEIGHTS, FinalStates
from meden.study.folder import STUDY, Description, is_described, write_description
from meden.study.ledger import LEDGER, Ledger, Row, versions_of
from meden.study.load import results_of
from meden.study.metrics import MetricName
from meden.study.results import DIVISION, Results
from meden.study.study import Study
from meden.workers.workers import Workers

LIMITS = ("budget", "epochs_budget", "time_limit")
"""Settings that say how far a search gets on its way: it may be opened again to go further."""
METRIC, BASELINES, KEEP_LOSSES, KEEP_MODELS = "metric", "baselines", "keep_losses", "keep_models"
FREE = (METRIC, BASELINES, KEEP_LOSSES, KEEP_MODELS, *LIMITS)
"""Settings of a study that may change when it is opened again: configurations are trained as before."""
IN_MEMORY = "study"
"""What trackers are told of a study without a folder."""
DEFAULT_RECIPE = Recipe(epochs=100, early_stopping=EarlyStopping(patience=10))
"""What a search starts from by default: long enough, and stopped by the stop split."""


def tune(
    make_model: ModelMaker | TrainingFunction,
    data: Any = None,
    space: AskedSpace | None = None,
    *,
    rows: Any = None,
    cv: CV | None = None,
    limits: Limits | None = None,
    workers: Workers | None = None,
    strategy: StrategyName = "tpe",
    first: Sequence[Mapping[str, Any]] = (),
    metric: MetricName = "loss",
    baselines: bool = True,
    keep_losses: bool = False,
    keep_models: bool | Path | str = False,
    recipe: Recipe | None = None,
    study_dir: Path | str | None = None,
    storage: str | None = None,
    target: str | None = None,
    task: str | None = None,
    seed: int = 0,
    allow_version: bool = False,
    notes: Mapping[str, Any] | None = None,
    until: Until | None = None,
    on_start: Callable[[], None] | None = None,
    on_progress: OnProgress | None = None,
    trackers: Sequence[str | Tracker] = (),
    **fields: Unpack[SearchFields],
) -> Study:
    """Search a space by cross-validation.

    In each fold, encoders are fitted and models trained on the fitting rows, the stop split (rows of the fold's
    training part) says when to stop, and the scored rows do nothing but score.

    Anything that trains can be searched: with ``rows``, the first argument is a training function, which is called with
    a :class:`meden.search.Job` for each configuration, fold and seed, and returns what came of the rows it scores.

    Args:
        make_model: returns a fresh model; called with those names of the space that are its arguments, and with
            ``num_inputs`` and ``num_outputs`` if it takes them. With ``rows``, a training function.
        data: ``(X, y)``, a DataFrame or file with ``target``, a bundled name, or a :class:`meden.data.Dataset`.
        space: names to dimensions; a name is a field of :class:`meden.Recipe`, a short name for the strength of a
            penalty (``l1``, ``l2``; ``weight_decay``, as in AdamW) or of an augmentation (``mixup``, ``cutmix``,
            ``label_smoothing``, ``swap_noise``, ``jitter``, ``feature_mask``, ``affine``, ``elastic``), or an argument
            of ``make_model``. None is :func:`meden.space.cocktail`.
        rows: for a training function: labels or numbers (n,) of all rows, or how many rows there are. Names of the
            space are then those of ``job.params`` (``epochs`` is also the most epochs of a job), the recipe says no
            more than ``epochs`` and ``early_stopping``, and there are no baselines.
        cv: how the rows are divided; or fields of :class:`meden.search.CV` by themselves: ``folds``, ``seeds``,
            ``groups``, ``order``, ``gap``, ``stop_fraction``.
        limits: what may be spent; or fields of :class:`meden.search.Limits` by themselves: ``budget``,
            ``epochs_budget``, ``time_limit``, ``racing``.
        workers: who trains; or fields of :class:`meden.search.Workers` by themselves: ``jobs``, ``backend``,
            ``address``.
        strategy: ``"tpe"``, ``"gp"``, ``"sobol"``, ``"random"`` or ``"grid"``.
        first: points of the space, each with a value for every name, that are tried before what the strategy
            proposes, such as settings known to be good; they count as configurations of the budget, and those
            beyond it wait for a larger one.
        metric: what decides which configuration is best: ``"loss"``; ``"accuracy"``, ``"balanced_accuracy"``,
            ``"roc_auc"``, ``"average_precision"`` or ``"f1"`` of classes (the mean over classes where there are more
            than two, and for F1 always); ``"mse"``, ``"rmse"``, ``"mae"`` or ``"r2"`` of numbers. Stopping, races and
            proposals go by the loss, which is smoother.
        baselines: also train, on the same folds, what the choice is compared with: a constant model, a linear model,
            boosted trees (tables), and the network of the choice without regularisation; those that there is time for.
        keep_losses: also keep the loss of each fitting row and each row of a stop split, in half precision, so that
            :meth:`meden.Study.memorisation` trains nothing. The ledger is larger by an eighth (ten classes) to a half
            (two). Not for a training function.
        keep_models: also keep the models of the folds, of all configurations that lose no race, so that
            :meth:`meden.Study.fold_models` trains nothing: beside the ledger, or in a folder of their own. Not for a
            training function.
        recipe: what all configurations share; None is 100 epochs with early stopping after 10.
        study_dir: folder of the ledger; a search that was cut off goes on from there, and one that has ended goes on
            if its limits are larger now. :func:`meden.load_study` opens it without training. None keeps it in memory.
        storage: address of a database to copy the configurations to while they are trained, for Optuna's dashboard
            and its other tools, such as ``"postgresql+psycopg://user@host/name"`` (extra ``postgres``); None is the
            file ``study.db`` in ``study_dir``.
        target: target column, for tables.
        task: ``"classification"`` or ``"regression"``; None infers it from the target.
        seed: of splits, proposals, weights, batches and noise.
        allow_version: go on in ``study_dir`` with what another version of meden or torch began, whose numbers may
            differ; each row says which trained it.
        notes: plain values to keep in ``study_dir``, for a later call that goes on with the study.
        until: when the search must have ended, if ``time_limit`` is for more than the search; None is ``time_limit``
            seconds from now, less what a search that goes on has spent.
        on_start: called once all checks are passed, before the first fit.
        on_progress: called at the beginning, after each fit, a few times a second between, and at the end, with a
            :class:`meden.search.Progress`; :class:`meden.search.ProgressLines` prints it now and then.
        trackers: what follows the search: ``"tensorboard"`` or ``"mlflow"`` (extra ``trackers``), which write into
            ``study_dir``, or a :class:`meden.search.Tracker`.
        **fields: of ``cv``, ``limits`` and ``workers``, by themselves.

    Returns:
        The study: ``best``, ``one_se``, ``score``, ``table()``, ``refit()``, ``report(path)``.

    Raises:
        InputError: before any compute, if anything does not fit; or if ``study_dir`` holds another study, or more than
            the limits allow. After ``time_limit``, if not one epoch could be trained: it says how much time one needs.

    Example:
        >>> import meden
        >>> space = {"l2": meden.LogUniform(1e-4, 1.0)}
        >>> recipe = meden.Recipe(epochs=3)
        >>> study = meden.tune(meden.models.MLP, "iris", space, folds=2, budget=2, strategy="grid", recipe=recipe)
        >>> len(study.trials), study.metric
        (2, 'accuracy')
    """
    started = now()
    check_fields(fields, CV, Limits, Workers)
    cv, limits = settings_of(CV, cv, fields), settings_of(Limits, limits, fields)
    workers = settings_of(Workers, workers, fields)
    recipe = check_recipe(recipe)
    if rows is None and data is None:
        raise InputError(
            "data must be given for a function that makes models, or rows for a training function, got neither"
        )
    if rows is None:
        dataset = as_dataset(data, target=target, task=task, groups=cv.groups)
        space = cocktail(dataset.task, make_model) if space is None else space
        subject = networks(
            make_model, dataset, space, cv, recipe=recipe, metric=metric, seed=seed, keep_losses=keep_losses
        )
    else:
        if keep_losses:
            raise InputError(
                "keep_losses must be False for a training function, which returns only the losses of scored rows"
            )
        if keep_models:
            raise InputError("keep_models must be False for a training function, which has no models")
        if data is not None or target is not None:
            given = "data" if data is not None else "target"
            raise InputError(f"{given} must be None when rows are given, since a training function reads its own data")
        subject = training_function(
            make_model,
            rows,
            space,
            cv,
            recipe=recipe,
            metric=metric,
            seed=seed,
            task=task,
            study_dir=study_dir,
            workers=workers,
        )
        baselines = False
    folds, found = subject.folds, subject.space
    if limits.racing and not all(len(fold.stop) for fold in folds):
        raise InputError("stop_fraction must be above 0 for racing, which compares losses on the stop splits, got 0")
    proposals = Proposals(
        found,
        strategy,
        budget=limits.budget,
        seed=derive(seed, "search"),
        first=first,
        in_stacks=not subject.fitter.takes_turns,
    )
    epochs = longest(found, recipe)
    budget = Budget(limits.epochs_budget, epochs * len(folds) * cv.seeds, limits.time_limit, baselines=baselines)
    workers.reach()
    following = trackers_of(trackers, study_dir)
    settings: dict[str, Any] = {"strategy": strategy, "first": [dict(point) for point in first]}
    settings |= {
        "seeds": cv.seeds,
        "seed": seed,
        METRIC: metric,
        BASELINES: baselines,
        KEEP_LOSSES: keep_losses,
        KEEP_MODELS: bool(keep_models),
    }
    settings |= dict(limits) | {"budget": proposals.budget}
    described = Description(
        data=subject.data,
        folds=folds,
        space=found,
        recipe=recipe,
        model=subject.model,
        settings=settings,
        notes={DIVISION: cv.division} | dict(notes or {}) if cv.division else notes or {},
        num_fits=proposals.budget * len(folds) * cv.seeds,
    )
    identity = identity_of(subject.dataset, folds, subject.models)
    weights = None if study_dir is None else Path(study_dir) / WEIGHTS
    weights = weights if isinstance(keep_models, bool) else Path(keep_models)
    ends = FinalStates(weights) if keep_models or (weights is not None and weights.is_dir()) else None
    with _opened(study_dir, storage, described, identity, proposals, allow_version) as (ledger, name, database):
        if limits.time_limit is not None:
            spent = math.fsum(row.seconds for row in ledger.rows.values())
            end = until or Until(Deadline.after(limits.time_limit - spent, since=started))
            budget = dataclasses.replace(budget, until=end)
        if on_start is not None:
            on_start()
        if baselines:
            deadline = budget.deadline_of_simple_models()
            fit_simple_models(make_model, subject.dataset, folds, ledger, seed, deadline)
        Search(
            fitter=subject.fitter,
            folds=folds,
            seeds=cv.seeds,
            member=subject.member,
            proposals=proposals,
            ledger=ledger,
            workers=workers,
            space=found,
            budget=budget,
            rungs=races.rungs(epochs, in_turn=subject.fitter.takes_turns) if limits.racing else None,
            on_progress=on_progress,
            trackers=Trackers([*database, *following], name),
            on_result=None if rows is None else Answers(ledger).check,
            on_weights=ends.keep if ends is not None and keep_models else None,
        ).run()
        num_fits = sum(not row.baseline for row in ledger.rows.values())
        ended = dataclasses.replace(described, identity=ledger.digest, num_fits=num_fits)
        so_far = results_of(ended, ledger.rows.values())
        if baselines and so_far.usable and len(so_far.folds) == len(folds):
            fit_plain(
                make_model,
                subject.dataset,
                folds,
                ledger,
                workers,
                recipe=recipe,
                choice=so_far.choice,
                seeds=cv.seeds,
                seed=seed,
                pace=budget.pace_of_plain(so_far.choice.rows),
            )
        if study_dir is not None:
            write_description(ended, Path(study_dir))
    results = results_of(ended, ledger.rows.values(), versions_of(ledger.identity))
    if rows is not None:
        _warn_of_jobs(ledger.rows.values(), reports=all(len(fold.stop) for fold in folds))
        _warn_of_losses(results, len(subject.data.classes))
        return Study.of(results, None, None)
    return Study.of(results, make_model, subject.dataset, None if ends is None else ends.of_folds(results.folds, folds))


def _warn_of_jobs(rows: Collection[Row], *, reports: bool) -> None:
    """Say which jobs of a training function gave no result, beside those that lost a race, and if none reported."""
    if reports and not any(row.stop_loss for row in rows):
        warnings.warn(
            "train never called job.report: nothing stopped early and there are no curves to diagnose (to set no "
            "rows aside for early stopping: stop_fraction=0 with recipe=meden.Recipe(early_stopping=None))",
            stacklevel=3,
        )
    lost = [row for row in rows if row.status in ("failed", "diverged")]
    if lost:
        first = f"configuration {lost[0].configuration}, fold {lost[0].fold}: {lost[0].reason}"
        warnings.warn(f"{len(lost)} of {len(rows)} jobs failed; the first is {first}", stacklevel=3)


def _warn_of_losses(results: Results, num_classes: int) -> None:
    """Say what numbers were taken for that may be probabilities of the second of two classes."""
    if num_classes == 2 and results.data.task == "losses" and results.usable:
        losses = results.values("loss")
        if 0 <= np.nanmin(losses) and np.nanmax(losses) <= 1:
            warnings.warn(
                "train returned numbers (n,) in [0, 1] for two classes, which are taken as losses: if they are "
                "probabilities of the second class, return {'probabilities': ...}",
                stacklevel=3,
            )


@contextmanager
def _opened(
    study_dir: Path | str | None,
    storage: str | None,
    described: Description,
    identity: Mapping[str, Any],
    proposals: Proposals,
    allow_version: bool,
) -> Iterator[tuple[Ledger, str, list[Tracker]]]:
    """Open the folder of a study, which says from then on what the study is; without one, keep all in memory.

    Its name is returned too, and what follows the search there.
    """
    if study_dir is None:
        if storage is not None:
            raise InputError(
                "storage must be given together with study_dir, since it holds a copy of the study's ledger, got "
                "no study_dir"
            )
        yield Ledger(None, {}), IN_MEMORY, []
        return
    folder = Path(study_dir)
    searched = [[name, repr(dimension)] for name, dimension in described.space.items()]  # proposals go by their order
    identity = {**identity, "space": searched, "recipe": described.recipe.to_dict()}
    identity |= {name: value for name, value in described.settings.items() if name not in FREE}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    if described.settings["strategy"] == "grid":  # one of another size has other points
        identity["budget"] = described.settings["budget"]
    begun = is_described(folder) and read_json(folder / STUDY)["settings"]
    with (
        closing(OptunaDatabase(folder, proposals, storage)) as database,
        Ledger(folder / LEDGER, identity, allow_version=allow_version) as ledger,
    ):
        _check_extends(described.settings, ledger, folder)
        if not ledger.rows or begun != json.loads(json.dumps(dict(described.settings))):
            write_description(dataclasses.replace(described, identity=ledger.digest), folder)
        yield ledger, f"{folder.resolve().name}-{digest[:8]}", [database]


def _check_extends(settings: Mapping[str, Any], ledger: Ledger, folder: Path) -> None:
    """Check that a ledger holds no more than the limits of a search allow."""
    rows = [row for row in ledger.rows.values() if not row.baseline]
    held = {
        "budget": (len({row.configuration for row in rows}), "configurations"),
        "epochs_budget": (sum(row.num_epochs for row in rows), "epochs"),
    }
    for name, (num, what) in held.items():
        if settings[name] is not None and settings[name] < num:
            raise InputError(
                f"{name} must be at least {num}, the {what} that {str(folder)!r} holds, got {settings[name]}"
            )


def check_recipe(recipe: Recipe | None) -> Recipe:
    """Return the recipe that all configurations share, the default one for None.

    Raises:
        InputError: if it is something else.
    """
    if not isinstance(recipe, Recipe | None):
        raise InputError(f"recipe must be a meden.Recipe or None, got {recipe!r:.80}")
    return recipe or DEFAULT_RECIPE
