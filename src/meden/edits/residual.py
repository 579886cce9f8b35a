"""Dropout on what a layer adds to its input: the residual branches of a transformer, whatever they are called.

Names do not tell where a branch ends: ``post_attention_layernorm`` is the end of one in Gemma and the beginning of
another in Llama. So the layers are watched at work, see :mod:`meden.edits.branches`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from meden._checks import InputError, check_number
from meden.edits.branches import NONE, Branches, find_branches
from meden.edits.edit import Edit, Edits, apply_edits, replace_module
from meden.edits.noise import insertions, retunings
from meden.noise import Dropout
from meden.noise.places import check_place
from meden.params import check_module
from meden.structure.example import reason, try_example


def residual_dropout(model: nn.Module, p: float, *, example: Any = None, dry_run: bool = False) -> Edits:
    """Put dropout on the residual branches of a model's layers, in place: on what each layer adds to its input.

    For models that are built without such dropout, as those like Llama are: :func:`meden.edits.set_dropout` reaches
    only their attention. A branch that ends in dropout of its own gets the new probability instead of a second one.

    Args:
        model: has its layers in a ``ModuleList``, as all decoders of transformers do.
        p: probability to drop, in [0, 1).
        example: an input (a tensor, a tuple of arguments or a mapping of keyword arguments) on which branches are
            found (only its shapes count: weights and hidden values are random there), and the output in evaluation is
            proven to be unchanged; None takes ``model.dummy_inputs``, which models of transformers have.
        dry_run: only plan.

    Returns:
        the changes; print it for a table, call its ``undo`` for the way back.

    Raises:
        InputError: if p is out of range, there is no example or none that the model takes, a layer is not its input
            plus some outputs inside it (layers with the norm behind the sum, such as BERT's, have dropout there: use
            ``set_dropout``) or is it in several ways, or a copy of a layer does not run in float32.

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
    check_module(model)
    check_number("p", p, low=0.0, high=1.0, high_open=True)
    example = getattr(model, "dummy_inputs", None) if example is None else example
    if example is None:
        raise InputError(
            f"example must be an input on which branches can be found, got None for {type(model).__name__}"
        )
    layers = dict(_layers(model))
    if not layers:
        raise InputError(f"model must have its layers in a ModuleList, got {type(model).__name__} without one")
    found = _found(model, layers, example)
    edits = [edit for name in layers for edit in _edits_of(model, name, found.get(name, NONE), p)]
    once = {edit.name: edit for edit in edits}  # a dropout layer that serves both branches
    return apply_edits(model, once.values(), dry_run=dry_run, example=example)


def _found(model: nn.Module, layers: Mapping[str, nn.Module], example: Any) -> dict[str, Branches]:
    """Run an example, and return the branches of each layer that is called."""
    found: dict[str, Branches] = {}

    def find(name: str, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if name in found:
            return
        found[name] = NONE  # the copy that is watched has this hook too
        try:
            found[name] = find_branches(layer, args, kwargs)
        except Exception as error:
            raise InputError(
                "model must have layers that can be copied and run in float32, and example must be an input for "
                f"them; {name} ({type(layer).__name__}) does not run: {reason(error)}"
            ) from error

    hooks = [layer.register_forward_pre_hook(partial(find, name), with_kwargs=True) for name, layer in layers.items()]
    try:
        try_example(model, example)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _layers(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield what is in the outermost lists of modules."""
    for name, child in model.named_children():
        if isinstance(child, nn.ModuleList):
            yield from ((f"{prefix}{name}.{leaf}", layer) for leaf, layer in child.named_children())
        else:
            yield from _layers(child, f"{prefix}{name}.")


def _edits_of(model: nn.Module, name: str, branches: Branches, p: float) -> Iterator[Edit]:
    """Plan dropout at the ends of a layer's branches."""
    if not branches.ends:
        kind = type(model.get_submodule(name)).__name__
        many = f"several sums ({branches.num_ways}) are" if branches.num_ways else "no sum is"
        raise InputError(
            f"model must have layers that add branches to their input; {name} ({kind}) is not the sum of its input "
            f"and outputs inside it ({many}): insert dropout explicitly, or use set_dropout for the existing layers"
        )
    modules = {part.name: model.get_submodule(f"{name}.{part.name}") for part in branches.parts}
    for branch in branches.ends:
        same = [part.name for part in branches.parts if torch.equal(part.output, branch.output)]
        own = [leaf for leaf in same if isinstance(modules[leaf], nn.Dropout | Dropout)]
        yield _edit(model, f"{name}.{own[-1] if own else branch.name}", modules[own[-1] if own else branch.name], p)


def _edit(model: nn.Module, name: str, module: nn.Module, p: float) -> Edit:
    """Plan dropout on an output; dropout that a branch ends in gets the probability."""
    if isinstance(module, Dropout):
        return retunings({name: module}, [p])[0]
    if isinstance(module, nn.Dropout):
        change = partial(replace_module, model, name, Dropout(p))
        return Edit(name, "Dropout", f"p={module.p:g}", str(Dropout(p)), change)
    check_place(module, "output")
    return insertions({name: module}, Dropout(p), "output")[0]
