"""The branches of a layer: those outputs inside it whose sum is what it adds to its input.

Shapes: ``N`` outputs are tried, of which ``S`` elements are looked at first; there are 2^N - 1 sums.

A layer is watched in a copy with random weights, on a random input. Nothing is left to size then: neither a large
channel, nor few bits, nor a last layer that starts at zero can make a wrong sum fit, or hide a right one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

MOST_PARTS = 12
"""Outputs inside a layer that are tried as its branches, at most: all their sums are."""
SAMPLES = 256
"""Elements by which sums are told apart before one is tried whole."""
TOLERANCE = 1e-5
"""How far a sum may be from what the layer computed, as a share of the largest element: float32 adds so well."""


class Part(NamedTuple):
    """An output inside a layer."""

    name: str
    """Of the module within the layer."""
    output: Tensor


class _Pass(NamedTuple):
    """One pass through a layer: what came in, what went out, and the outputs of all that is inside, in their order."""

    entered: Tensor
    left: Tensor
    parts: list[Part]

    def is_sum_of(self, parts: list[Part]) -> bool:
        """Say whether the layer added these outputs to its input."""
        if not parts or self.left.shape != self.entered.shape:
            return False
        total = self.entered + torch.stack([part.output for part in parts]).sum(0)
        return bool((total - self.left).abs().max() <= TOLERANCE * self.left.abs().max())


class Branches(NamedTuple):
    """What a layer adds to its input."""

    ends: list[Part]
    """The fewest outputs that do it, each of the outermost module that gives it."""
    parts: list[Part]
    """All outputs of their shape, in their order."""
    num_ways: int
    """How many choices of so few outputs fit; where it is not 1, ``ends`` is empty."""


NONE = Branches([], [], 0)
"""Of a layer that is not the sum of its input and outputs inside it."""


@torch.no_grad()
def find_branches(layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Branches:
    """Return the branches of a layer that is called with these arguments, of which the first is its input.

    They are proven by intervention: without them the layer returns its input, element by element, and twice as much
    of them is added twice. Neither the layer nor its arguments change.

    Example:
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.norm, self.mlp = nn.LayerNorm(4), nn.Linear(4, 4)
        ...     def forward(self, x):
        ...         return x + self.mlp(self.norm(x))
        >>> [part.name for part in find_branches(Block(), (torch.randn(2, 4),), {}).ends]
        ['mlp']
    """
    watch = partial(_watch, _randomised(layer), args, kwargs)
    seen = watch(())
    if seen is None or seen.left.shape != seen.entered.shape:
        return NONE
    fitting = [chosen for chosen in _fewest(seen) if _is_proven(watch, [part.name for part in chosen])]
    return Branches(fitting[0] if len(fitting) == 1 else [], seen.parts, len(fitting))


def _randomised(layer: nn.Module) -> nn.Module:
    """Return a copy in float32 and in evaluation, whose weights are all of an ordinary size."""
    layer = copy.deepcopy(layer).float().eval()
    sources: dict[torch.device, torch.Generator] = {}
    for param in layer.parameters():
        if param.is_floating_point():
            source = sources.setdefault(param.device, torch.Generator(param.device))
            param.uniform_(-1.0, 1.0, generator=source)
            param.mul_((3 / param.shape[-1]) ** 0.5 if param.ndim > 1 else 1.0)
    return layer


def _watch(
    layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], changed: Collection[str], factor: float = 1.0
) -> _Pass | None:
    """Call a layer on a random input, with some outputs inside of it multiplied; None if its input is no tensor."""
    args, kwargs = copy.deepcopy((args, dict(kwargs)))  # a cache is written to
    args, kwargs = _floats(args), _floats(kwargs)
    first = args[0] if args else next(iter(kwargs.values()), None)
    if not isinstance(first, Tensor) or not first.is_floating_point():
        return None
    entered = torch.randn(first.shape, generator=torch.Generator().manual_seed(0)).to(first.device)
    first.copy_(entered)
    parts: list[Part] = []
    hooks = [
        module.register_forward_hook(partial(_note, parts, entered, name, factor if name in changed else 1.0))
        for name, module in layer.named_modules()
        if name
    ]
    try:
        left = _first(layer(*args, **kwargs))
    finally:
        for hook in hooks:
            hook.remove()
    return None if left is None else _Pass(entered, left, parts)


def _note(
    parts: list[Part], entered: Tensor, name: str, factor: float, _module: nn.Module, _args: Any, output: Any
) -> Any:
    """Note an output, and return it multiplied."""
    tensor = _first(output)
    if tensor is None or tensor.shape != entered.shape:
        return None
    parts.append(Part(name, tensor.float() * factor))  # a copy: what follows may change it in place
    if factor == 1.0:
        return None
    return tensor * factor if isinstance(output, Tensor) else type(output)((tensor * factor, *output[1:]))


def _first(value: Any) -> Tensor | None:
    """Return an output, or the first of several."""
    first = value[0] if isinstance(value, (tuple, list)) and value else value
    return first if isinstance(first, Tensor) and first.is_floating_point() else None


def _floats(value: Any) -> Any:
    """Return arguments with float32 in the place of all other floats."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if type(value) is dict:
        return {key: _floats(item) for key, item in value.items()}
    return type(value)(map(_floats, value)) if type(value) in (tuple, list) else value


def _fewest(seen: _Pass) -> list[list[Part]]:
    """Return all choices of the fewest outputs whose sum is what the layer adds to its input."""
    parts = _distinct(seen.parts)[-MOST_PARTS:]
    fitting = [chosen for chosen in _likely(seen, parts) if seen.is_sum_of(chosen)]
    return [chosen for chosen in fitting if len(chosen) == min(map(len, fitting))]


def _likely(seen: _Pass, parts: list[Part]) -> Iterator[list[Part]]:
    """Yield the choices whose sums fit on a sample of elements."""
    at = torch.linspace(0, seen.left.numel() - 1, min(SAMPLES, seen.left.numel())).long()
    added = (seen.left - seen.entered).flatten().cpu()[at]  # S
    outputs = torch.stack([added, *(part.output.flatten().cpu()[at] for part in parts)])[1:]  # N, S
    choices = torch.arange(1, 2 ** len(parts))[:, None] >> torch.arange(len(parts)) & 1  # 2^N - 1, N
    distance = (choices.float() @ outputs - added).abs().amax(1)
    for chosen in choices[distance <= 2 * TOLERANCE * seen.left.abs().max().cpu()]:
        yield [part for part, taken in zip(parts, chosen.tolist(), strict=True) if taken]


def _distinct(parts: list[Part]) -> list[Part]:
    """Return each output once: by the outermost module that gives it, which is the last to be done."""
    kept: list[Part] = []
    for part in parts:
        kept = [other for other in kept if not torch.equal(other.output, part.output)] + [part]
    return kept


def _is_proven(watch: Callable[..., _Pass | None], names: list[str]) -> bool:
    """Say whether a layer without some outputs returns its input, and adds twice as much of them twice."""
    without, doubled = watch(names, 0.0), watch(names, 2.0)
    if without is None or doubled is None or not torch.equal(without.left, without.entered):
        return False
    return doubled.is_sum_of([part for part in _distinct(doubled.parts) if part.name in names])
