"""What an augmentation is: (x, y, draws) -> (x, y) on a batch of fitting rows; and a sequence of them.

Legend: ``B`` rows of a batch, ``C`` classes.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from meden._checks import InputError
from meden.noise import Draws, derive

Number = float | Tensor
"""A Python number, or a 0-d tensor: that is how a population gives each member its own strength."""


class Augmentation(abc.ABC):
    """A random change of a batch of fitting rows that preserves their meaning and shapes; all draws come from outside.

    Final augmentations, also those of your own, are frozen dataclasses. Fields of the type float or :data:`Number` are
    strengths: checked at construction if they are Python numbers, tensors otherwise, and nothing branches on their
    values. All other fields decide shapes and never vary within a population.
    """

    mixes_rows: ClassVar[bool] = False
    """Whether rows of a batch are combined with each other, so that a batch must not be padded with copies."""
    softens: ClassVar[bool] = False
    """Whether it takes classes as probabilities, (B, C), or (B,) for a model with one logit, instead of class
    indices."""

    @abc.abstractmethod
    def __call__(self, x: Tensor, y: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        """Return the changed batch.

        Args:
            x: (B, ...), one batch.
            y: (B, ...), class numbers or probabilities (see ``softens``); plain numbers for regression.
            draws: where all randomness comes from; ask for shapes that begin with B, so that the same rows draw the
                same numbers in a batch that is filled up.
        """

    @abc.abstractmethod
    def check(self, x: Tensor, task: str) -> None:
        """Check that rows like these can be changed so, before any compute.

        Args:
            x: (n, ...), all fitting rows.
            task: ``"classification"`` or ``"regression"``.

        Raises:
            InputError: naming what the rows must be, and what they are.
        """


def augmented(
    augmentations: Sequence[Augmentation], x: Tensor, y: Tensor, key: Tensor, step: Tensor
) -> tuple[Tensor, Tensor]:
    """Apply augmentations one after the other, each with draws of its own.

    Args:
        augmentations: in their order; each place in the sequence has its own stream.
        x: (B, ...), one batch.
        y: (B, ...)
        key: 0-d int64, from :func:`meden.noise.stream`.
        step: 0-d integer, the optimizer step.

    Example:
        >>> from meden.augment import Jitter
        >>> from meden.noise import stream
        >>> x, y = augmented([Jitter(0.1), Jitter(0.0)], torch.zeros(4, 2), torch.ones(4), stream(0), torch.tensor(0))
        >>> x.shape, bool((x == 0).any())
        (torch.Size([4, 2]), False)
    """
    for place, augmentation in enumerate(augmentations):
        own = key ^ (derive("augment", place) & ~1)  # an even word: an odd key stays odd
        x, y = augmentation(x, y, Draws(own, step))
    return x, y


def per_row(values: Tensor, x: Tensor) -> Tensor:
    """Return (B,) values so that they broadcast against ``x`` (B, ...), floating ones in its precision.

    Example:
        >>> per_row(torch.tensor([1.0, 2.0]), torch.zeros(2, 3, 4)).shape
        torch.Size([2, 1, 1])
    """
    column = values.reshape(-1, *(1 for _ in x.shape[1:]))
    return column.to(x.dtype) if column.is_floating_point() and x.is_floating_point() else column


def shifted(x: Tensor, shift: Tensor, dim: int) -> Tensor:
    """Return each row of ``x`` moved along an axis by whole places, towards its end; the edge is repeated.

    Args:
        x: (B, ...)
        shift: (B,), whole numbers of any sign and type.
        dim: an axis of ``x`` but the first.

    Example:
        >>> shifted(torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.tensor([1, -1]), dim=1).tolist()
        [[1, 1, 2], [5, 6, 6]]
    """
    size = x.shape[dim]
    places = torch.arange(size, device=x.device) - shift.long()[:, None]
    return gathered(x, places.clamp(0, size - 1), dim)


def gathered(x: Tensor, places: Tensor, dim: int) -> Tensor:
    """Return ``x`` (B, ...) read along the axis ``dim`` at ``places`` (B, n), the same for all its other axes."""
    dim %= x.ndim
    shape = [1] * x.ndim
    shape[0], shape[dim] = places.shape
    sizes = [*x.shape[:dim], places.shape[1], *x.shape[dim + 1 :]]
    return x.gather(dim, places.reshape(shape).expand(sizes))


def check_finite(name: str, x: Tensor) -> None:
    """Check that all of ``x`` are finite floating numbers.

    Raises:
        InputError: naming how many are missing, or the type.
    """
    if not x.is_floating_point():
        raise InputError(f"x must hold floating-point numbers for {name}, got {str(x.dtype).removeprefix('torch.')}")
    if wrong := int((~x.isfinite()).sum()):
        raise InputError(f"x must be finite before {name}, got {wrong} missing or infinite values; fill them in first")


def check_shape(name: str, x: Tensor, allowed: dict[int, str]) -> None:
    """Check the number of axes of ``x``; ``allowed`` says for each number what they are.

    Raises:
        InputError: naming the shapes that are allowed, and the one that came.
    """
    if x.ndim not in allowed:
        raise InputError(f"x must have shape {' or '.join(allowed.values())} for {name}, got {tuple(x.shape)}")


def check_images(name: str, x: Tensor) -> None:
    """Check that ``x`` are images of finite floating numbers.

    Raises:
        InputError: naming the shapes that are allowed, or how many numbers are missing.
    """
    check_shape(name, x, {3: "(n, H, W)", 4: "(n, C, H, W)"})
    check_finite(name, x)
