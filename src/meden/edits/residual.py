"""Dropout on what a layer adds to its input: the residual branches of a transformer, whatever they are called.

Names do not tell where a branch ends: ``post_attention_layernorm`` is the end of one in Gemma and the beginning of
another in Llama. So the layers are watched on an example: the branches are those outputs inside a layer whose sum is
what the layer adds to its input.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from meden._checks import InputError, check_number
from meden.edits.edit import Edit, Edits, apply_edits, replace_module, run_quietly
from meden.edits.noise import insertions, retunings
from meden.noise import Dropout
from meden.noise.places import check_place

MOST_PARTS = 12
"""Outputs inside a layer that are tried as its branches, at most: all their sums are."""
ROUNDINGS = 8
"""Rounding errors by which a sum may differ from what the model computed."""


class _Part(NamedTuple):
    """An output inside a layer."""

    name: str
    module: nn.Module
    output: Tensor


class _Pass:
    """One pass through a layer: what came in, what went out, and the outputs of all that is inside, in their order."""

    def __init__(self) -> None:
        self.entered: Tensor | None = None
        self.left: Tensor | None = None
        self.parts: list[_Part] = []


def residual_dropout(model: nn.Module, p: float, *, example: Any = None, dry_run: bool = False) -> Edits:
    """Put dropout on the residual branches of a model's layers, in place: on what each layer adds to its input.

    For models that are built without such dropout, as those like Llama are: :func:`meden.edits.set_dropout` reaches
    only their attention. A branch that ends in dropout of its own gets the new probability instead of a second one.

    Args:
        model: has its layers in a ``ModuleList``, as all decoders of transformers do.
        p: probability to drop, in [0, 1).
        example: an input (a tensor, a tuple of arguments or a mapping of keyword arguments) on which branches are
            found, and the output in evaluation is proven to be unchanged; None takes ``model.dummy_inputs``, which
            models of transformers have.
        dry_run: only plan.

    Returns:
        the changes; print it for a table, call its ``undo`` for the way back.

    Raises:
        InputError: if p is out of range, there is no example, or a layer is not its input plus some outputs inside it
            (layers with the norm behind the sum, such as BERT's, which have dropout there: use ``set_dropout``).

    Example:
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.norm, self.mlp = nn.LayerNorm(4), nn.Linear(4, 4)
        ...     def forward(self, x):
        ...         return x + self.mlp(self.norm(x))
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layers = nn.ModuleList([Block(), Block()])
        ...     def forward(self, x):
        ...         return self.layers[1](self.layers[0](x))
        >>> print(residual_dropout(Net(), 0.1, example=torch.randn(2, 4)))
        name          layer   before  after
        layers.0.mlp  Linear  -       Dropout(p=0.1) on output
        layers.1.mlp  Linear  -       Dropout(p=0.1) on output

    Reference:
        A. Vaswani and others, Attention is all you need, section 5.4, 2017.
    """
    check_number("p", p, low=0.0, high=1.0, high_open=True)
    example = getattr(model, "dummy_inputs", None) if example is None else example
    if example is None:
        raise InputError(
            f"example must be an input on which branches can be found, got None for {type(model).__name__}"
        )
    layers = dict(_layers(model))
    if not layers:
        raise InputError(f"model must have its layers in a ModuleList, got {type(model).__name__} without one")
    edits = [edit for name, seen in _watched(model, layers, example).items() for edit in _edits(model, name, seen, p)]
    once = {edit.name: edit for edit in edits}  # a dropout layer that serves both branches
    return apply_edits(model, once.values(), dry_run=dry_run, example=example)


def _layers(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield what is in the outermost lists of modules."""
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{prefix}{name}.{leaf}", layer) for leaf, layer in child.named_children())
        else:
            yield from _layers(child, f"{prefix}{name}.")


def _watched(model: nn.Module, layers: Mapping[str, nn.Module], example: Any) -> dict[str, _Pass]:
    """Run an example, and return what was seen of each layer."""
    seen = {name: _Pass() for name in layers}
    hooks = []
    for name, layer in layers.items():
        hooks.append(layer.register_forward_pre_hook(partial(_enter, seen[name]), with_kwargs=True))
        for leaf, module in layer.named_modules():
            if leaf:
                hooks.append(module.register_forward_hook(partial(_pass, seen[name], f"{name}.{leaf}")))
        hooks.append(layer.register_forward_hook(partial(_leave, seen[name])))
    try:
        run_quietly(model, example)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _enter(seen: _Pass, _layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    seen.entered = _tensor(args[0] if args else next(iter(kwargs.values()), None))


def _pass(seen: _Pass, name: str, module: nn.Module, _args: Any, output: Any) -> None:
    tensor = _tensor(output)
    if tensor is not None and seen.entered is not None and tensor.shape == seen.entered.shape:
        seen.parts.append(_Part(name, module, tensor))


def _leave(seen: _Pass, _layer: nn.Module, _args: Any, output: Any) -> None:
    seen.left = _tensor(output)


def _tensor(value: Any) -> Tensor | None:
    """Return a copy of an output, or of the first of several: what follows may change it in place."""
    first = value[0] if isinstance(value, (tuple, list)) and value else value
    return first.detach().clone() if isinstance(first, Tensor) and first.is_floating_point() else None


def _edits(model: nn.Module, name: str, seen: _Pass, p: float) -> Iterator[Edit]:
    """Plan dropout at the ends of a layer's branches."""
    branches = _branches(seen)
    if not branches:
        kind = type(model.get_submodule(name)).__name__
        raise InputError(
            f"model must have layers that add branches to their input; {name} ({kind}) is not the sum of its input and "
            "outputs inside it: give another example, or use set_dropout for the dropout that it has"
        )
    for branch in branches:
        own = [part for part in seen.parts if _is_dropout(part) and torch.equal(part.output, branch.output)]
        if own and isinstance(own[-1].module, Dropout):
            yield retunings({own[-1].name: own[-1].module}, [p])[0]
        elif own:
            before = f"p={own[-1].module.p:g}"
            change = partial(replace_module, model, own[-1].name, Dropout(p))
            yield Edit(own[-1].name, "Dropout", before, str(Dropout(p)), change)
        else:
            check_place(branch.module, "output")
            yield insertions({branch.name: branch.module}, Dropout(p), "output")[0]


def _is_dropout(part: _Part) -> bool:
    return isinstance(part.module, nn.Dropout | Dropout)


def _branches(seen: _Pass) -> tuple[_Part, ...]:
    """Return the fewest outputs whose sum is what the layer adds to its input, those of the outermost modules."""
    if seen.entered is None or seen.left is None or seen.left.shape != seen.entered.shape:
        return ()
    entered, left = seen.entered.double(), seen.left.double()
    error = ROUNDINGS * torch.finfo(seen.left.dtype).eps * float(torch.maximum(entered.abs(), left.abs()).max())
    parts = _distinct(seen.parts)[-MOST_PARTS:]
    for num in range(1, len(parts) + 1):
        for chosen in itertools.combinations(parts, num):
            total = torch.stack([part.output.double() for part in chosen]).sum(0)
            if float((entered + total - left).abs().max()) <= error:
                return chosen
    return ()


def _distinct(parts: list[_Part]) -> list[_Part]:
    """Return each output once: by the outermost module that gives it, which is the last to be done."""
    kept: list[_Part] = []
    for part in parts:
        kept = [other for other in kept if not torch.equal(other.output, part.output)] + [part]
    return kept
