"""A time limit divided: between the length of the schedule, the configurations, and the final models.

The first configuration may take a quarter of it. How many more there is time for, the search decides, with what is left
when the final models have theirs.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from meden._checks import InputError, check_count, check_number
from meden._randomness import own_randomness
from meden.data import Dataset, num_batches
from meden.member import ModelMaker
from meden.objective import row_loss
from meden.recipe import Recipe, make_optimizer

RECORDING = 3.0
"""Seconds before the first epoch, whatever its length: a stack's program is recorded and checked."""
FIRST_SHARE = 0.25
"""Share of the rest of a time limit that the first configuration may take."""
FINAL_COST = 1.5
"""Time of the final models, in configurations."""
FEWEST_EPOCHS = 8
"""A schedule shorter than this is no training."""
TRIAL_SECONDS = 0.5
"""Steps are timed for so long: their mean heeds what else the machine does, which the least of them would not."""


def plan_time(
    make_model: ModelMaker, dataset: Dataset, recipe: Recipe, *, time_limit: float, folds: int, most_epochs: int | None
) -> tuple[Recipe, float]:
    """Return the recipe with as many epochs as there is time for, and the seconds that are left to the search.

    Args:
        make_model: of the network.
        dataset: all rows.
        recipe: whose epochs are fitted to the time.
        time_limit: seconds for everything, above 0.
        folds: that a configuration is trained in.
        most_epochs: the most that the recipe may be given; None leaves its epochs as they are.

    Raises:
        InputError: if the time is too short for the first configuration, in ``FEWEST_EPOCHS`` or all its epochs.
    """
    check_number("time_limit", time_limit, low=0.0, low_open=True)
    check_count("folds", folds, low=2)
    started, share = time.perf_counter(), FIRST_SHARE * (time_limit - RECORDING)
    epoch = _epoch_seconds(make_model, dataset, recipe, folds)
    affordable, fewest = int(share / epoch), min(FEWEST_EPOCHS, recipe.last_epoch)
    if most_epochs is not None:
        recipe = recipe.replace(epochs=max(fewest, min(most_epochs, affordable)))
    planning = time.perf_counter() - started
    left = time_limit - FINAL_COST * min(share, recipe.last_epoch * epoch) - planning
    if affordable < fewest or left <= 0:
        needed = planning + RECORDING + fewest * epoch / FIRST_SHARE
        raise InputError(
            f"time_limit must be at least about {needed:.2g} s for {dataset.num_rows} rows and {folds} folds, "
            f"got {time_limit:g} s"
        )
    return recipe, left


def _epoch_seconds(make_model: ModelMaker, dataset: Dataset, recipe: Recipe, folds: int) -> float:
    """Return the time of an epoch of one configuration in all folds, which share the cores."""
    num_steps = num_batches(int(dataset.num_rows * (1 - 1 / folds)), recipe.batch_size)
    threads = torch.get_num_threads()
    one_thread = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,))  # as stacks are trained
    with own_randomness(), one_thread as pool:
        step = pool.submit(_step_seconds, make_model, dataset, recipe).result()
    torch.set_num_threads(threads)
    return step * num_steps * folds / threads


def _step_seconds(make_model: ModelMaker, dataset: Dataset, recipe: Recipe) -> float:
    """Return the mean time of a training step, after a first one."""
    size = dataset.num_rows if recipe.batch_size == "full" else min(dataset.num_rows, recipe.batch_size)
    encoder, rows = dataset.fit_encoder(np.arange(dataset.num_rows)), np.arange(size)
    x, y = dataset.features(encoder, rows), dataset.targets(encoder, rows)
    model = make_model(num_inputs=x.shape[1], num_outputs=dataset.num_outputs)
    optimizer = make_optimizer(recipe, model.parameters())

    def train() -> float:
        optimizer.zero_grad()
        torch.autograd.backward(row_loss(dataset.task, model(x), y).mean())
        optimizer.step()
        return time.perf_counter()

    started, ends = train(), [train()]
    while ends[-1] - started < TRIAL_SECONDS:
        ends.append(train())
    return (ends[-1] - started) / len(ends)
