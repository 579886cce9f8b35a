"""How much to regularise: the search."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from meden._checks import InputError, check_count
from meden.data import Dataset, Fold, as_dataset, make_folds, splits_hash
from meden.member import Member, ModelMaker
from meden.members import fit_many
from meden.noise import derive
from meden.recipe import Recipe
from meden.run import Run
from meden.search.door import check_reachable
from meden.search.ledger import Key, Ledger, Row
from meden.search.space import Space, check_space, configure
from meden.search.strategies import Proposals, StrategyName
from meden.search.study import Study, Trial, make_trial
from meden.stopping import EarlyStopping

DEFAULT_RECIPE = Recipe(epochs=100, early_stopping=EarlyStopping(patience=10))
"""What a search starts from unless told otherwise: long enough, and stopped by the stop split."""

LEDGER = "ledger.jsonl"


class Progress(NamedTuple):
    """How far a search is."""

    done: int
    """Trainings done."""
    total: int
    """Trainings in all."""
    best_loss: float
    """Lowest mean held-out loss of a finished configuration; infinite before the first."""


def tune(
    make_model: ModelMaker,
    data: Any,
    space: Space,
    *,
    folds: int = 5,
    budget: int = 64,
    seeds: int = 1,
    strategy: StrategyName = "tpe",
    recipe: Recipe | None = None,
    study_dir: Path | str | None = None,
    target: str | None = None,
    task: str | None = None,
    groups: Any = None,
    order: Any = None,
    stop_fraction: float = 0.15,
    seed: int = 0,
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
        space: names to dimensions; a name is a field of :class:`meden.Recipe`, ``l1`` or ``l2`` (strength of a penalty
            on the weights), or an argument of ``make_model``.
        folds: number of folds, 2 or more.
        budget: configurations to try, 1 or more.
        seeds: trainings per configuration and fold, with different starting weights, batches and noise.
        strategy: ``"tpe"``, ``"gp"``, ``"sobol"``, ``"random"`` or ``"grid"``.
        recipe: what all configurations share; None is 100 epochs with early stopping after 10.
        study_dir: folder of the ledger; a search that was cut off goes on from there. None keeps it in memory.
        target: target column, for tables.
        task: ``"classification"`` or ``"regression"``; None tells by the target.
        groups: column or labels (n,) of rows that stay together.
        order: column or values (n,) that order the rows in time: each fold trains on the past.
        stop_fraction: share of a fold's training part in its stop split.
        seed: of splits, proposals, weights, batches and noise.
        on_start: called once all checks are passed, before the first training.
        on_progress: called after each training.

    Returns:
        The study: ``best``, ``one_se``, ``score``, ``table()``, ``refit()``, ``report(path)``.

    Raises:
        InputError: before any compute, if anything does not fit; or if ``study_dir`` holds another study.

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
    check_space(space, make_model)
    proposals = Proposals(space, strategy, budget=budget, seed=derive(seed, "search"))
    dataset = as_dataset(data, target=target, task=task, groups=groups)
    divided = make_folds(dataset, folds, seed=seed, order=order, stop_fraction=stop_fraction)
    models = check_reachable(space, recipe, make_model, dataset, divided)
    ledger = Ledger(None, {})
    if study_dir is not None:
        identity = {
            "data": dataset.content_hash(),
            "splits": splits_hash(divided),
            "models": models,
            "space": {name: repr(dimension) for name, dimension in space.items()},
            "recipe": recipe.to_dict(),
        } | {"strategy": strategy, "budget": budget, "seeds": seeds, "seed": seed}
        ledger = Ledger(Path(study_dir) / LEDGER, identity)
    with ledger:
        if on_start is not None:
            on_start()
        trials = _Search(make_model, dataset, divided, space, recipe, seeds, seed, proposals, ledger, on_progress).run()
    return Study(
        make_model=make_model,
        dataset=dataset,
        space=space,
        recipe=recipe,
        folds=divided,
        seed=seed,
        trials=trials,
    )


def check_recipe(recipe: Recipe | None) -> Recipe:
    """Return the recipe that all configurations share, the default one for None.

    Raises:
        InputError: if it is something else.
    """
    if not isinstance(recipe, Recipe | None):
        raise InputError(f"recipe must be a meden.Recipe or None, got {recipe!r:.80}")
    return recipe or DEFAULT_RECIPE


@dataclasses.dataclass
class _Search:
    """A search at work."""

    make_model: ModelMaker
    dataset: Dataset
    folds: Sequence[Fold]
    space: Space
    recipe: Recipe
    seeds: int
    seed: int
    proposals: Proposals
    ledger: Ledger
    on_progress: Callable[[Progress], None] | None
    trials: list[Trial] = dataclasses.field(default_factory=list)
    done: int = 0
    best_loss: float = math.inf
    told_at: float = dataclasses.field(default_factory=time.perf_counter)

    def run(self) -> list[Trial]:
        """Ask, train what the ledger does not hold, tell; until the budget is spent."""
        while batch := self.proposals.ask():
            first = len(self.trials)
            self._train(dict(enumerate(batch, start=first)))
            for number, params in enumerate(batch, start=first):
                self.trials.append(make_trial(number, params, self._rows(number), self.space))
            self.proposals.tell([trial.loss for trial in self.trials[first:]])
        return self.trials

    def _train(self, batch: Mapping[int, Mapping[str, Any]]) -> None:
        keys = [Key(c, f, s) for c in batch for f in range(len(self.folds)) for s in range(self.seeds)]
        missing = [key for key in keys if key not in self.ledger.rows]
        self.done += len(keys) - len(missing)
        for number in batch:
            self._note(number)
        if not missing:
            return
        members = [self._member(key, batch[key.configuration]) for key in missing]

        def record(number: int, run: Run) -> None:
            key, now = missing[number], time.perf_counter()
            self.ledger.append(_row(key, batch[key.configuration], run, now - self.told_at))
            self.done, self.told_at = self.done + 1, now
            self._note(key.configuration)
            if self.on_progress is not None:
                total = self.proposals.budget * len(self.folds) * self.seeds
                self.on_progress(Progress(self.done, total, self.best_loss))

        fit_many(self.make_model, members, self.dataset, on_run=record)

    def _note(self, configuration: int) -> None:
        """Take a configuration's mean loss into account once all its trainings are done."""
        rows = self._rows(configuration)
        if len(rows) == len(self.folds) * self.seeds:
            loss = float(np.mean([row.losses.mean() for row in rows]))
            self.best_loss = min(self.best_loss, loss if math.isfinite(loss) else math.inf)

    def _rows(self, configuration: int) -> list[Row]:
        keys = (Key(configuration, f, s) for f in range(len(self.folds)) for s in range(self.seeds))
        return [self.ledger.rows[key] for key in keys if key in self.ledger.rows]

    def _member(self, key: Key, params: Mapping[str, Any]) -> Member:
        recipe, model_args = configure(self.recipe, params)
        return Member(recipe, self.folds[key.fold], derive(self.seed, "seed", key.seed), model_args)


def _row(key: Key, params: Mapping[str, Any], run: Run, seconds: float) -> Row:
    assert run.held_out is not None
    return Row(
        **key._asdict(),
        params=dict(params),
        status=run.status,
        reason=run.reason,
        best_epoch=run.best_epoch,
        best_step=run.best_step,
        num_epochs=len(run.history),
        seconds=round(seconds, 4),
        train_loss=run.history.column("train.loss"),
        stop_loss=run.history.column("valid.loss") if run.history[-1].valid else [],
        losses=run.held_out.losses,
        scores=run.held_out.scores,
    )
