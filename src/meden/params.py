"""Which tensors and layers of a model are meant: chosen by role, name, layer type, position or predicate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList

from meden._checks import InputError, nearest

Role = Literal["weight", "bias", "norm", "embedding", "other"]
Selector = str | type[nn.Module] | int | Callable[..., bool] | Sequence["Selector"]
"""What is meant, the same words for tensors and for layers:

- a role: ``"weights"`` (what multiplies inputs: weights of linear, convolution, recurrent and attention layers, and
  matrices of other layers; by structure, see :func:`role`), ``"biases"`` or ``"all"``; the layers of a role are
  those that hold such a tensor;
- a name glob: of tensors such as ``"encoder.*.weight"``, of layers such as ``"encoder.*"``; what has several names
  answers to each;
- a layer type: its layers, their tensors;
- a position: the number of a layer among those that hold a parameter ``weight``, from 0, or from -1 backwards;
- a function of ``(name, layer, tensor)`` for tensors, of ``(name, layer)`` for layers, which says yes or no;
- a sequence of these: their union.
"""

_WEIGHTED = (
    nn.Linear,
    nn.Bilinear,
    nn.modules.conv._ConvNd,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_EMBEDDING_NAME = re.compile(r"embed|token|(^|_)pos(ition|itional)?(_|$)")
_NEVER_CALLED = nn.modules.linear.NonDynamicallyQuantizableLinear
_COMPILED = "_orig_mod."


class Site(NamedTuple):
    """A place where a parameter is used: its dotted name and the module that holds it."""

    name: str
    module: nn.Module
    param: nn.Parameter

    @property
    def leaf(self) -> str:
        """The last part of the name, in lower case."""
        return self.name.rpartition(".")[2].lower()


def tensors(model: nn.Module) -> list[tuple[Site, ...]]:
    """Return every parameter once, in the model's order, each with all of its sites (several if it is tied)."""
    places: dict[int, list[Site]] = {}
    for site in _sites(model):
        places.setdefault(id(site.param), []).append(site)
    return [tuple(sites) for sites in places.values()]


def role(sites: Sequence[Site]) -> Role:
    """Return what a parameter is for; a tied one is an embedding as soon as one of its sites is."""
    roles: list[Role] = [_role(site) for site in sites]
    return "embedding" if "embedding" in roles else roles[0]


def forward_scale(sites: Sequence[Site]) -> float:
    """Return what the forward pass multiplies a parameter by, as its layer declares: 1 unless it does.

    A layer declares it by a number under the parameter's name and ``_scale``, such as ``weight_scale``.

    Raises:
        InputError: if a tied parameter is used at several scales.
    """
    scales = {float(s) for site in sites if isinstance(s := getattr(site.module, f"{site.leaf}_scale", 1.0), float)}
    if len(scales) > 1:
        names = ", ".join(site.name for site in sites)
        raise InputError(f"a tied parameter must have one scale, got {sorted(scales)} for {names}")
    return scales.pop() if scales else 1.0


def select(model: nn.Module, on: Selector) -> dict[str, nn.Parameter]:
    """Choose parameters of a model.

    Args:
        model: any module.
        on: which tensors, see :data:`Selector`.

    Returns:
        ``{name: parameter}`` in the model's order; a tied tensor counts once, under its first name.

    Raises:
        InputError: if ``on`` is no selector or selects nothing, or if a lazy layer has no shape yet.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
        >>> list(select(model, "weights")), list(select(model, -1))
        (['0.weight'], ['1.weight', '1.bias'])
    """
    check_selector(on)
    places = tensors(model)
    meant = _matcher(on, model, _weighted(model))
    chosen = {sites[0].name: sites[0].param for sites in places if any(meant(*site) for site in sites)}
    _check_chosen(chosen, on, "parameter", [site.name for sites in places for site in sites])
    return chosen


def select_modules(
    model: nn.Module,
    on: Selector,
    *,
    kind: type[nn.Module] = nn.Module,
    without: tuple[type[nn.Module], ...] = (),
) -> dict[str, Any]:
    """Choose layers of a model, which is not one of them.

    The output projection of ``nn.MultiheadAttention`` is none: attention reads its weight past the layer.

    Args:
        model: any module.
        on: which layers, see :data:`Selector`.
        kind: only layers of this type; a position then is one among all of them.
        without: no layers of these types.

    Returns:
        ``{name: layer}`` in the model's order; a shared layer counts once, under its first name.

    Raises:
        InputError: if ``on`` is no selector or selects nothing.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
        >>> list(select_modules(model, "weights")), list(select_modules(model, -1))
        (['0', '2'], ['2'])
    """
    check_selector(on)
    places: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if name and isinstance(module, kind) and not isinstance(module, (_NEVER_CALLED, *without)):
            places.setdefault(module, []).append(name.replace(_COMPILED, ""))
    meant = _matcher(on, model, _weighted(model) if kind is nn.Module else list(places))
    chosen = {names[0]: layer for layer, names in places.items() if any(meant(name, layer) for name in names)}
    what = "layer" if kind is nn.Module else f"{kind.__name__.lower()} layer"
    _check_chosen(chosen, on, what, [name for names in places.values() for name in names])
    return chosen


