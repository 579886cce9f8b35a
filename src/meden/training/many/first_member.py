"""Whether a stack does with a model what the model does by itself: asked of the first member before it is trained."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from meden.noise import seeded
from meden.objective import mean_loss
from meden.training.many.batches import Entrant
from meden.training.many.stacking import Stack
from meden.training.many.step import Step, forward_streams

SMALL = 1e-3
"""Share of the whole gradient's size below which one tensor's is taken for rounding."""


def check_first_member(step: Step, entrant: Entrant, stack: Stack, x: Tensor, y: Tensor) -> None:
    """Compare the first member's gradients and buffers with those of its model by itself, on one batch (B, ...).

    Rules of vmap, and autograd outside of it, do not know everything that a model may do: hooks, buffers that are
    replaced by others, questions whether a gradient is needed, derivatives of its own.

    Raises:
        RuntimeError: if they differ by more than rounding, or a parameter has a hook.
    """
    for name, param in entrant.model.named_parameters():
        if param._backward_hooks:  # which a copy does not have
            raise RuntimeError(f"'{name}' has a hook")
    stacked = stack.copy()
    stacked.keep(torch.zeros(1, dtype=torch.long, device=stacked.flat.device))
    # rows count unequally: at a solution their gradients would add up to nothing but rounding
    weights = torch.linspace(0.5, 1.5, len(y), dtype=stacked.flat.dtype, device=y.device)
    streams, start = forward_streams([entrant]).to(y.device), torch.zeros((), dtype=torch.int64, device=y.device)
    together = step.gradients(stacked.params, stacked.rest, x[None], y[None], weights[None], streams, start, [])

    model = copy.deepcopy(entrant.model).train()
    with seeded(model, entrant.seed, "forward"):
        loss = mean_loss(step.task, model(x), y, weights)
    trained = {name: param for name, param in model.named_parameters() if param.requires_grad}
    alone = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)

    eps = torch.finfo(stacked.flat.dtype).eps
    tolerance = 10 * max(eps, torch.finfo(torch.float32).eps) ** 0.5
    size = sum(float(g.double().square().sum()) for g in alone if g is not None) ** 0.5
    for name, own in zip(trained, alone, strict=True):
        _check(name, own, together[name], tolerance, SMALL * size)
    for name, buffer in model.named_buffers():
        _check(name, buffer, stacked.rest[name], tolerance, 0.0)


def _check(name: str, own: Tensor | None, stacked: Tensor | None, tolerance: float, small: float) -> None:
    mine, theirs = (torch.zeros(()) if t is None else t.detach().cpu().double() for t in (own, stacked))
    if float((mine - theirs).norm()) > tolerance * (float(mine.norm()) + small):  # and not if they are not finite
        raise RuntimeError(f"'{name}' would not be trained as in a model by itself")
