"""Augmentations with numbers and draws of their own for each member.

Legend: ``K`` members, ``B`` rows of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap

from meden.augment import Augmentation, augmented
from meden.data.targets import Task
from meden.noise import stream
from meden.objective import soft_targets
from meden.training.many import stacked_settings
from meden.training.many.batches import Entrant

Values = list[list[Tensor]]
"""The numbers of each augmentation, (K,) each."""


@dataclass(frozen=True)
class Augmenting:
    """What all members of a stack share of their augmentations."""

    templates: tuple[Augmentation, ...]
    """The first member's, whose numbers each member replaces by its own."""
    task: Task
    num_logits: int
    dtype: torch.dtype
    """Of the models."""

    def __call__(self, x: Tensor, y: Tensor, values: Values, keys: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return the augmented batches; ``x`` and ``y`` are (K, B, ...), ``keys`` (K,) and ``step`` 0-d."""
        if not self.templates:
            return x, y
        if any(template.softens for template in self.templates):
            y = soft_targets(self.task, y, self.num_logits, self.dtype)
        return vmap(self._alone, in_dims=(0, 0, 0, 0, None))(x, y, values, keys, step)

    def _alone(self, x: Tensor, y: Tensor, own: Values, key: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        parts = zip(self.templates, own, strict=True)
        return augmented([stacked_settings.rebuild(part, iter(numbers)) for part, numbers in parts], x, y, key, step)


def values_and_keys(entrants: Sequence[Entrant], like: Tensor) -> tuple[Values, Tensor]:
    """Return the numbers of every member's augmentations, and its random stream."""
    columns = zip(*(entrant.recipe.augment for entrant in entrants), strict=True)
    values = [stacked_settings.stacked(column, like) for column in columns]
    return values, torch.stack([stream(entrant.seed, "augment") for entrant in entrants]).to(like.device)
