"""Which tensors and layers of a model are meant: chosen by role, name, layer type, position or predicate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import is_parametrized

from meden._checks import InputError, nearest
from meden.normalising import normalises
from meden.parametrised import Parametrised, parametrised, snapshot

Role = Literal["weight", "bias", "norm", "embedding", "other"]
Selector = str | type[nn.Module] | int | Callable[..., bool] | Sequence["Selector"]
"""How tensors or layers are selected, in the same way everywhere.

- A role: ``"weights"`` (what multiplies inputs: the weights of linear, convolution, recurrent and attention layers, and
  matrices of other layers; by structure, see :func:`role`), ``"biases"``, ``"norms"``, ``"embeddings"`` or ``"all"``.
  The layers of a role are those that hold such a tensor.
- A name pattern: of tensors, such as ``"encoder.*.weight"``, or of layers, such as ``"encoder.*"``. It selects by name
  alone, scales of norm layers included. A tensor with several names has each. Names are those of the model inside
  ``DataParallel``, ``torch.compile`` and similar wrappers. A weight made by a parametrisation has the name under which
  its layer uses it; the tensors that it is made from have none.
- A layer type: its layers, or their tensors.
- A position: the number of a layer among those that hold a parameter ``weight``, from 0, or backwards from -1.
- A function of ``(name, layer, tensor)`` for tensors, or of ``(name, layer)`` for layers, that returns a bool.
- A sequence of these: their union.
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
_EMBEDDING_NAME = re.compile(r"embed|token|(^|_)(pos(ition|itional)?|places?)(_|$)")
_SINGLE_NAME = re.compile(r"embed|token|pos|scale|gate|gamma|beta|alpha|shift|slope|temperature|query|prompt|mask")
"""Of what is a single row or column, and multiplies no inputs."""
_NEVER_CALLED = nn.modules.linear.NonDynamicallyQuantizableLinear
_WRAPPERS = (DataParallel, DistributedDataParallel)
_WRAPPED = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
"""Names that torch gives to what it compiles, shards and checkpoints, and Lightning's Fabric to what it sets up."""


class Site(NamedTuple):
    """A place where a tensor is used as a weight: its dotted name and the module that holds it."""

    name: str
    module: nn.Module
    param: Tensor
    """The parameter; of a weight that is made from others what it is now."""
    made: Parametrised | None = None
    """How it is made, unless it is a parameter itself."""

    @property
    def leaf(self) -> str:
        """The last part of the name, in lower case."""
        return self.name.rpartition(".")[2].lower()

    @property
    def sources(self) -> tuple[nn.Parameter, ...]:
        """The parameters that decide it: itself, or what it is made from."""
        return (self.param,) if self.made is None else tuple(self.made.originals.values())  # type: ignore[return-value]


def tensors(model: nn.Module) -> list[tuple[Site, ...]]:
    """Return every tensor once, in the model's order, each with all of its sites (several if it is tied).

    Weights that a parametrisation makes stand for what they are made from.
    """
    places: dict[tuple[bool, int], list[Site]] = {}
    for site in _sites(model):
        places.setdefault((site.made is None, id(site.sources[0])), []).append(site)
    return [tuple(sites) for sites in places.values()]


def role(sites: Sequence[Site]) -> Role:
    """Return what a tensor is for; a tied one is an embedding as soon as one of its sites is."""
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


def select(model: nn.Module, on: Selector) -> dict[str, Tensor]:
    """Choose parameters of a model, and weights that it makes from others.

    Args:
        model: any module.
        on: which tensors, see :data:`Selector`.

    Returns:
        ``{name: parameter}`` in the model's order; a tied tensor counts once, under its first name. A weight that a
        parametrisation makes is a copy of what it is now.

    Raises:
        InputError: if ``on`` is no selector or selects nothing, or if a lazy layer has no shape yet.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
        >>> list(select(model, "weights")), list(select(model, -1))
        (['0.weight'], ['1.weight', '1.bias'])
    """
    return {name: sites[0].param for name, sites in select_sites(model, on).items()}


def select_sites(model: nn.Module, on: Selector) -> dict[str, tuple[Site, ...]]:
    """Do what :func:`select` does, and return all sites of each tensor."""
    check_selector(on)
    places = tensors(model)
    meant = _matcher(on, model, _weighted(model))
    chosen = {s[0].name: s for s in places if any(meant(site.name, site.module, site.param) for site in s)}
    _check_chosen(chosen, on, "parameter", [site.name for sites in places for site in sites])
    return chosen


def inner_names(model: nn.Module) -> dict[str, str]:
    """Return the names of a model's state, and what they are inside of wrappers such as ``torch.compile``'s.

    Example:
        >>> inner_names(DataParallel(nn.Linear(2, 1)))
        {'module.weight': 'weight', 'module.bias': 'bias'}
    """
    wrapped = [
        (f"{name}.".lstrip("."), leaf)
        for name, module in model.named_modules(remove_duplicate=False)
        for leaf in module._modules
        if _is_wrapped(module, leaf)
    ]
    names = {name: name for name in model.state_dict()}
    for prefix, leaf in sorted(wrapped, key=lambda place: len(place[0]), reverse=True):
        path = f"{prefix}{leaf}."
        names = {name: prefix + n.removeprefix(path) if n.startswith(path) else n for name, n in names.items()}
    return names


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
    for name, module in _layers(model):
        if name and isinstance(module, kind) and not isinstance(module, (_NEVER_CALLED, *without)):
            places.setdefault(module, []).append(name)
    meant = _matcher(on, model, _weighted(model) if kind is nn.Module else list(places))
    chosen = {names[0]: layer for layer, names in places.items() if any(meant(name, layer) for name in names)}
    what = "layer" if kind is nn.Module else f"{kind.__name__.lower()} layer"
    _check_chosen(chosen, on, what, [name for names in places.values() for name in names])
    return chosen


