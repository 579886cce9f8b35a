"""Losses of all rows under the models of a configuration's folds: those that were kept, or those of a new training.

Legend: ``M`` fits, ``n`` rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError, check_count
from meden.data import Dataset, Fold, make_folds
from meden.diagnosis.memory.memorisation import FIT, SCORE, STOP, RowLosses
from meden.member import Member, ModelMaker
from meden.noise import derive
from meden.study.data_summary import DataSummary
from meden.study.ledger import halved
from meden.study.results import DIVISION, Results, Trial
from meden.training.fit_many import fit_many

Losses = NDArray[np.floating[Any]]
MOST_REPEATS = 100
"""The paper used 128 to 256 shadows; from 64 on little was gained."""


@dataclass(frozen=True, eq=False)
class _Fit:
    """One fit, with the losses of its rows."""

    division: int
    place: int
    """Number of the fold."""
    fold: Fold
    losses: tuple[Losses, Losses, Losses]
    """Of the fitting rows, the stop split and the scored rows."""


def are_kept(results: Results, trial: Trial) -> bool:
    """Say whether the losses of all rows were kept of every fit of a configuration, so that they can be compared."""
    kept = all(row.fit_losses is not None for row in trial.rows)
    enough = any(min(len(fold.fit), len(fold.score)) > 1 for fold in results.folds)
    return trial.status == "ok" and kept and enough and results.data.task != "losses" and not _in_time(results)


def kept_losses(results: Results, trial: Trial) -> RowLosses:
    """Return the losses of a configuration's fits that the ledger holds.

    Raises:
        InputError: if they were not kept, a fit was lost, or folds are ordered in time.
    """
    _check(results, trial)
    if not are_kept(results, trial):
        raise InputError("losses of fitting rows must have been kept (keep_losses=True, --keep-losses), got none")
    return _together(results.data, _kept(results, trial))


def trained_losses(
    results: Results, trial: Trial, make_model: ModelMaker, dataset: Dataset, repeats: int = 1
) -> RowLosses:
    """Return the losses of a configuration's fits in one division of the rows or more; train those that are not kept.

    Args:
        results: that it is of.
        trial: the configuration.
        make_model: makes its model.
        dataset: the rows.
        repeats: divisions of the rows. The first is the study's, whose fits have the seeds that they had.

    Raises:
        InputError: if a fit is lost, or the rows cannot be divided anew.
    """
    _check(results, trial)
    check_count("repeats", repeats, high=MOST_REPEATS)
    fits = _kept(results, trial) if are_kept(results, trial) else []
    divided = results.notes.get(DIVISION, {})
    if repeats > 1 and not divided:
        raise InputError(f"repeats must be 1 for folds that were given and cannot be drawn again, got {repeats}")
    divisions = [results.folds if not fits else []]
    divisions += [
        make_folds(dataset, **divided, seed=derive(results.seed, "division", number)) for number in range(1, repeats)
    ]
    seeds = sorted({row.seed for row in trial.rows})
    recipe, model_args = results.recipe_of(trial)
    places = [
        (division, place, fold, seed)
        for division, folds in enumerate(divisions)
        for place, fold in enumerate(folds)
        for seed in seeds
    ]
    members = [
        Member(recipe, fold, derive(results.seed, "seed", seed), model_args, keep_losses=True)
        for *_, fold, seed in places
    ]
    runs = fit_many(make_model, members, dataset) if members else []
    for (division, place, fold, _), run in zip(places, runs, strict=True):
        if run.seen is None or run.held_out is None:
            raise InputError(
                f"configuration must be one with a result, got {trial.number}, one of whose fits {run.reason}"
            )
        fits.append(_Fit(division, place, fold, (*run.seen, run.held_out.losses)))
    return _together(results.data, fits)


def _check(results: Results, trial: Trial) -> None:
    if trial.status != "ok":
        raise InputError(f"configuration must be one with a result, got {trial.number}, which {trial.outcome}")
    check_told(results)


def check_told(results: Results) -> None:
    """Check that losses of a study's rows can tell which were fitted.

    Raises:
        InputError: of a training function, or if folds are ordered in time.
    """
    if results.data.task == "losses":
        raise InputError(
            "a training function returns only the losses of scored rows, which is not enough to tell them from "
            "other rows"
        )
    if _in_time(results):
        raise InputError("folds must divide the rows at random: folds ordered in time can tell old rows from new ones")


def _in_time(results: Results) -> bool:
    return results.notes.get(DIVISION, {}).get("order") is not None


def _kept(results: Results, trial: Trial) -> list[_Fit]:
    found = []
    for row in trial.rows:
        assert row.fit_losses is not None and row.stop_losses is not None
        losses = row.fit_losses, row.stop_losses, row.losses
        found.append(_Fit(0, row.fold, results.folds[row.fold], losses))
    return found


def _together(data: DataSummary, fits: Sequence[_Fit]) -> RowLosses:
    """Return losses in half precision, all of them: those of one part alone would be told from others by it."""
    losses = np.full((len(fits), data.num_rows), np.nan, np.float32)
    parts = np.zeros(losses.shape, np.uint8)
    weights = np.ones(data.num_rows) if data.weights is None else data.weights
    for fit, own, part in zip(fits, losses, parts, strict=True):
        for kind, rows, values in zip(
            (FIT, STOP, SCORE), (fit.fold.fit, fit.fold.stop, fit.fold.score), fit.losses, strict=True
        ):
            with np.errstate(divide="ignore", invalid="ignore"):
                own[rows] = halved(values) / weights[rows]
            part[rows] = kind
    single = bool(data.classes) and data.labels.ndim == 1
    return RowLosses(
        losses=losses,
        parts=parts,
        folds=np.array([(fit.division, fit.place) for fit in fits]),
        classified=data.task == "classification",
        labels=data.labels if single else None,
        classes=data.classes if single else (),
        clusters=data.groups,
    )