def check_selector(on: object) -> None:
    """Check that ``on`` has one of the forms of a :data:`Selector`.

    Raises:
        InputError: if it has not.
    """
    if isinstance(on, Sequence) and not isinstance(on, str) and on:
        for part in on:
            check_selector(part)
    elif not _is_single(on):
        raise InputError(
            f"on must be a role, a name glob, a layer type, a position, a function or a list of these, got {on!r}"
        )


def selector_name(on: Selector) -> str:
    """Return a selector in a word, for labels."""
    return str(on) if isinstance(on, (str, int)) else getattr(on, "__name__", "several")


def _is_single(on: object) -> bool:
    if isinstance(on, type):
        return issubclass(on, nn.Module)
    if isinstance(on, (bool, nn.Module)):
        return False
    return isinstance(on, (str, int)) or callable(on)


def _matcher(on: Selector, model: nn.Module, counted: Sequence[nn.Module]) -> Callable[..., bool]:
    """Return what says of a place, ``(name, layer, tensor)`` or ``(name, layer)``, whether it is meant.

    A position is one among the layers that are ``counted``.
    """
    if on == "all":
        return lambda *_: True
    if isinstance(on, str) and on in _ROLES:
        ids = {id(sites[0].param) for sites in tensors(model) if role(sites) == _ROLES[on]}
        return lambda _, layer, *tensor: any(id(t) in ids for t in tensor or _own(layer).values())
    if isinstance(on, str):
        return lambda name, *_: fnmatchcase(name, on)
    if isinstance(on, type):
        return lambda _, layer, *__: isinstance(layer, on)
    if isinstance(on, int):
        chosen = counted[on] if -len(counted) <= on < len(counted) else None
        return lambda _, layer, *__: layer is chosen
    if callable(on):
        return on
    parts = [_matcher(part, model, counted) for part in on]
    return lambda *place: any(part(*place) for part in parts)


def _check_chosen(chosen: Mapping[str, Any], on: Selector, what: str, names: Sequence[str]) -> None:
    if not chosen:
        hint = nearest(on, [*_ROLES, "all", *names]) if isinstance(on, str) else ""
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "it has none"
        raise InputError(f"on must select at least one {what} of the model ({shown}), got {on!r}{hint}")


def _weighted(model: nn.Module) -> list[nn.Module]:
    """Return the layers that a position counts."""
    return [m for m in model.modules() if "weight" in _own(m) and not isinstance(m, _NEVER_CALLED)]


def _own(module: nn.Module) -> dict[str, nn.Parameter]:
    return dict(module.named_parameters(recurse=False))


def _sites(model: nn.Module) -> Iterator[Site]:
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, param in module.named_parameters(prefix=prefix, recurse=False, remove_duplicate=False):
            if isinstance(param, UninitializedParameter):
                raise InputError(f"model must have its shapes: run one batch through it first, {name} has none yet")
            yield Site(name.replace(_COMPILED, ""), module, param)


def _role(site: Site) -> Role:
    if isinstance(site.module, ParametrizationList):
        return _parametrised_role(site)
    if "bias" in site.leaf:
        return "bias"
    if isinstance(site.module, _NORMS) or "norm" in type(site.module).__name__.lower():
        return "norm"
    if isinstance(site.module, _EMBEDDINGS):
        return "embedding"
    if isinstance(site.module, _WEIGHTED) and site.param.ndim >= 2 and site.leaf != "weight_g":
        return "weight"
    if site.leaf == "weight" and site.param.ndim == 2:  # of a layer of one input or output too
        return "weight"
    if sum(size > 1 for size in site.param.shape) < 2:  # a scale, a token or a gate, also one of shape (C, 1, 1)
        return "other"
    return "embedding" if _EMBEDDING_NAME.search(site.leaf) else "weight"


def _parametrised_role(site: Site) -> Role:
    """Return the role of what a tensor is made from; weight norm keeps its magnitudes apart."""
    tensor = site.name.split(".")[-2].lower()
    if "bias" in tensor:
        return "bias"
    is_magnitude = site.leaf == "original0" and any(isinstance(part, _WeightNorm) for part in site.module.children())
    return "weight" if "weight" in tensor and site.param.ndim >= 2 and not is_magnitude else "other"


_ROLES: dict[str, Role] = {"weights": "weight", "biases": "bias"}
