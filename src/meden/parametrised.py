"""Weights that a module makes anew from other tensors: by torch's parametrizations, and by its older hooks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _Orthogonal, _SpectralNorm, _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_TORCHS: dict[type, str] = {_WeightNorm: "weight_norm", _SpectralNorm: "spectral_norm", _Orthogonal: "orthogonal"}


@dataclass(frozen=True)
class Magnitudes:
    """Lengths of the slices of a weight, which weight norm keeps apart from their directions: w = g v / norm(v)."""

    name: str
    """Of the parameter g, inside the module that holds the weight."""
    param: nn.Parameter
    """As many numbers as slices along ``dim``, with one entry along every other axis."""
    dim: int | None
    """Axis along which the slices are counted; None if the weight is one slice."""
    size: int
    """Numbers of a slice."""


@dataclass(frozen=True, eq=False)
class Parametrised:
    """A weight that is made anew at each use."""

    kind: str
    """What makes it: ``weight_norm``, ``spectral_norm``, ``orthogonal``, or the names of the user's modules."""
    originals: dict[str, nn.Parameter]
    """All parameters that have a part in it, by name inside the module that holds the weight."""
    magnitudes: Magnitudes | None
    _make: Callable[[], Tensor]
    _parts: Sequence[nn.Module] = ()

    def weight(self) -> Tensor:
        """Return the weight, differentiable by the originals; what is counted in training does not move."""
        with _at_rest(self._parts):
            return self._make()


def parametrised(module: nn.Module) -> dict[str, Parametrised]:
    """Return the weights of a module, those of its children apart, that are made from other tensors, by name.

    Example:
        >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
        >>> made = parametrised(layer)["weight"]
        >>> made.kind, made.magnitudes.name, tuple(made.weight().shape)
        ('weight_norm', 'parametrizations.weight.original0', (2, 3))
    """
    found = {}
    if is_parametrized(module):
        found = {leaf: _by_list(leaf, made) for leaf, made in module.parametrizations.items()}  # type: ignore[operator, union-attr]
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            found[hook.name] = _by_weight_norm(module, hook)
        elif isinstance(hook, SpectralNorm):
            originals = {f"{hook.name}_orig": module.get_parameter(f"{hook.name}_orig")}
            make = functools.partial(hook.compute_weight, module, False)
            found[hook.name] = Parametrised("spectral_norm", originals, None, make)
    return found


def _by_list(leaf: str, made: ParametrizationList) -> Parametrised:
    parts = [part for name, part in made.named_children() if name.isdigit()]
    originals = {f"parametrizations.{leaf}.{name}": param for name, param in made.named_parameters()}
    magnitudes = None
    if len(parts) == 1 and isinstance(parts[0], _WeightNorm):
        g, v = list(made.parameters(recurse=False))
        magnitudes = _magnitudes(f"parametrizations.{leaf}.original0", g, v, parts[0].dim)
    kind = ", ".join(_TORCHS.get(type(part), type(part).__name__) for part in parts)
    return Parametrised(kind, originals, magnitudes, made, list(made.modules()))


def _by_weight_norm(module: nn.Module, hook: WeightNorm) -> Parametrised:
    g, v = (module.get_parameter(f"{hook.name}_{part}") for part in "gv")
    originals = {f"{hook.name}_g": g, f"{hook.name}_v": v}
    magnitudes = _magnitudes(f"{hook.name}_g", g, v, hook.dim)
    return Parametrised("weight_norm", originals, magnitudes, functools.partial(hook.compute_weight, module))


def _magnitudes(name: str, g: nn.Parameter, v: nn.Parameter, dim: int) -> Magnitudes:
    axis = None if dim == -1 else dim  # torch writes -1 for the weight as a whole
    return Magnitudes(name, g, axis, v.numel() // max(1, g.numel()))


@contextmanager
def _at_rest(parts: Sequence[nn.Module]) -> Iterator[None]:
    """Modules in evaluation mode: spectral norm would else iterate on its vectors at each reading."""
    modes = [(part, part.training) for part in parts]
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def snapshot(made: Parametrised) -> Tensor:
    """Return a copy of the weight as it is now."""
    with torch.no_grad():
        return made.weight().detach().clone()
