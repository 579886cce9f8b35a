"""Losses of all rows under the models of a configuration's folds: those that were kept, or those of a new training.

Legend: ``M`` fits, ``n`` rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from meden._checks import InputError, check_count
from meden.data import Dataset, Fold
from meden.diagnosis.memorisation import FIT, SCORE, STOP, RowLosses
from meden.member import Member, ModelMaker
from meden.noise import derive
from meden.progress import LOST
from meden.study.data_summary import DataSummary
from meden.study.ledger import halved
from meden.study.results import Results, Trial
from meden.training.fit_many import fit_many

Losses = NDArray[np.floating]
Parts = tuple[Fold, Losses, Losses, Losses]
"""A fold, and losses of its fitting rows, its stop split and its scored rows."""


def are_kept(trial: Trial) -> bool:
    """Say whether the losses of all rows were kept, of every fit of a configuration that was not lost."""
    return trial.status == "ok" and all(row.fit_losses is not None for row in trial.rows)


def kept_losses(results: Results, trial: Trial) -> RowLosses:
    """Return the losses of a configuration's fits that the ledger holds.

    Raises:
        InputError: if they were not kept, or a fit was lost.
    """
    if trial.status != "ok":
        raise InputError(f"configuration must be one with a result, got {trial.number}, which {trial.outcome}")
    if not are_kept(trial):
        raise InputError(
            "losses of fitting rows must have been kept: search with keep_losses=True (meden tune --keep-losses), or "
            "train the configuration again (study.memorisation(), meden diagnose --memorisation)"
        )
    found: list[Parts] = []
    for row in trial.rows:
        assert row.fit_losses is not None and row.stop_losses is not None
        found.append((results.folds[row.fold], row.fit_losses, row.stop_losses, row.losses))
    return _together(results.data, found)


def trained_losses(
    results: Results, trial: Trial, make_model: ModelMaker, dataset: Dataset, seeds: int | None = None
) -> RowLosses:
    """Train a configuration's fits again, with the seeds that they had, and return the losses of all rows.

    Args:
        results: that it is of.
        trial: the configuration.
        make_model: makes its model.
        dataset: the rows.
        seeds: fits in each fold; None is as many as before, and more of them begin with those.

    Raises:
        InputError: if ``seeds`` is less than 1, or if a fit diverges.
    """
    num = len({row.seed for row in trial.rows}) if seeds is None else seeds
    check_count("seeds", num)
    recipe, model_args = results.recipe_of(trial)
    members = [
        Member(recipe, fold, derive(results.seed, "seed", number), model_args, keep_losses=True)
        for fold in results.folds
        for number in range(num)
    ]
    found: list[Parts] = []
    for member, run in zip(members, fit_many(make_model, members, dataset), strict=True):
        if run.status in LOST or run.seen is None or run.held_out is None:
            raise InputError(f"configuration must be one with a result, got {trial.number}, which {run.reason}")
        assert member.fold is not None
        found.append((member.fold, *run.seen, run.held_out.losses))
    return _together(results.data, found)


def _together(data: DataSummary, fits: Iterable[Parts]) -> RowLosses:
    """Return losses in half precision, all of them: those of one part alone would be told from others by it."""
    losses, parts = [], []
    weights = np.ones(data.num_rows) if data.weights is None else data.weights
    for fold, *own in fits:
        losses.append(np.full(data.num_rows, np.nan, np.float32))
        parts.append(np.zeros(data.num_rows, np.uint8))
        for part, rows, values in zip((FIT, STOP, SCORE), (fold.fit, fold.stop, fold.score), own, strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                losses[-1][rows] = halved(values) / weights[rows]
            parts[-1][rows] = part
    single = data.classes and data.labels.ndim == 1
    return RowLosses(
        losses=np.stack(losses),
        parts=np.stack(parts),
        classified=data.task == "classification",
        labels=data.labels if single else None,
        classes=data.classes if single else (),
        clusters=data.groups,
    )
