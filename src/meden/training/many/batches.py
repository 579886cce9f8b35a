"""What each step of an epoch is fed: rows and weights of the batches, and the numbers of each member.

Legend: ``K`` members, ``S`` steps that are laid out at once, ``B`` rows of a batch, ``T`` steps in all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meden.data import batches, largest_batch
from meden.optim import Bound, blend
from meden.optim.schedules import factors
from meden.recipe import Recipe

Rows = NDArray[np.int64]
LAID_OUT = 2**20
"""Rows of batches that are laid out at once, those of all members together."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """A member ready to be stacked: its model, what trains it, and its rows in the tensors ``x`` and ``y``."""

    model: nn.Module
    recipe: Recipe
    bound: Sequence[Bound]
    seed: int
    """Members of one seed have the same rows and the same batches."""
    fit: Rows
    stop: Rows
    rated: Mapping[str, str] = field(default_factory=dict)
    """The selector of the recipe's ``lr_factors`` that counts for a parameter, by name."""
    idle: Mapping[str, Tensor] = field(default_factory=dict)
    """Which numbers are idle, by name; members of a stack agree in them."""


def epoch_batches(
    entrants: Sequence[Entrant], epoch: int, like: Tensor, *, pads: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (rows, weights) of the next steps, (S, K, B) each, on the device of ``like`` and weights of its type.

    Short batches are filled up with weight 0; if ``pads``, all have one width, so that one trace serves them.
    """
    distinct = {e.seed: e for e in entrants}
    cut = [_batches_of(e, epoch) for e in distinct.values()]
    widest = max(largest_batch(len(e.fit), e.recipe.batch_size) for e in distinct.values())
    place = {seed: number for number, seed in enumerate(distinct)}
    who = torch.tensor([place[e.seed] for e in entrants])
    steps = list(zip(*cut, strict=True))
    at_once = max(1, LAID_OUT // (len(entrants) * len(steps[0][0])))
    for _, alike in itertools.groupby(steps, key=lambda step: () if pads else tuple(map(len, step))):
        run = list(alike)
        width = widest if pads else max(map(len, run[0]))
        for start in range(0, len(run), at_once):
            part = run[start : start + at_once]
            shape = len(part), len(distinct), -1
            rows, weights = (t.view(shape)[:, who] for t in padded([batch for own in part for batch in own], width))
            yield rows.to(like.device), weights.to(like)


def padded(rows: Sequence[Rows], width: int = 0) -> tuple[Tensor, Tensor]:
    """Return rows of unequal number as (K, n), filled up with their first one at weight 0, to ``width`` at least.

    No other row will do: a weight of 0 does not silence a loss that is infinite.

    Example:
        >>> rows, weights = padded([np.array([5, 6]), np.array([7])])
        >>> rows.tolist(), weights.tolist()
        ([[5, 6], [7, 7]], [[1.0, 1.0], [1.0, 0.0]])
    """
    sizes = np.array([len(own) for own in rows])
    filled = np.zeros((len(rows), max(width, sizes.max())), dtype=np.int64)
    for line, own in zip(filled, rows, strict=True):
        line[: len(own)], line[len(own) :] = own, own[:1]
    weights = np.arange(filled.shape[1]) < sizes[:, None]
    return torch.from_numpy(filled), torch.from_numpy(weights.astype(np.float32))


def taken(data: Tensor, rows: Tensor) -> Tensor:
    """Return ``data[rows]``, for rows of any shape, at a third of the time."""
    return data.index_select(0, rows.reshape(-1)).view(*rows.shape, *data.shape[1:])


def rates(recipes: Sequence[Recipe], steps_per_epoch: int) -> NDArray[np.float64]:
    """Return the scheduled learning rates, (K, T), before any plateau."""
    last = max(recipe.epochs for recipe in recipes) * steps_per_epoch
    tables = [r.lr * factors(r.schedule, epochs=r.epochs, steps_per_epoch=steps_per_epoch) for r in recipes]
    return np.stack([np.pad(table, (0, last - len(table)), mode="edge") for table in tables])


def blends(recipes: Sequence[Recipe], steps_per_epoch: int) -> NDArray[np.float64]:
    """Return how far the averages move at each step, (K, T); zeros (K, 1) where nothing is averaged."""
    if recipes[0].averaging is None:
        return np.zeros((len(recipes), 1))
    last = max(recipe.epochs for recipe in recipes) * steps_per_epoch
    tables = [blend(r.averaging, epochs=r.epochs, steps_per_epoch=steps_per_epoch) for r in recipes if r.averaging]
    return np.stack([np.pad(table, (0, last - len(table))) for table in tables])


@dataclass(frozen=True, eq=False)
class Numbers:
    """Settings of the recipes that differ from member to member, (K,) each."""

    momentum: NDArray[np.float64]
    clip: NDArray[np.float64]
    """Infinite where there is no clipping."""

    @classmethod
    def of(cls, recipes: Sequence[Recipe]) -> Numbers:
        """Lay out the settings of K recipes."""
        return cls(
            momentum=np.array([recipe.momentum for recipe in recipes]),
            clip=np.array([np.inf if recipe.clip_norm is None else recipe.clip_norm for recipe in recipes]),
        )


def _batches_of(entrant: Entrant, epoch: int) -> list[Rows]:
    size, steps = entrant.recipe.batch_size, entrant.recipe.steps_per_epoch
    parts = batches(len(entrant.fit), size, seed=entrant.seed, epoch=epoch, steps_per_epoch=steps)
    return [entrant.fit[part] for part in parts]
