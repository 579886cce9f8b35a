"""Whatever a model draws, as a function of identifiers.

Dropout and its kin get masks, see :mod:`meden.noise.torch_functions`; all other random functions of torch get a
generator of their own for each call. Nothing is kept between steps, and no global generator is read or moved, so that
models may be trained in threads. A model that draws past torch's functions, by numpy's or Python's for one, is marked
by :func:`find_other_draws`, and makes its passes with the global generators seeded, one at a time.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from meden._randomness import drawn_from, own_randomness, seed_all
from meden.noise.other_generators import names_other_generators
from meden.noise.rng import derive, stream
from meden.noise.shards import named
from meden.noise.torch_functions import MASKED, PassDraws, Rule

_OWN = ("torch.nn.modules.", "torch.nn.utils.", "meden.")
"""Where there is code that draws by functions only if it is one of these layers, unless their ``dropout`` is 0:"""
_GUESTS = "meden.integrations."
"""Layers there call the code of other libraries."""
_MARK = "_draws_past_torch"
"""Attribute of a marked model: it goes with copies and to other processes."""
LARGEST_COPIED = 2**26
"""Numbers of the largest models that are copied to be tried."""
_NOTHING = contextlib.nullcontext()
_DRAWING = (
    nn.modules.dropout._DropoutNd,
    nn.RReLU,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.Transformer,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
    nn.FractionalMaxPool2d,
    nn.FractionalMaxPool3d,
)


class Seeded(TorchFunctionMode):
    """Gives torch's random functions the draws of a forward pass while it is entered."""

    def __init__(self, draws: PassDraws) -> None:
        super().__init__()
        self.draws = draws

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, or what takes its place."""
        if (rule := _RULES.get(func)) is not None:
            return rule(self.draws, *args, **kwargs or {})
        if func in _COMPOSED:
            with self:
                return _opened(func)(*args, **kwargs or {})
        return func(*args, **kwargs or {})


def seeded(model: nn.Module, *identifiers: int | str, step: int = 0) -> contextlib.AbstractContextManager[Any]:
    """Return a context for a forward pass of a model, in which all that it draws is a function of identifiers.

    Args:
        model: any module; one that cannot draw pays nothing.
        *identifiers: of the random stream.
        step: number of the pass within it.

    Example:
        >>> model = nn.MultiheadAttention(4, 2, dropout=0.5)
        >>> x, before = torch.ones(3, 1, 4), torch.get_rng_state()
        >>> with seeded(model, "mine", step=3):
        ...     first, _ = model(x, x, x)
        >>> with seeded(model, "mine", step=3):
        ...     again, _ = model(x, x, x)
        >>> torch.equal(first, again), torch.equal(before, torch.get_rng_state())
        (True, True)
    """
    if not may_draw(model):
        return contextlib.nullcontext()
    return passing(model, PassDraws(stream(*identifiers), torch.tensor(step), (*identifiers, step)))


@contextlib.contextmanager
def passing(model: nn.Module, draws: PassDraws, name: str = "forward") -> Iterator[Seeded]:
    """Give a pass of a model its draws; ``name`` tells those of a backward pass, by hooks, from a forward pass's."""
    past_torch = draws_past_torch(model)
    others = own_randomness(derive(*draws.identifiers or (), name, *named(draws.shard))) if past_torch else _NOTHING
    with others, Seeded(draws) as mode:
        yield mode


def draws_past_torch(model: nn.Module) -> bool:
    """Say whether a model was found to draw from the global generators, past torch's functions."""
    return getattr(model, _MARK, False)


def find_other_draws(model: nn.Module, trial: Callable[[nn.Module], Any]) -> bool:
    """Mark a model that draws past torch's functions, or may; returns whether the seed decides what it draws.

    Args:
        model: any module that may draw; what it may count or remember is left alone, if it can be copied.
        trial: passes rows through a copy with its draws, see :func:`seeded`, and returns the output.
    """
    copied = _copy(model)
    with own_randomness():
        before = drawn_from()
        trial(copied)
        if drawn_from() != before or names_other_generators(model):
            for marked in (model, copied):
                setattr(marked, _MARK, True)
        seed_all(1)
        first = trial(copied)
        seed_all(2)
        again = trial(copied)
    return not isinstance(first, Tensor) or torch.allclose(first, again, rtol=1e-4, atol=1e-6, equal_nan=True)


