"""The search that the scikit-learn estimators run: network, space and time plan of a table, and the final models.

Legend: ``n`` rows, ``C`` classes, ``T`` answers of a row, ``M`` numbers to predict.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from meden import search
from meden._checks import InputError
from meden.augment import LabelSmoothing
from meden.data import Dataset, Fold, num_batches
from meden.data.tables import Table, is_numeric, named_columns, read_columns
from meden.data.targets import ClassCodec, Target
from meden.member import Member, ModelMaker
from meden.models import TabularNet
from meden.noise import derive
from meden.objective import EVAL_ROWS, evaluating, on_device, row_loss
from meden.optim import Regularizer, Schedule
from meden.penalties import L2
from meden.recipe import Recipe, make_optimizer
from meden.run import Run
from meden.search.budget import TimeTooShort
from meden.space import Choice, LogUniform, Uniform
from meden.space.dimensions import Dimension
from meden.space.names import Space
from meden.stopping import EarlyStopping
from meden.study import Study, Trial
from meden.training.fit_many import fit_many

Array = NDArray[Any]

RECIPE = Recipe(
    optimizer="adam",
    lr=0.04,
    betas=(0.9, 0.95),
    batch_size=256,
    schedule=Schedule(kind="cosine"),
    eval_rows=256,
    regularizers=(Regularizer(L2(0.02), coupling="decoupled"),),
)
"""What the networks of all tables share; labels are smoothed too where there are classes."""
SMOOTHING = 0.1
"""Share of a label that all classes get alike."""
EPOCHS, MOST_EPOCHS = 128, 256
"""Length of the schedule, and what it grows to where a time limit leaves room. Networks are trained to its end, and
kept at their best epoch."""
MOST_EMBEDDED = 100
"""Tables with more numbers are wide enough without embeddings, which would take most of the time."""
SPACE: dict[str, Dimension] = {
    "lr": LogUniform(0.015, 0.12),
    "dropout": Uniform(0.0, 0.5),
    "frequency": Choice(0.1, 0.3, 1.0),
}
"""What is searched around it."""
USUAL = {"lr": 0.04, "dropout": 0.15, "frequency": 0.3}
"""The configuration that is tried before all others."""

FIRST_SHARE = 0.25
"""Share of a time limit that the first configuration may take."""
SAFE = 0.8
"""Share of the time left that another configuration may be expected to take."""
FINAL_COST = 1.5
"""Time of the final models, in configurations."""
FEWEST_EPOCHS = 8
"""A schedule shorter than this is no training."""
TRIAL_STEPS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How to search."""

    budget: int
    """Configurations."""
    time_limit: float | None
    """Seconds for everything; None is no limit."""
    folds: int
    space: Space | None
    """None is the default space around the default configuration."""
    recipe: Recipe | None
    """What all configurations share; None is the default one."""
    seed: int


def read_rows(frame: pd.DataFrame) -> Table:
    """Return the columns of a table that hold a value, to be scaled robustly.

    Raises:
        InputError: if no column does, or one cannot be read.
    """
    frame = named_columns(frame)
    holding = frame.columns[frame.notna().any()]
    if len(holding) == 0:
        raise InputError("X must have a column with values, got none")
    return dataclasses.replace(read_columns(frame[holding]), robust=True)


def answers(labels: Array, *, num_classes: int | None) -> Target:
    """Return class positions int64 (n,) or (n, T), or for None classes numbers float64 (n,) or (n, M), as a target."""
    if num_classes is None:
        return Target("y", "regression", (), labels.astype(np.float64))
    return Target("y", "classification", tuple(range(num_classes)), labels.astype(np.int64))


def network(dataset: Dataset) -> ModelMaker:
    """Return what makes the default network of a table."""
    assert isinstance(dataset.inputs, Table)
    num_numbers = sum(is_numeric(kind) for kind in dataset.inputs.kinds.values())
    num_numbers = num_numbers if num_numbers <= MOST_EMBEDDED else 0
    several = dataset.task == "classification" and dataset.labels.ndim == 2
    num_targets = dataset.labels.shape[1] if several else None
    return functools.partial(TabularNet, num_numbers=num_numbers, num_targets=num_targets)


def find(dataset: Dataset, options: Options) -> Study:
    """Search; with the default space the usual configuration comes first, and tells how many more there is time for.

    Raises:
        InputError: before any compute if something does not fit, or if the time is too short for one configuration.
    """
    started = time.perf_counter()
    make_model = network(dataset)
    recipe = options.recipe or _recipe(dataset, _num_epochs(make_model, dataset, options))
    tune = functools.partial(
        search.tune, make_model, dataset, folds=options.folds, recipe=recipe, seed=options.seed, strategy="sobol"
    )
    if options.space is not None:
        return tune(space=options.space, budget=options.budget, time_limit=options.time_limit)
    first = tune(space={name: Choice(value) for name, value in USUAL.items()}, budget=1)
    took = time.perf_counter() - started
    left = None if options.time_limit is None else options.time_limit - (1 + FINAL_COST) * took
    if options.budget == 1 or (left is not None and left < took / SAFE):
        return first
    try:
        study = tune(space=SPACE, budget=options.budget - 1, time_limit=left)
    except TimeTooShort:  # one more took longer than the first
        return first
    return dataclasses.replace(study, trials=_joined(first.trials, study.trials))


