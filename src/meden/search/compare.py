"""Which regulariser helps, and by how much: alternatives trained on the same folds and seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from meden._checks import InputError
from meden.data import Fold, as_dataset, splits_hash
from meden.member import ModelMaker
from meden.objective import SCORE_NAMES
from meden.recipe import Recipe
from meden.search.checks import check_models, check_stopping
from meden.search.engine import Progress, Search, members_of, open_ledger
from meden.search.fixed import Fixed
from meden.search.settings import CV, CompareFields, check_fields, settled
from meden.search.tune import check_recipe
from meden.space.names import check_names, configure
from meden.study.selection import standard_error
from meden.study.study import Trial
from meden.workers.workers import Workers

Array = NDArray[np.float64]
CONFIDENCE = 0.95


class Difference(NamedTuple):
    """A mean of paired differences."""

    mean: float
    error: float
    """Standard error, corrected for what the training parts of the folds share."""
    low: float
    high: float
    """Ends of the 95 % interval."""


@dataclass(frozen=True)
class Alternative:
    """One way to train, and its results; arrays are (F,), one number for each fold, averaged over seeds."""

    name: str
    recipe: Recipe
    model_args: Mapping[str, Any]
    losses: Array
    """Mean data loss of the held-out rows; NaN where a run diverged."""
    scores: Array
    """Mean accuracy, or mean squared error in the units of the target, of the held-out rows."""
    train_losses: Array
    """Mean data loss of the fitting rows."""
    status: str
    """``"ok"``, or why it has no result."""


@dataclass(frozen=True)
class Comparison:
    """The outcome of :func:`compare`; printing it gives a table."""

    metric: str
    alternatives: tuple[Alternative, ...]
    """The first is what the others are compared with."""
    num_seeds: int
    overlap: float
    """Scored rows for each row that trains, on average over the folds."""

    def difference(self, name: str, of: str = "loss") -> Difference:
        """Return how far an alternative is from the first one, in the same folds.

        Args:
            name: of the alternative.
            of: ``"loss"`` or the metric.

        Raises:
            InputError: if there is no such alternative or quantity.

        Reference:
            C. Nadeau and Y. Bengio, Inference for the generalization error, 2003 (the corrected variance).
        """
        named = {alternative.name: alternative for alternative in self.alternatives}
        if name not in named or of not in ("loss", self.metric):
            raise InputError(
                f"name must be one of {', '.join(named)} and of one of loss, {self.metric}, got {name!r} and {of!r}"
            )
        column = "losses" if of == "loss" else "scores"
        return paired_difference(getattr(named[name], column) - getattr(self.alternatives[0], column), self.overlap)

    def table(self) -> pd.DataFrame:
        """Return one row per alternative: held-out loss and metric with standard errors, differences with intervals."""
        return pd.DataFrame([self._row(alternative) for alternative in self.alternatives])

    def _row(self, alternative: Alternative) -> dict[str, Any]:
        row: dict[str, Any] = {"name": alternative.name, "train_loss": float(alternative.train_losses.mean())}
        for name, values in (("loss", alternative.losses), (self.metric, alternative.scores)):
            found = self.difference(alternative.name, name)
            row |= {name: float(values.mean()), f"{name}_error": standard_error(values)}
            row |= {f"{name}_{part}": value for part, value in zip(_PARTS, found, strict=True)}
        return row | {"status": alternative.status}

    def __str__(self) -> str:
        blocks = [self._block("loss", "losses", "train_losses"), self._block(self.metric, "scores", None)]
        num_folds, first = len(self.alternatives[0].losses), self.alternatives[0].name
        told = f"{num_folds} folds, {self.num_seeds} seed{'s' * (self.num_seeds > 1)}; ± one standard error; "
        told += f"differences from {first!r} are paired, with 95 % intervals"
        diverged = [f"{a.name} {a.status}" for a in self.alternatives if a.status != "ok"]
        return "\n".join([*blocks, told, *diverged])

    def _block(self, of: str, column: str, train: str | None) -> str:
        """Return the lines of one quantity: training rows, held-out rows, the difference from the first."""
        lines = [(of, "train" if train else "", "held-out", "difference")]
        for alternative in self.alternatives:
            values: Array = getattr(alternative, column)
            trained = _told(getattr(alternative, train).mean()) if train else ""
            is_first = alternative is self.alternatives[0]
            difference = "" if is_first else _told_difference(self.difference(alternative.name, of))
            lines.append((alternative.name, trained, _told(values.mean(), standard_error(values)), difference))
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        padded = (zip(line, widths, strict=True) for line in lines)
        return (
            "\n".join("  ".join(cell.ljust(width) for cell, width in line if width).rstrip() for line in padded) + "\n"
        )


_PARTS = ("difference", "difference_error", "difference_low", "difference_high")


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
    on_start: Callable[[], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
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
        task: ``"classification"`` or ``"regression"``; None tells by the target.
        seed: of splits, weights, batches and noise.
        on_start: called once all checks are passed, before the first training.
        on_progress: called after each training.
        **fields: of ``cv`` and ``workers``, by themselves.

    Returns:
        The comparison: ``table()``, ``difference(name)``, and a printed table.

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
    cv, workers = settled(CV, cv, fields), settled(Workers, workers, fields)
    settings = _settings(make_model, alternatives, check_recipe(recipe))
    dataset = as_dataset(data, target=target, task=task, groups=cv.groups)
    folds = cv.divide(dataset, seed)
    for reached, _ in settings.values():
        check_stopping(reached, folds)
    models = check_models(make_model, settings.values(), dataset, folds)
    workers.reach()

    def identity() -> dict[str, Any]:
        given = {"data": dataset.content_hash(), "splits": splits_hash(folds), "models": models}
        return given | {"alternatives": _plain(settings), "seeds": cv.seeds, "seed": seed}

    with open_ledger(study_dir, identity) as ledger:
        if on_start is not None:
            on_start()
        trials = Search(
            make_model=make_model,
            dataset=dataset,
            folds=folds,
            seeds=cv.seeds,
            member=members_of(lambda params: settings[params["alternative"]], folds, seed),
            proposals=Fixed([{"alternative": name} for name in settings]),
            ledger=ledger,
            workers=workers,
            on_progress=on_progress,
        ).run()
    found = [_alternative(name, *settings[name], trial, cv.seeds) for name, trial in zip(settings, trials, strict=True)]
    return Comparison(SCORE_NAMES[dataset.task], tuple(found), cv.seeds, overlap(folds))


def paired_difference(differences: Array, overlap: float, confidence: float = CONFIDENCE) -> Difference:
    """Return mean, corrected standard error and interval of differences in the folds of a cross-validation.

    Args:
        differences: (F,), two or more.
        overlap: scored rows for each row that trains. Folds share training rows, so that their differences are not
            independent; the variance of the mean is s^2 (1/F + overlap) and not s^2 / F.
        confidence: coverage of the interval, in (0, 1).

    Example:
        >>> found = paired_difference(np.array([1.0, 2.0, 3.0]), overlap=0.5)
        >>> round(found.mean, 3), round(found.error, 3)
        (2.0, 0.913)
    """
    num_folds = len(differences)
    mean = float(differences.mean())
    error = float(differences.std(ddof=1) * math.sqrt(1 / num_folds + overlap))
    half = error * float(stats.t.ppf((1 + confidence) / 2, num_folds - 1))
    return Difference(mean, error, mean - half, mean + half)


def _settings(make_model: ModelMaker, alternatives: Any, recipe: Recipe) -> dict[str, tuple[Recipe, dict[str, Any]]]:
    if not isinstance(alternatives, Mapping) or len(alternatives) < 2:
        raise InputError(f"alternatives must name two or more ways to train, got {alternatives!r:.80}")
    return {str(name): _setting(str(name), given, make_model, recipe) for name, given in alternatives.items()}


def _setting(name: str, given: Any, make_model: ModelMaker, recipe: Recipe) -> tuple[Recipe, dict[str, Any]]:
    if isinstance(given, Recipe):
        return given, {}
    if not isinstance(given, Mapping | None):
        raise InputError(f"alternative {name!r} must be a meden.Recipe or a dict of what it changes, got {given!r}")
    try:
        check_names(given or {}, make_model)
        return configure(recipe, given or {})
    except InputError as error:
        raise InputError(f"alternative {name!r}: {error}") from None


def _plain(settings: Mapping[str, tuple[Recipe, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return what a ledger says of alternatives."""
    return {name: [recipe.to_dict(), repr(dict(model_args))] for name, (recipe, model_args) in settings.items()}


def _alternative(name: str, recipe: Recipe, model_args: Mapping[str, Any], trial: Trial, seeds: int) -> Alternative:
    kept = np.array([dict(enumerate(row.train_loss, start=1)).get(row.best_epoch, math.nan) for row in trial.rows])
    losses, scores, train = (v.reshape(-1, seeds).mean(axis=1) for v in (trial.fold_losses, trial.fold_scores, kept))
    return Alternative(name, recipe, model_args, losses, scores, train, trial.status)


def overlap(folds: Sequence[Fold]) -> float:
    """Return the scored rows for each row that trains, on average over the folds."""
    return float(np.mean([len(fold.score) / (len(fold.fit) + len(fold.stop)) for fold in folds]))


def _told(mean: float, error: float | None = None) -> str:
    if not math.isfinite(mean):
        return "-"
    return f"{mean:.4g}" if error is None else f"{mean:.4g} ± {error:.2g}"


def _told_difference(found: Difference) -> str:
    return f"{found.mean:+.3g} [{found.low:+.3g}, {found.high:+.3g}]" if math.isfinite(found.mean) else "-"
