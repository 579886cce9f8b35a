"""Biases and their like that a model's outputs do not depend on while it trains, such as those before a batch norm.

Their gradient is zero, but what is computed is rounding: an adaptive optimizer would make whole steps of it, and the
same model would end elsewhere alone and in company. They are found once, by trying, and their gradient is taken to be
what it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from meden.noise import stream
from meden.noise.rng import normal, uniform
from meden.objective import disturbed, draw_much
from meden.params import role, tensors

NUM_ROWS = 16
"""Rows that are tried."""
LARGEST = 2**26
"""Numbers of the largest models that are searched: a copy in double precision is made."""
SHIFTS = (3.0, 30.0, 3.0, 30.0)
"""Of biases, at as many places among the weights: what is silent at one of them is not everywhere."""


def idle_numbers(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return by name where what is no weight is idle: booleans of their shape, with one that is true at least.

    They are tried on copies whose weights are disturbed, so that none is idle for a factor that starts at zero. Idle
    numbers have no gradient, and large shifts of either sign change no output. (A weight whose input happens to be
    silent would pass as well, and is none.)

    Args:
        model: any module.
        x: (n, ...) fitting rows on its device; fewer than 4 show nothing.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1))
        >>> idle_numbers(model, torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
        {'0.bias': tensor([True, True])}
    """
    own = next(model.parameters()).dtype
    if len(x) < 4 or sum(p.numel() for p in model.parameters()) > LARGEST:
        return {}
    for dtype in (torch.float64, own):
        if torch.finfo(dtype).eps > torch.finfo(torch.float32).eps:
            return {}
        try:
            return _found(copy.deepcopy(model).to(dtype), x[:NUM_ROWS].to(dtype) if x.is_floating_point() else x)
        except RuntimeError:  # code of the model, or the device, insists on another precision
            continue
    return {}


def _found(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    tolerance = torch.finfo(next(model.parameters()).dtype).eps ** 0.6
    first, second = (_without_gradient(disturbed(model, place), x, tolerance) for place in range(2))
    silent = {name: both for name in first if (both := first[name] & second[name]).any()}
    if not silent or _change_nothing(model, silent, x, tolerance):
        return silent
    return {name: where for name, where in silent.items() if _change_nothing(model, {name: where}, x, tolerance)}


def _without_gradient(model: nn.Module, x: Tensor, tolerance: float) -> dict[str, Tensor]:
    """Return where the gradients of a random sum of the outputs vanish, of all but weights."""
    outputs = draw_much(model, x)
    weights = normal(stream("outputs").to(x.device), torch.tensor(0), outputs.shape)
    params = {name: param for name, param in model.named_parameters() if param.requires_grad}
    grads = torch.autograd.grad((outputs * weights).sum(), list(params.values()), allow_unused=True)
    found = {name: grad.abs() for name, grad in zip(params, grads, strict=True) if grad is not None}
    largest = max((float(grad.max()) for grad in found.values()), default=0.0)
    own = {id(p) for sites in tensors(model) if role(sites) in ("weight", "embedding") for p in sites[0].sources}
    return {name: grad <= tolerance * largest for name, grad in found.items() if id(params[name]) not in own}


def _change_nothing(model: nn.Module, silent: Mapping[str, Tensor], x: Tensor, tolerance: float) -> bool:
    """Say whether the outputs stay as they are under large shifts of some numbers."""
    return all(
        float((outputs - before).abs().max()) <= tolerance * float(before.abs().max())
        for place, shift in enumerate(SHIFTS)
        for before, *after in [_outputs(model, silent, x, place, (0.0, shift, -shift))]
        for outputs in after
    )


@torch.no_grad()
def _outputs(
    model: nn.Module, silent: Mapping[str, Tensor], x: Tensor, place: int, shifts: Sequence[float]
) -> Iterator[Tensor]:
    """Yield the outputs of a model with other weights, for shifts of some numbers, of a sign each."""
    for shift in shifts:
        shifted = disturbed(model, place, size=1.0)
        params = dict(shifted.named_parameters())
        for name, where in silent.items():
            signs = uniform(stream("signs", name).to(where.device), torch.tensor(place), where.shape).sub_(0.5).sign_()
            params[name].add_(torch.where(where, shift * signs, 0.0).to(params[name].dtype))
        yield draw_much(shifted, x)


def silence(model: nn.Module, idle: Mapping[str, Tensor]) -> None:
    """Set the gradients of idle numbers to zero."""
    for name, where in idle.items():
        grad = model.get_parameter(name).grad
        if grad is not None:
            grad.masked_fill_(where, 0.0)
