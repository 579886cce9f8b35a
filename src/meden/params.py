"""Which tensors: parameters chosen by role, name, layer type or predicate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from torch import nn
from torch.nn.parameter import UninitializedParameter

from meden._checks import InputError, nearest

Role = Literal["weight", "bias", "norm", "embedding", "other"]
Predicate = Callable[[str, nn.Module, nn.Parameter], bool]
Selector = str | type[nn.Module] | Predicate | Sequence["Selector"]

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


def select(model: nn.Module, on: Selector) -> dict[str, nn.Parameter]:
    """Choose parameters of a model.

    Args:
        model: any module.
        on: ``"weights"`` (what multiplies inputs: weights of linear, convolution, recurrent and attention layers, and
            matrices of other layers; told by structure, see :func:`role`), ``"biases"``, ``"all"``, a name glob such
            as ``"encoder.*.weight"``, a layer type, a function of ``(name, module, param)``, or a sequence of these
            (their union).

    Returns:
        ``{name: parameter}`` in the model's order; a tied tensor counts once, under its first name.

    Raises:
        InputError: if ``on`` is something else or selects nothing, or if a lazy layer has no shape yet.

    Example:
        >>> from torch import nn
        >>> list(select(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)), "weights"))
        ['0.weight']
    """
    check_selector(on)
    places = tensors(model)
    chosen = {sites[0].name: sites[0].param for sites in places if _matches(on, sites)}
    if not chosen:
        names = [site.name for sites in places for site in sites]
        hint = nearest(on, [*_ROLES, "all", *names]) if isinstance(on, str) else ""
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise InputError(f"on must select at least one parameter of the model ({shown}), got {on!r}{hint}")
    return chosen


def check_selector(on: object) -> None:
    """Check that ``on`` has one of the forms that :func:`select` takes.

    Raises:
        InputError: if it has not.
    """
    if isinstance(on, Sequence) and not isinstance(on, str) and on:
        for part in on:
            check_selector(part)
    elif not (issubclass(on, nn.Module) if isinstance(on, type) else isinstance(on, str) or callable(on)):
        raise InputError(f"on must be a role, a name glob, a layer type, a function or a list of these, got {on!r}")


def _sites(model: nn.Module) -> Iterator[Site]:
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, param in module.named_parameters(prefix=prefix, recurse=False, remove_duplicate=False):
            if isinstance(param, UninitializedParameter):
                raise InputError(f"model must have its shapes: run one batch through it first, {name} has none yet")
            yield Site(name.replace(_COMPILED, ""), module, param)


def _role(site: Site) -> Role:
    if "bias" in site.leaf:
        return "bias"
    if isinstance(site.module, _NORMS) or "norm" in type(site.module).__name__.lower():
        return "norm"
    if isinstance(site.module, _EMBEDDINGS):
        return "embedding"
    if isinstance(site.module, _WEIGHTED) and site.param.ndim >= 2 and site.leaf != "weight_g":
        return "weight"
    if sum(size > 1 for size in site.param.shape) < 2:  # a scale, a token or a gate, also one of shape (C, 1, 1)
        return "other"
    return "embedding" if _EMBEDDING_NAME.search(site.leaf) else "weight"


def _matches(on: Selector, sites: Sequence[Site]) -> bool:
    if isinstance(on, str):
        if on == "all":
            return True
        return role(sites) == _ROLES[on] if on in _ROLES else any(fnmatchcase(site.name, on) for site in sites)
    if isinstance(on, type):
        return any(isinstance(site.module, on) for site in sites)
    if callable(on):
        return any(on(*site) for site in sites)
    return any(_matches(part, sites) for part in on)


_ROLES: dict[str, Role] = {"weights": "weight", "biases": "bias"}
