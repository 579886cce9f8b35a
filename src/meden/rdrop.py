"""R-Drop: two passes over the same rows, which draw other noise, should say the same.

Legend: ``B`` rows of a batch, ``C`` classes or outputs, ``T`` tokens.

Reference:
    L. Wu and others, R-Drop: regularized dropout for neural networks, 2021.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from meden.data.targets import Task
from meden.noise import PassDraws
from meden.noise.seeded import LARGEST_COPIED
from meden.objective import counted, disturbed, draw_much, has_one_logit, is_paired, row_loss

PASSES = 8
"""That show whether there is noise: of few units, some may happen to be dropped alike."""


def row_divergence(task: Task, first: Tensor, second: Tensor, y: Tensor) -> Tensor:
    """Return how far two outputs for each row are apart, in the units of :func:`row_loss`.

    For classification (KL(p || q) + KL(q || p)) / 2 of their probabilities p and q, which is half the sum over the
    classes of (p - q) times the difference of the logits; for regression half the squared difference, which is the same
    for the normal distributions of variance 1 whose likelihood the loss is.

    Args:
        task: what ``y`` is.
        first: outputs, as for :func:`row_loss`.
        second: outputs of the same shape.
        y: targets, for the rows' weights and for tokens that do not count.

    Returns:
        (B,), a mean over tokens and a sum over regression outputs, times the weight if there is one. A token that does
        not count adds 0.

    Example:
        >>> row_divergence("regression", torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [3.0]]), torch.zeros(2))
        tensor([0.5000, 0.0000])
    """
    num_rows, apart = y.shape[0], first - second
    if task == "regression":
        weights = y[..., 1] if is_paired(first, y) else 1.0
        return (apart.reshape(num_rows, -1).square() * weights).sum(1) / 2
    if has_one_logit(first, y):
        return ((first.sigmoid() - second.sigmoid()) * apart).reshape(num_rows) / 2
    each = ((first.softmax(-1) - second.softmax(-1)) * apart).sum(-1) / 2
    kept = y.sum(-1) if y.is_floating_point() else counted(task, y)
    return (each if kept is None else each * kept).reshape(num_rows, -1).mean(1)


def fitting_losses(
    task: Task,
    forward: Callable[[PassDraws | None], Tensor],
    y: Tensor,
    draws: PassDraws | None,
    *,
    rdrop: float | Tensor | None,
) -> Tensor:
    """Return the loss of each row in training, (B,), whose mean is that of :func:`meden.objective.mean_of`.

    Args:
        task: what ``y`` is.
        forward: returns the outputs of a training pass that draws what it is given.
        y: targets, as for :func:`meden.objective.row_loss`.
        draws: of the pass; None where nothing is drawn by torch's functions.
        rdrop: None for one pass; else the mean of two, which draw differently, plus this times their divergence.
    """
    first = forward(draws)
    losses = row_loss(task, first, y)
    if rdrop is None:
        return losses
    second = forward(None if draws is None else draws.again())
    return (losses + row_loss(task, second, y)) / 2 + rdrop * row_divergence(task, first, second, y)


@torch.no_grad()
def is_noisy(model: nn.Module, x: Tensor) -> bool:
    """Say whether training passes over the same rows differ; layers whose noise is of level 0 count.

    A model too large to be copied is taken to be.

    Example:
        >>> is_noisy(nn.Linear(2, 1), torch.ones(2, 2)), is_noisy(nn.Dropout(), torch.ones(2, 2))
        (False, True)
    """
    if sum(p.numel() for p in model.parameters()) > LARGEST_COPIED:
        return True
    copied = disturbed(model)
    first, *others = (draw_much(copied, x, step) for step in range(PASSES))
    return not all(torch.equal(first, other) for other in others)


def warn_of_quiet(model: nn.Module, rdrop: float | None, x: Tensor) -> None:
    """Warn if two passes are to be compared that are the same; x is (B, ...) rows on the model's device."""
    if rdrop is not None and not is_noisy(model, x[:2]):
        warnings.warn(
            f"rdrop={rdrop:g} compares two identical passes in a {type(model).__name__} without noise: add "
            "dropout, or leave rdrop out, which halves the work",
            stacklevel=1,  # the same place for all models of a search: told once
        )
