"""Which tensors: parameters chosen by role, name, layer type or predicate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn

from meden._checks import InputError, nearest

Predicate = Callable[[str, nn.Module, nn.Parameter], bool]
Selector = str | type[nn.Module] | Predicate | Sequence["Selector"]

_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


class Site(NamedTuple):
    """A parameter and the module that owns it."""

    name: str
    module: nn.Module
    param: nn.Parameter


def sites(model: nn.Module) -> Iterator[Site]:
    """Yield every distinct parameter once (tied tensors under the first of their names) with its module."""
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for leaf, param in module.named_parameters(prefix=prefix, recurse=False):
            if id(param) not in seen:
                seen.add(id(param))
                yield Site(leaf, module, param)


def tied(model: nn.Module) -> dict[str, list[str]]:
    """Return ``{first name: other names}`` of the parameters that are reached by several names."""
    names: dict[int, list[str]] = {}
    for name, param in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(param), []).append(name)
    return {first: rest for first, *rest in names.values() if rest}


def is_norm(module: nn.Module) -> bool:
    """Say whether ``module`` normalises: torch's classes, or a class of the user's with ``norm`` in its name."""
    return isinstance(module, _NORMS) or "norm" in type(module).__name__.lower()


def is_embedding(name: str, module: nn.Module) -> bool:
    """Say whether the parameter is a table of embeddings, by its layer or (a bare parameter) by its name."""
    return isinstance(module, _EMBEDDINGS) or "embed" in name.lower()


def is_bias(name: str) -> bool:
    """Say whether the last part of ``name`` is a bias (``bias``, ``bias_ih_l0``, ``in_proj_bias``)."""
    return "bias" in name.rpartition(".")[2]


def is_weight(name: str, module: nn.Module, param: nn.Parameter) -> bool:
    """Say whether the parameter multiplies inputs: a matrix or a filter, not a bias, scale, norm or embedding."""
    wide = sum(size > 1 for size in param.shape) >= 1 and param.ndim >= 2
    return wide and not is_bias(name) and not is_norm(module) and not is_embedding(name, module)


_ROLES: dict[str, Predicate] = {
    "weights": is_weight,
    "biases": lambda name, _module, _param: is_bias(name),
    "all": lambda _name, _module, _param: True,
}


def select(model: nn.Module, on: Selector) -> dict[str, nn.Parameter]:
    """Choose parameters of a model.

    Args:
        model: any module.
        on: ``"weights"`` (weights of linear, convolution, recurrent and attention layers, told by structure),
            ``"biases"``, ``"all"``, a name glob such as ``"encoder.*.weight"``, a layer type, a function of
            ``(name, module, param)``, or a sequence of these (their union).

    Returns:
        ``{name: parameter}`` in the model's order; a tied tensor counts once, under its first name.

    Raises:
        InputError: if nothing is selected.

    Example:
        >>> from torch import nn
        >>> list(select(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)), "weights"))
        ['0.weight']
    """
    chosen = {s.name: s.param for s in sites(model) if _matches(on, *s)}
    if not chosen:
        names = [s.name for s in sites(model)]
        hint = nearest(on, names) if isinstance(on, str) else ""
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise InputError(f"on must select at least one parameter of the model ({shown}), got {on!r}{hint}")
    return chosen


def _matches(on: Selector, name: str, module: nn.Module, param: nn.Parameter) -> bool:
    if isinstance(on, str):
        return _ROLES[on](name, module, param) if on in _ROLES else fnmatchcase(name, on)
    if isinstance(on, type):
        return isinstance(module, on)
    if callable(on):
        return bool(on(name, module, param))
    if isinstance(on, Sequence):
        return any(_matches(part, name, module, param) for part in on)
    raise InputError(f"on must be a role, a name glob, a layer type, a function or a list of these, got {on!r}")