def _copy(model: nn.Module) -> nn.Module:
    """Return a copy, or the model itself if it is large or holds what cannot be copied."""
    if sum(param.numel() for param in model.parameters()) > LARGEST_COPIED:
        return model
    try:
        return copy.deepcopy(model)
    except Exception:  # whatever a user's attributes raise
        return model


def may_draw(model: nn.Module) -> bool:
    """Say whether a model may draw by torch's functions: any code may that is neither torch's nor ours."""
    hooked = any(param._backward_hooks for param in model.parameters())
    return hooked or any(_layer_may_draw(layer) for layer in model.modules())


def _layer_may_draw(layer: nn.Module) -> bool:
    if isinstance(layer, _DRAWING):
        return getattr(layer, "dropout", 1) != 0
    code = type(layer), *layer._forward_pre_hooks.values(), *layer._forward_hooks.values()
    names = [str(part.__module__) for part in code]
    return "forward" in vars(layer) or not all(n.startswith(_OWN) and not n.startswith(_GUESTS) for n in names)


def _device(args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.device:
    """Return where a call draws: where its first tensor is, or where it is asked to."""
    tensors = [part for part in (*args, *kwargs.values()) if isinstance(part, Tensor)]
    return tensors[0].device if tensors else torch.device(kwargs.get("device") or torch.get_default_device())


def _generated(function: Any) -> Rule:
    """Return a function of torch that draws from a generator of its own, unless it is given one."""

    def rule(draws: PassDraws, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("generator") is None:
            kwargs["generator"] = draws.generator(function.__name__, _device(args, kwargs))
        return function(*args, **kwargs)

    return rule


def _generated_like(function: Any) -> Rule:
    """Return the function of a tensor's shape, type and device that draws as ``function`` does."""
    draw = _generated(function)

    def rule(draws: PassDraws, like: Tensor, *args: Any, **kwargs: Any) -> Any:
        given = {name: value for name, value in kwargs.items() if name != "memory_format" and value is not None}
        return draw(draws, *args, like.shape, **{"dtype": like.dtype, "device": like.device} | given)

    return rule


def _fractional(function: Any, num_dims: int) -> Rule:
    """Return a pooling whose windows are drawn outside of it."""

    def rule(draws: PassDraws, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("_random_samples") is None:
            num_rows = 1 if x.ndim == num_dims + 1 else len(x)
            shape = num_rows, x.shape[-num_dims - 1], num_dims
            kwargs["_random_samples"] = _RULES[torch.rand](draws, shape, dtype=x.dtype, device=x.device)
        return function(x, *args, **kwargs)

    return rule


_METHODS = (
    Tensor.bernoulli,
    Tensor.bernoulli_,
    Tensor.multinomial,
    Tensor.uniform_,
    Tensor.normal_,
    Tensor.exponential_,
    Tensor.geometric_,
    Tensor.cauchy_,
    Tensor.log_normal_,
    Tensor.random_,
)
_FUNCTIONS = (
    torch.rand,
    torch.randn,
    torch.randint,
    torch.randperm,
    torch.normal,
    torch.bernoulli,
    torch.multinomial,
    torch.poisson,
    torch.binomial,
    torch._standard_gamma,
    torch._sample_dirichlet,
    nn.init.uniform_,
    nn.init.normal_,
    nn.init.kaiming_uniform_,
)
_RULES: dict[Any, Rule] = MASKED | {function: _generated(function) for function in (*_METHODS, *_FUNCTIONS)}
_RULES |= {
    torch.rand_like: _generated_like(torch.rand),
    torch.randn_like: _generated_like(torch.randn),
    torch.randint_like: _generated_like(torch.randint),
}
_RULES |= {
    function: _fractional(function, num_dims)
    for num_dims, functions in {
        2: (F.fractional_max_pool2d, F.fractional_max_pool2d_with_indices),
        3: (F.fractional_max_pool3d, F.fractional_max_pool3d_with_indices),
    }.items()
    for function in functions
}
_COMPOSED = {
    F.multi_head_attention_forward,
    F.gumbel_softmax,
    Tensor.backward,
    torch.autograd.backward,
    torch.autograd.grad,
}
"""Functions of torch that draw by other functions of torch, or call code that does: hooks of gradients."""


@functools.cache
def _opened(function: types.FunctionType) -> types.FunctionType:
    """Return a function of torch that does its work without asking the mode once more, which sees what it calls."""
    asks = {name: lambda *_: False for name in function.__globals__ if name.startswith("has_torch_function")}
    copy = types.FunctionType(function.__code__, function.__globals__ | asks, function.__name__, function.__defaults__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
