"""Biases and their like that a model's outputs do not depend on while it trains, such as those before a batch norm.

Their gradient is zero, but what is computed is rounding: an adaptive optimizer would make whole steps of it, and the
same model would end elsewhere alone and in company. They are found once, by trying, and their gradient is taken to be
what it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meden._randomness import own_randomness
from meden.noise import stream
from meden.noise.rng import normal, uniform
from meden.objective import disturbed, draw_much
from meden.params import role, tensors

NUM_ROWS = 16
"""Rows that are tried."""
LARGEST = 2**26
"""Numbers of the largest models that are searched: a copy in double precision is made."""
NUM_SUMS = 4
"""Random sums of the outputs, at two places each: rounding that happens to be 0 in all of them is rare."""
SHIFTS = (3.0, 30.0, 3.0, 30.0)
"""Of biases, at as many places among the weights: what is silent at one of them is not everywhere."""


def tried_rows(num_rows: int) -> NDArray[np.int64]:
    """Return the rows that are tried, spread over all.

    Example:
        >>> tried_rows(3).tolist(), tried_rows(31).tolist()[:4]
        ([0, 1, 2], [0, 2, 4, 6])
    """
    return np.unique(np.linspace(0, num_rows - 1, NUM_ROWS).astype(np.int64))


def idle_numbers(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return by name where what is no weight is idle: booleans of their shape, with one that is true at least.

    They are tried on copies whose weights are disturbed, so that none is idle for a factor that starts at zero. The
    gradients of idle numbers are rounding, and large shifts of either sign change no output. A gradient of exactly 0 is
    none of these: such a number may have had no part in these rows, such as the bias of a level or of an expert that
    none of them has, and other rows may need it. (A weight whose input happens to be silent would pass as well, and is
    none.)

    Args:
        model: any module.
        x: (n, ...) some fitting rows on its device; fewer than 4 show nothing.

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
            with own_randomness(seed=0):
                return _found(copy.deepcopy(model).to(dtype), x.to(dtype) if x.is_floating_point() else x)
        except Exception:  # of whatever kind: code of the model, or the device, insists on another precision
            continue
    return {}


def _found(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    tolerance = torch.finfo(next(model.parameters()).dtype).eps ** 0.6
    first, second = (_sizes(disturbed(model, place), x) for place in range(2))
    sizes = {name: torch.maximum(first[name], second[name]) for name in first.keys() & second.keys()}
    silent = {name: where for name in first if name in sizes and (where := _between(sizes[name], tolerance)).any()}
    for place, shift in enumerate(SHIFTS):
        silent = _without_effect(model, silent, x, place, shift, tolerance)
    return silent


def _between(sizes: Tensor, tolerance: float) -> Tensor:
    """Return where gradients are rounding: above 0, and nothing beside the largest."""
    return (sizes > 0) & (sizes <= tolerance)


def _sizes(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return how large gradients of random sums of the outputs are beside the largest, of all but weights."""
    outputs = draw_much(model, x)
    params = {name: param for name, param in model.named_parameters() if param.requires_grad}
    weights = {id(p) for sites in tensors(model) if role(sites) in ("weight", "embedding") for p in sites[0].sources}
    found: dict[str, Tensor] = {}
    largest = 0.0
    for number in range(NUM_SUMS):
        factors = normal(stream("outputs").to(x.device), torch.tensor(number), outputs.shape)
        asked = params if not number else {name: params[name] for name in found}
        total = (outputs * factors).sum()
        grads = torch.autograd.grad(total, list(asked.values()), retain_graph=True, allow_unused=True)
        sizes = {name: grad.abs() for name, grad in zip(asked, grads, strict=True) if grad is not None}
        if not number:
            largest = max((float(size.max()) for size in sizes.values()), default=0.0)
            found = {name: size for name, size in sizes.items() if id(params[name]) not in weights}
            if not found or not largest:
                return {}
        found = {name: torch.maximum(found[name], sizes[name]) for name in found}
    return {name: size / largest for name, size in found.items()}


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
