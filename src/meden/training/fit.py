"""Fit one model: all checks, then the loop of :class:`meden.training.one.Training`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meden._checks import InputError, check_count
from meden.data.targets import Task
from meden.distributed import Sharding, joined, num_processes
from meden.history import Record
from meden.objective import check_fits, task_of
from meden.rdrop import warn_of_quiet
from meden.recipe import Recipe, prepare_noise
from meden.run import Run
from meden.trainable import check_plain, check_trains
from meden.training.one import Training
from meden.training.reading import as_source, first_rows
from meden.training.sharded import Sharded


def fit(
    model: nn.Module,
    train: Any,
    valid: Any = None,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    task: Task | None = None,
    checkpoint: Path | str | None = None,
    on_epoch: Callable[[Record], None] | None = None,
    sharding: Sharding | None = None,
) -> Run:
    """Train a model by a recipe; the model is trained in place.

    In a program that was started on several processes (``torchrun --nproc-per-node 4 program.py``, or Slurm's
    ``srun``), all of them train one model, and each gets the run: the same recipe gives the same model on any number
    of processes, up to rounding. All must bring the same rows; rank 0's weights are those that training starts from.

    Args:
        model: takes a batch of ``x``, returns logits or predictions; its present weights are the start.
        train: the fitting rows: ``(x, y)``, arrays or tensors of equal length; or a map-style
            ``torch.utils.data.Dataset`` of items (x, y), which are read as they are needed; or a source of
            :mod:`meden.data`, such as ``DatasetSource(dataset, num_workers=2)`` or ``TextFile(path, context=256)``.
            Whole-number ``y`` are classes. The same rows in the same order give the same run, wherever they come from.
        valid: held-out rows in any of these forms, which decide when to stop if the recipe stops early.
        recipe: how to train; None is ``Recipe()``.
        seed: of the batch order and of all noise, zero or more.
        task: ``"classification"`` or ``"regression"``; None infers it from the type of ``y``.
        checkpoint: a file that is written after each epoch; if it is there, training goes on from it, and the result
            equals that of an uninterrupted run. It must come from the same recipe, seed, task and rows. Rows of tensors
            are compared whole; rows that are read as needed by their number and eight of them. On several processes,
            or with ``sharding``, it is a folder of checkpoints, which any number of processes can go on from; SIGTERM
            then saves one and ends the program with status 0.
        on_epoch: called with each epoch's record, for progress bars; on every process.
        sharding: how the training is spread over processes; None is ``Sharding()`` where there are several.

    Returns:
        The run: model at its best state, history, and how it ended. A run that diverged is returned, not raised.

    Raises:
        InputError: before any compute, if data, model and recipe do not fit together.

    Example:
        >>> import torch, meden
        >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        >>> recipe = meden.Recipe(optimizer="sgd", lr=0.1, epochs=3)
        >>> run = meden.fit(torch.nn.Linear(3, 2), train=(x, (x[:, 0] > 0).long()), recipe=recipe)
        >>> len(run.history), run.status
        (3, 'completed')
    """
    given: dict[str, Any] = {"seed": seed, "task": task, "checkpoint": checkpoint, "on_epoch": on_epoch}
    if sharding is None and num_processes() == 1:
        return prepare(model, train, valid, recipe, **given).run()
    check_plain(model)
    with joined(device_of(model)) as world:
        make = functools.partial(Sharded, world=world, sharding=sharding or Sharding())
        return prepare(model, train, valid, recipe, make=make, **given).run()


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's parameters are."""
    return next((param.device for param in model.parameters()), torch.device("cpu"))


def prepare(
    model: nn.Module,
    train: Any,
    valid: Any = None,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    task: Task | None = None,
    checkpoint: Path | str | None = None,
    on_epoch: Callable[[Record], None] | None = None,
    on_newest: Callable[[nn.Module], None] | None = None,
    columns: Sequence[str] | None = None,
    make: Callable[..., Training] = Training,
) -> Training:
    """Return the training that :func:`fit` would run, before its first epoch; the arguments are those of ``fit``.

    ``on_newest`` is called with the model in its newest state, before the one to keep is put in; ``make`` makes the
    training of what was checked. ``columns`` names the column behind each input of a row, where groups are of inputs.

    Raises:
        InputError: if data, model and recipe do not fit together.
    """
    recipe = recipe or Recipe()
    check_count("seed", seed, low=0)
    check_plain(model)
    given = {"train": train} | ({} if valid is None else {"valid": valid})
    sources = {name: as_source(name, rows, model) for name, rows in given.items()}
    pairs = {name: first_rows(source, model) for name, source in sources.items()}
    task = task or task_of(pairs["train"][1])
    check_fits(model, task, pairs)
    check_trains(model, pairs["train"][0], recipe.batch_size, num_rows=len(sources["train"]))
    check_recipe(model, recipe, has_valid=valid is not None)
    check_augmentations(recipe, pairs["train"][0], task)
    prepare_noise(model, recipe, seed)
    warn_of_quiet(model, recipe.rdrop, pairs["train"][0])
    path = None if checkpoint is None else Path(checkpoint)
    callbacks = on_epoch, on_newest
    return make(model, sources["train"], sources.get("valid"), recipe, seed, task, path, *callbacks, columns)


def check_recipe(model: nn.Module, recipe: Recipe, *, has_valid: bool) -> None:
    """Check that a recipe can train a model.

    Raises:
        InputError: if nothing is trainable, or held-out rows are needed and there are none.
    """
    if not any(p.requires_grad for p in model.parameters()):
        raise InputError("model must have a parameter to train, got none that requires a gradient")
    if not has_valid and recipe.early_stopping is not None:
        raise InputError("valid must be given when the recipe has early_stopping, got None")
    if not has_valid and recipe.schedule.kind == "plateau":
        raise InputError("valid must be given when the recipe's schedule is 'plateau', got None")


def check_augmentations(recipe: Recipe, x: Tensor, task: Task) -> None:
    """Check that rows like ``x`` can be augmented as a recipe says.

    Raises:
        InputError: naming what they must be, and what they are.
    """
    for augmentation in recipe.augment:
        augmentation.check(x, task)
