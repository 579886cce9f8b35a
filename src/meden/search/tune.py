"""How much to regularise: the search."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from meden._checks import InputError, check_count, check_number
from meden.data import Dataset, Fold, as_dataset, make_folds, splits_hash
from meden.member import Member, ModelMaker
from meden.members import fit_many
from meden.noise import derive
from meden.recipe import Recipe
from meden.run import Run
from meden.search.ledger import Key, Ledger, Row
from meden.search.space import Space, check_space, configure
from meden.search.strategies import Proposals, StrategyName
from meden.search.study import Study, Trial, make_trial
from meden.stopping import EarlyStopping

DEFAULT_RECIPE = Recipe(epochs=100, early_stopping=EarlyStopping(patience=10))
"""What a search starts from unless told otherwise: long enough, and stopped by the stop split."""


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
        seeds: trainings per configuration and fold, with different starting weights.
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
    recipe = recipe or DEFAULT_RECIPE
    for name, value in (("budget", budget), ("seeds", seeds)):
        check_count(name, value)
    check_space(space, make_model)
    dataset = as_dataset(data, target=target, task=task, groups=groups)
    divided = make_folds(dataset, folds, seed=seed, order=order, stop_fraction=stop_fraction)
    if stop_fraction == 0 and recipe.early_stopping is not None:
        raise InputError("stop_fraction must be above 0 when the recipe has early_stopping, got 0")
    check_number("stop_fraction", stop_fraction, low=0.0, high=0.5)
    proposals = Proposals(space, strategy, budget=budget, seed=derive(seed, "search"))
    identity = _identity(dataset, divided, space, recipe, strategy, budget, seeds, seed)
    ledger = Ledger(None if study_dir is None else Path(study_dir) / "ledger.jsonl", identity)
    if on_start is not None:
        on_start()
    search = _Search(make_model, dataset, divided, space, recipe, seeds, proposals, ledger, on_progress)
    return Study(
        make_model=make_model,
        dataset=dataset,
        space=space,
        recipe=recipe,
        folds=divided,
        seed=seed,
        trials=search.run(),
    )


@dataclasses.dataclass
class _Search:
    """A search at work."""

    make_model: ModelMaker
    dataset: Dataset
    folds: Sequence[Fold]
    space: Space
    recipe: Recipe
    seeds: int
    proposals: Proposals
    ledger: Ledger
    on_progress: Callable[[Progress], None] | None
    trials: list[Trial] = dataclasses.field(default_factory=list)
    done: int = 0

    def run(self) -> list[Trial]:
        """Ask, train what the ledger does not hold, tell; until the budget is spent."""
        while batch := self.proposals.ask():
            first = len(self.trials)
            self._train(dict(enumerate(batch, start=first)))
            for number, params in enumerate(batch, start=first):
                rows = [row for row in self.ledger.rows.values() if row.configuration == number]
                self.trials.append(make_trial(number, params, rows, self.space))
            self.proposals.tell([trial.loss for trial in self.trials[first:]])
        return self.trials

    def _train(self, batch: Mapping[int, Mapping[str, Any]]) -> None:
        keys = [Key(c, f, s) for c in batch for f in range(len(self.folds)) for s in range(self.seeds)]
        missing = [key for key in keys if key not in self.ledger.rows]
        self.done += len(keys) - len(missing)
        if not missing:
            return
        members = [self._member(key, batch[key.configuration]) for key in missing]

        def record(number: int, run: Run) -> None:
            key = missing[number]
            self.ledger.append(_row(key, batch[key.configuration], run))
            self.done += 1
            if self.on_progress is not None:
                total = self.proposals.budget * len(self.folds) * self.seeds
                best = min((trial.loss for trial in self.trials if trial.status == "ok"), default=float("inf"))
                self.on_progress(Progress(self.done, total, best))

        fit_many(self.make_model, members, self.dataset, on_run=record)

    def _member(self, key: Key, params: Mapping[str, Any]) -> Member:
        recipe, model_args = configure(self.recipe, params)
        return Member(recipe, self.folds[key.fold], key.seed, model_args)


def _row(key: Key, params: Mapping[str, Any], run: Run) -> Row:
    assert run.held_out is not None
    return Row(
        **key._asdict(),
        params=dict(params),
        status=run.status,
        reason=run.reason,
        best_epoch=run.best_epoch,
        best_step=run.best_step,
        num_epochs=len(run.history),
        seconds=run.history[-1].seconds,
        train_loss=run.history.column("train.loss"),
        stop_loss=run.history.column("valid.loss") if run.history[-1].valid else [],
        losses=run.held_out.losses,
        scores=run.held_out.scores,
    )


def _identity(
    dataset: Dataset,
    folds: Sequence[Fold],
    space: Space,
    recipe: Recipe,
    strategy: str,
    budget: int,
    seeds: int,
    seed: int,
) -> dict[str, Any]:
    """Return what a ledger's rows depend on."""
    return {
        "data": dataset.content_hash(),
        "splits": splits_hash(folds),
        "space": {name: repr(dimension) for name, dimension in space.items()},
        "recipe": recipe.to_dict(),
        "strategy": strategy,
        "budget": budget,
        "seeds": seeds,
        "seed": seed,
    }
