"""Sharpness-aware minimisation: the gradient is taken where the loss nearby is highest, and applied where we are.

Example of a loop of one's own, where ``model`` may hold noise layers of meden::

    sam = SAM(optimizer, Sharpness(rho=0.05), model)
    for x, y in batches:
        def closure():
            loss = loss_of(model(x), y)
            loss.backward()
            return loss
        sam.step(closure)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from meden._settings import Settings

ETA = 0.01
"""Added to |w| in the adaptive form, so that weights of zero are moved too."""


class Sharpness(Settings):
    """How far sharpness-aware steps look for the highest loss nearby.

    Args:
        rho: radius of the neighbourhood, above 0; the adaptive form wants about ten times as much.
        adaptive: measure distances relative to each weight's size, so that rescaling a layer changes nothing (ASAM).

    Example:
        >>> Sharpness(rho=0.1)
        Sharpness(rho=0.1, adaptive=False)

    Reference:
        P. Foret, A. Kleiner, H. Mobahi and B. Neyshabur, Sharpness-aware minimization for efficiently improving
        generalization, 2021. J. Kwon, J. Kim, H. Park and I. Choi, ASAM: adaptive sharpness-aware minimization for
        scale-invariant learning of deep neural networks, 2021.
    """

    rho: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    adaptive: bool = False


def displacements(
    weights: Sequence[Tensor], grads: Sequence[Tensor], *, rho: float | Tensor, adaptive: bool
) -> list[Tensor]:
    """Return how far each tensor moves to where the loss, linearised, is highest within the radius.

    rho g / ||g|| with the norm over all tensors together; adaptive: rho s^2 g / ||s g|| with s = |w| + 0.01. Where
    all gradients are zero nothing moves. It is a pure function, which vmaps.

    Example:
        >>> displacements([torch.zeros(2)], [torch.tensor([3.0, 4.0])], rho=1.0, adaptive=False)
        [tensor([0.6000, 0.8000])]
    """
    sizes = [weight.abs() + ETA if adaptive else torch.ones_like(weight) for weight in weights]
    scaled = [size * grad for size, grad in zip(sizes, grads, strict=True)]
    wide = [part.to(torch.promote_types(part.dtype, torch.float32)) for part in scaled]
    norm = torch.stack([part.square().sum() for part in wide]).sum().sqrt()
    step = rho / norm.clamp(min=torch.finfo(norm.dtype).tiny)
    return [(size * part * step).to(part.dtype) for size, part in zip(sizes, scaled, strict=True)]


@torch.no_grad()
def ascend(params: Sequence[Tensor], sharpness: Sharpness) -> list[Tensor]:
    """Move parameters, by their ``grad``, to where the loss is highest nearby; those without a gradient stay.

    Returns:
        What the parameters were, for :func:`restore`.
    """
    originals = [param.detach().clone() for param in params]
    moved = [param for param in params if param.grad is not None]
    grads = [param.grad for param in moved if param.grad is not None]
    if moved:
        steps = displacements(moved, grads, rho=sharpness.rho, adaptive=sharpness.adaptive)
        for param, step in zip(moved, steps, strict=True):
            param.add_(step)
    return originals


@torch.no_grad()
def restore(params: Sequence[Tensor], originals: Sequence[Tensor]) -> None:
    """Put back, bit for bit, what :func:`ascend` returned."""
    for param, original in zip(params, originals, strict=True):
        param.copy_(original)


class SAM:
    """Sharpness-aware steps of any torch optimizer.

    Both passes must draw the same noise: the buffers of ``model`` (the counters of its noise layers among them) are
    put back before the second pass, and are in the end what the first pass left, so that batch norm's statistics are
    those of the weights themselves. ``torch.nn.Dropout`` draws from torch's global generator and would not be the
    same, unless the closure calls the model in :func:`meden.noise.seeded`.

    Args:
        optimizer: makes the update; penalties attached to it act once, on the unmoved weights.
        sharpness: how far to look.
        model: whose buffers are looked after; None where it has none.

    Example:
        >>> weight = nn.Parameter(torch.ones(1))
        >>> def closure():
        ...     loss = (weight**2).sum() / 2
        ...     loss.backward()
        ...     return loss
        >>> sam = SAM(torch.optim.SGD([weight], lr=0.5), Sharpness(rho=0.1))
        >>> sam.step(closure).item(), round(weight.item(), 4)  # 1 - 0.5 * (1 + 0.1)
        (0.5, 0.45)
    """

    def __init__(self, optimizer: Optimizer, sharpness: Sharpness, model: nn.Module | None = None) -> None:
        self.optimizer, self.sharpness = optimizer, sharpness
        self._buffers = [] if model is None else list(model.buffers())

    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        """Make one step.

        Args:
            closure: computes the loss of a batch, calls its ``backward()`` and returns it; it is called twice.

        Returns:
            The loss at the unmoved weights.
        """
        loss = self.backward(closure)
        self.optimizer.step()
        return loss

    def backward(self, closure: Callable[[], Tensor]) -> Tensor:
        """Leave the gradient of the step in the parameters' ``grad``, for those who clip it before the update."""
        params = [param for group in self.optimizer.param_groups for param in group["params"]]
        before = [buffer.clone() for buffer in self._buffers]
        loss = self._pass(closure)
        after = [buffer.clone() for buffer in self._buffers]
        originals = ascend(params, self.sharpness)
        restore(self._buffers, before)
        try:
            self._pass(closure)
        finally:
            restore(self._buffers, after)
            restore(params, originals)
        return loss

    def _pass(self, closure: Callable[[], Tensor]) -> Tensor:
        self.optimizer.zero_grad()
        with torch.enable_grad():
            return closure().detach()
