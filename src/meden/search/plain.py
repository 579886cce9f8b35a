"""The network of the choice without regularisation, which a search is compared with.

It is trained on the folds of the search, after it; its rows go to the ledger beside those of the configurations.
"""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from meden.data import Dataset, Fold
from meden.deadline import UNHURRIED, Pace, TimeIsUp
from meden.member import Member, ModelMaker
from meden.noise import derive
from meden.progress import LOST
from meden.recipe import Recipe
from meden.search.engine import make_row
from meden.space.names import OFF, REGULARISING, configure
from meden.stopping import EarlyStopping
from meden.study.ledger import Key, Ledger, Row
from meden.study.results import Trial
from meden.workers.coordinator import Result
from meden.workers.fitter import Networks
from meden.workers.workers import Workers, train

ENOUGH = 0.9
"""Of the time that the choice took, for the plain network to be trained."""


def fit_plain(
    make_model: ModelMaker,
    dataset: Dataset,
    folds: Sequence[Fold],
    ledger: Ledger,
    workers: Workers,
    *,
    recipe: Recipe,
    choice: Trial,
    seeds: int,
    seed: int,
    pace: Pace = UNHURRIED,
) -> None:
    """Train the network of a configuration without regularisation, and for as long, unless the ledger holds it.

    Where the folds have stop splits, the same training gives a second baseline, by the state that early stopping would
    have kept; the first is the state at the end.

    Args:
        make_model: see :func:`meden.tune`, as for the rest.
        dataset: the rows.
        folds: that the configuration was trained in.
        ledger: of the study.
        workers: who train.
        recipe: what all configurations share.
        choice: the configuration; all of it that does not regularise stays as it is there.
        seeds: runs in each fold.
        seed: of the study.
        pace: how long it may take; with much less than the configuration's time it is left out, with a warning.
    """
    kept = {name: value for name, value in choice.params.items() if name not in REGULARISING}
    plain, model_args = configure(recipe, kept)
    epochs = min(plain.last_epoch, choice.longest_schedule or plain.last_epoch)
    plain = plain.replace(**OFF).shortened(epochs).replace(stop_after=max(row.num_epochs for row in choice.rows))
    stops = all(len(fold.stop) for fold in folds)
    if stops:  # never ends early: both states are wanted
        plain = plain.replace(early_stopping=EarlyStopping(patience=plain.epochs))
    keys = [Key(0, fold, number, "plain") for fold in range(len(folds)) for number in range(seeds)]
    if all(_is_of(ledger.rows.get(key), kept, plain.last_epoch) for key in keys):
        return
    if pace.deadline.seconds_left() < ENOUGH * math.fsum(row.seconds for row in choice.rows):
        warnings.warn("there was no time for the baseline plain", stacklevel=3)
        return
    members = [Member(plain, folds[key.fold], derive(seed, "seed", key.seed), model_args, newest=stops) for key in keys]
    last = time.perf_counter()

    def ended(number: int, result: Result) -> None:
        nonlocal last
        at = time.perf_counter()
        key, seconds, last = keys[number], at - last, at
        row = make_row(key, kept, result, folds[key.fold], seconds)
        if result.newest is not None:
            stopped = dataclasses.replace(row, baseline="plain_stopped", seconds=0.0)
            ledger.append(stopped)
            newest = {name: getattr(result.newest, name) for name in ("losses", "scores", "outputs")}
            end = result.history[-1]
            row = dataclasses.replace(row, best_epoch=end.epoch, best_step=end.step, **newest)
        ledger.append(row)

    networks = Networks(make_model, dataset)
    with suppress(TimeIsUp):
        train(workers, networks, members, networks.plan(members), on_end=ended, pace=pace)


def _is_of(row: Row | None, kept: Mapping[str, Any], epochs: int) -> bool:
    """Return whether a row is of the plain network of a choice; else all are trained again, as a stack rounds alike."""
    return row is not None and row.params == kept and (row.num_epochs == epochs or row.status in LOST)
