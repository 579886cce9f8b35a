"""Norm layers of one's own, told by what they do: they give the same for an input and for a multiple of it."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from meden._randomness import own_randomness

ROWS = 4
SPAN = 3
"""Entries along axes that are not the features'."""
MULTIPLE = 3.0
"""Of the input, which is of size 1: an epsilon of a norm hardly shows, and a squashing function is not saturated."""
TOLERANCE = 0.01
_SCALES = ("weight", "gamma", "scale", "g")


def normalises(module: nn.Module) -> bool:
    """Say whether a layer divides its input by a measure of the input's size.

    It must have no children, and parameters of one size alone that are vectors (axes of one entry do not count).
    A copy of it is then given random inputs and their multiples. Where no input will do, such a layer is taken for a
    norm if it has a parameter of one axis with the name of a scale: ``weight``, ``gamma``, ``scale`` or ``g``.

    Example:
        >>> normalises(nn.RMSNorm(5)), normalises(nn.PReLU(5)), normalises(nn.Linear(1, 5))
        (True, False, False)
    """
    own = {name: param for name, param in module._parameters.items() if param is not None}
    sizes = {param.numel() for param in own.values()}
    is_vector = all(sum(size > 1 for size in param.shape) == 1 for param in own.values())
    if any(True for _ in module.children()) or not is_vector or len(sizes) != 1:
        return False
    found = [_is_invariant(module, shape) for shape in _shapes(sizes.pop())]
    tried = [answer for answer in found if answer is not None]
    return any(tried) if tried else any(name.lower() in _SCALES and param.ndim == 1 for name, param in own.items())


def _shapes(size: int) -> list[tuple[int, ...]]:
    return [(ROWS, size), (ROWS, SPAN, size), (ROWS, size, SPAN), (ROWS, size, SPAN, SPAN)]


@torch.no_grad()
def _is_invariant(module: nn.Module, shape: tuple[int, ...]) -> bool | None:
    """Say whether a multiple of an input of this shape gives the same output; None if it takes no such input."""
    copied = _copy(module)
    like = next(copied.parameters())
    if like.is_meta or not like.is_floating_point():
        return None
    noise = torch.randn((2, *shape), generator=torch.Generator().manual_seed(0)).to(like)
    try:
        with own_randomness(seed=0):
            x, multiple, other = (copied.forward(part) for part in (noise[0], MULTIPLE * noise[0], noise[1]))
        size = float(x.double().norm())
        moves, differs = (float((part - x).double().norm()) for part in (multiple, other))
    except Exception:  # whatever the code of a user may raise
        return None
    return math.isfinite(size) and moves <= TOLERANCE * size < differs


def _copy(module: nn.Module) -> nn.Module:
    """Return a copy in training mode with tensors of its own and without hooks, its parameters away from zero."""
    copied = copy.copy(module)
    copied.__dict__ = dict(module.__dict__)
    copied.__dict__["training"] = True
    for name in [name for name in copied.__dict__ if name.endswith("_hooks")]:
        copied.__dict__[name] = OrderedDict()
    copied.__dict__["_buffers"] = {n: None if b is None else b.clone() for n, b in module._buffers.items()}
    copied.__dict__["_parameters"] = {n: _moved(p) for n, p in module._parameters.items()}
    return copied


def _moved(param: nn.Parameter | None) -> Tensor | None:
    if param is None:
        return None
    ramp = torch.linspace(0.5, 1.5, param.numel(), dtype=param.dtype, device=param.device)
    return nn.Parameter(ramp.view(param.shape), requires_grad=False)
