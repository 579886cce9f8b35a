"""Biases and their like that a model's outputs do not depend on while it trains, such as those before a batch norm.

Their gradient is zero, but what is computed is rounding: an adaptive optimizer would make whole steps of it, and the
same model would end elsewhere alone and in company. They are found once, by trying, and their gradient is taken to be
what it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

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
    for place, shift in enumerate(SHIFTS):
        silent = _without_effect(model, silent, x, place, shift, tolerance)
    return silent


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


@torch.no_grad()
def _without_effect(
    model: nn.Module, silent: Mapping[str, Tensor], x: Tensor, place: int, shift: float, tolerance: float
) -> dict[str, Tensor]:
    """Return those that large shifts of either sign at other weights show to change no output: all, or one by one."""
    if not silent:
        return {}
    elsewhere = disturbed(model, place, size=1.0)
    before = _outputs(elsewhere, {}, x, place, 0.0)

    def has_effect(numbers: Mapping[str, Tensor]) -> bool:
        return any(
            float((_outputs(elsewhere, numbers, x, place, size) - before).abs().max())
            > tolerance * float(before.abs().max())
            for size in (shift, -shift)
        )

    if not has_effect(silent):
        return dict(silent)
    return {name: where for name, where in silent.items() if not has_effect({name: where})}


def _outputs(model: nn.Module, numbers: Mapping[str, Tensor], x: Tensor, place: int, size: float) -> Tensor:
    """Return the outputs of a copy, since passes may change a model; some numbers are shifted by their signs."""
    shifted = copy.deepcopy(model)
    for name, where in numbers.items():
        param = shifted.get_parameter(name)
        signs = uniform(stream("signs", name).to(where.device), torch.tensor(place), where.shape).sub_(0.5).sign_()
        param.add_(torch.where(where, size * signs, 0.0).to(param.dtype))
    return draw_much(shifted, x)


def silence(model: nn.Module, idle: Mapping[str, Tensor]) -> None:
    """Set the gradients of idle numbers to zero."""
    for name, where in idle.items():
        grad = model.get_parameter(name).grad
        if grad is not None:
            grad.masked_fill_(where, 0.0)
