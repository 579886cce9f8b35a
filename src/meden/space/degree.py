"""How a network's answers shrink with its weights: the power of a common factor of all of them."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from meden.noise import seeded, stream
from meden.noise.rng import normal
from meden.params import role, tensors

FACTORS = 1 / 16, 1 / 32
"""Small, so that the shortest way through a network with several shows."""
SHIFT = 0.1
"""Standard deviation of what is added to the weights first: a last layer may start at zero."""


@torch.no_grad()
def degree(model: nn.Module, x: Tensor) -> int:
    """Return the power of c by which differences between answers shrink, as all weights times c go to zero; at least 1.

    It is the number of layers with weights on the shortest way through the model; what comes before a norm does not
    count. Tried on a copy, without biases and noise.

    Args:
        model: any module of one tensor argument.
        x: (n, ...) rows on its device.

    Example:
        >>> x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
        >>> net = [nn.Linear(3, 9), nn.ReLU(), nn.Linear(9, 2)]
        >>> degree(nn.Linear(3, 2), x), degree(nn.Sequential(*net), x)
        (1, 2)
    """
    copied = copy.deepcopy(model).eval()
    for layer in copied.modules():
        layer.training = isinstance(layer, _BatchNorm)
    parts = tensors(copied)
    weights = {id(p): p for sites in parts if role(sites) == "weight" for p in sites[0].sources if p.requires_grad}
    for sites in parts:
        if role(sites) == "bias":
            sites[0].param.zero_()
    for place, weight in enumerate(weights.values()):
        shift = normal(stream("degree").to(weight.device), torch.tensor(place), weight.shape)
        weight.add_(shift.mul_(SHIFT).to(weight.dtype))
    starts = {key: weight.clone() for key, weight in weights.items()}
    spreads = []
    for factor in FACTORS:
        for key, weight in weights.items():
            weight.copy_(factor * starts[key])
        with seeded(copied, "degree", step=0):
            outputs = copied(x)
        spreads.append(float((outputs - outputs.mean(0)).double().norm()))
    if not all(spread > 0 and math.isfinite(spread) for spread in spreads):
        return 1
    slope = math.log(spreads[0] / spreads[1]) / math.log(FACTORS[0] / FACTORS[1])
    return max(1, round(slope))