def check_module(model: object) -> None:
    """Check that a model is one of torch.

    Raises:
        InputError: if it is not.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, got {type(model).__name__}")


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
        chosen = [site for sites in tensors(model) if role(sites) == _ROLES[on] for site in sites]
        names, layers = {site.name for site in chosen}, {site.module for site in chosen}
        return lambda name, layer, *tensor: name in names if tensor else layer in layers
    if isinstance(on, str):
        return lambda name, *_: fnmatchcase(name, on)
    if isinstance(on, type):
        return lambda _, layer, *__: isinstance(layer, on)
    if isinstance(on, int):
        counts = counted[on] if -len(counted) <= on < len(counted) else None
        return lambda _, layer, *__: layer is counts
    if callable(on):
        return on
    parts = [_matcher(part, model, counted) for part in on]
    return lambda *place: any(part(*place) for part in parts)


def _check_chosen(chosen: Mapping[str, Any], on: Selector, what: str, names: Sequence[str]) -> None:
    if not chosen:
        hint = nearest(on, [*_ROLES, "all", *names]) if isinstance(on, str) else ""
        if isinstance(on, str) and any(name.startswith(f"{on}.") for name in names):  # a layer or a block of them
            hint = f"; did you mean '{on}.*'?"
        if isinstance(on, str) and on in _ROLES:
            hint = "; all have another role (a weight tied to an embedding counts as an embedding): select them by name"
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "it has none"
        raise InputError(f"on must select at least one {what} of the model ({shown}), got {on!r}{hint}")


def _weighted(model: nn.Module) -> list[nn.Module]:
    """Return the layers that a position counts."""
    layers = dict.fromkeys(module for _, module in _layers(model) if not isinstance(module, _NEVER_CALLED))
    return [m for m in layers if m._parameters.get("weight") is not None or "weight" in parametrised(m)]


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every layer under each of its names, those inside parametrisations apart; wrappers have no name."""
    yield from all_layers("", model, parametrisations=False)


def all_layers(name: str, module: nn.Module, *, parametrisations: bool = True) -> Iterator[tuple[str, nn.Module]]:
    """Yield a layer and every layer below it, under each of its names; wrappers have no name.

    Example:
        >>> from torch import nn
        >>> [name for name, _ in all_layers("", DataParallel(nn.Sequential(nn.Linear(2, 1))))]
        ['', '', '0']
    """
    yield name, module
    for leaf, child in module._modules.items():
        if child is None or (leaf == "parametrizations" and is_parametrized(module) and not parametrisations):
            continue
        if leaf == "_original_module" and "_forward_module" in module._modules:  # the same once more
            continue
        below = name if _is_wrapped(module, leaf) else f"{name}.{leaf}".lstrip(".")
        yield from all_layers(below, child, parametrisations=parametrisations)


def _is_wrapped(module: nn.Module, leaf: str) -> bool:
    """Say whether a module does nothing but wrap its child of this name."""
    return leaf in _WRAPPED or (leaf == "module" and isinstance(module, _WRAPPERS))


def _sites(model: nn.Module) -> Iterator[Site]:
    for layer, module in _layers(model):
        prefix = f"{layer}." if layer else ""
        made = parametrised(module)
        for leaf, how in made.items():
            yield Site(prefix + leaf, module, snapshot(how), how)
        hidden = {name for how in made.values() for name in how.originals}
        for leaf, param in module._parameters.items():
            if isinstance(param, UninitializedParameter):
                raise InputError(
                    f"model must have initialised parameters, but {prefix}{leaf} has no shape yet: run one batch "
                    "through it first"
                )
            if param is not None and leaf not in hidden:
                yield Site(prefix + leaf, module, param)


def _role(site: Site) -> Role:
    if "bias" in site.leaf:
        return "bias"
    if isinstance(site.module, _WEIGHTED) and site.param.ndim >= 2:
        return "weight"
    if isinstance(site.module, _EMBEDDINGS):
        return "embedding"
    if isinstance(site.module, _NORMS) or normalises(site.module):
        return "norm"
    if site.leaf == "weight" and site.param.ndim == 2:  # of a layer of one input or output too
        return "weight"
    if sum(size > 1 for size in site.param.shape) < 2:  # a scale, a token or a gate, also one of shape (C, 1, 1)
        return "weight" if site.param.ndim == 2 and not _SINGLE_NAME.search(site.leaf) else "other"
    return "embedding" if _EMBEDDING_NAME.search(site.leaf) else "weight"


_ROLES: dict[str, Role] = {"weights": "weight", "biases": "bias", "norms": "norm", "embeddings": "embedding"}