def final_models(study: Study, refit: str) -> list[Run]:
    """Train what predicts with the best configuration.

    Args:
        study: that found it.
        refit: ``"folds"`` (a model for each fold, trained on all its training rows and stopped by its scored rows;
            their answers are averaged), or ``"all"`` (one model on all rows, for the median epoch of the folds).

    Raises:
        InputError: if every training diverged.
    """
    if refit == "all":
        runs = [study.refit("best")]
    else:
        recipe, model_args = study.recipe_of(study.best)
        folds = [_whole(fold) for fold in study.folds]
        members = [Member(recipe, fold, derive(study.seed, "final"), model_args) for fold in folds]
        make_model, dataset = study.trainable()
        runs = fit_many(make_model, members, dataset)
    sound = [run for run in runs if run.status != "diverged"]
    if not sound:
        raise InputError(f"every final model {runs[0].status}: {runs[0].reason}; try lower learning rates")
    for run in sound:
        run.model.double()  # what a row gets then does not depend on the rows beside it, to nine digits
    return sound


@torch.no_grad()
def predicted(runs: Sequence[Run], frame: pd.DataFrame) -> Array:
    """Return the mean answer of models: probabilities (n, C) or (n, T, C), or numbers (n,) or (n, M)."""
    total: Any = 0.0
    for run in runs:
        assert run.encoder is not None
        x = run.encoder.transform_frame(frame)
        with evaluating(run.model):
            outputs = torch.cat([run.model(on_device(part, run.model)) for part in torch.split(x, EVAL_ROWS)])
        classified = isinstance(run.encoder.target, ClassCodec)
        total = total + (outputs.softmax(-1).numpy() if classified else run.encoder.decode(outputs).values)
    return np.asarray(total / len(runs))


def _recipe(dataset: Dataset, epochs: int) -> Recipe:
    augment = (LabelSmoothing(SMOOTHING),) if dataset.task == "classification" else ()
    return RECIPE.replace(epochs=epochs, early_stopping=EarlyStopping(patience=epochs), augment=augment)


def _num_epochs(make_model: ModelMaker, dataset: Dataset, options: Options) -> int:
    """Return the length of the schedule: what one configuration may take of a time limit."""
    if options.time_limit is None:
        return EPOCHS
    num_steps = num_batches(int(dataset.num_rows * (1 - 1 / options.folds)), RECIPE.batch_size)
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:  # as stacks are trained
        step = pool.submit(_step_seconds, make_model, dataset).result()
    torch.set_num_threads(threads)
    epoch = step * num_steps * options.folds / threads
    affordable = int(FIRST_SHARE * options.time_limit / epoch)
    if affordable < FEWEST_EPOCHS:
        needed = FEWEST_EPOCHS * epoch / FIRST_SHARE
        raise InputError(
            f"time_limit must be at least about {needed:.2g} s for {dataset.num_rows} rows and {options.folds} folds, "
            f"got {options.time_limit:g} s"
        )
    return min(MOST_EPOCHS, affordable)


def _step_seconds(make_model: ModelMaker, dataset: Dataset) -> float:
    """Return the time of a training step of the usual network, the least of a few."""
    rows = np.arange(min(dataset.num_rows, int(RECIPE.batch_size)))
    encoder = dataset.fit_encoder(rows)
    x, y = dataset.features(encoder, rows), dataset.targets(encoder, rows)
    model = make_model(num_inputs=x.shape[1], num_outputs=dataset.num_outputs)
    optimizer = make_optimizer(RECIPE, model.parameters())
    seconds = []
    for _ in range(TRIAL_STEPS):
        started = time.perf_counter()
        optimizer.zero_grad()
        torch.autograd.backward(row_loss(dataset.task, model(x), y).mean())
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _joined(first: Sequence[Trial], others: Sequence[Trial]) -> list[Trial]:
    return [
        *first,
        *(dataclasses.replace(trial, number=number) for number, trial in enumerate(others, start=len(first))),
    ]


def _whole(fold: Fold) -> Fold:
    """Return a fold whose stop split is trained on, and whose scored rows stop."""
    return Fold(np.sort(np.concatenate([fold.fit, fold.stop])), fold.score, fold.score)
