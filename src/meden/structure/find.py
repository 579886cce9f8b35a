"""The channels of a model, found in one run of it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from meden._checks import InputError
from meden.structure.assembly import assemble
from meden.structure.channels import Structure
from meden.structure.example import reason, try_example
from meden.structure.marked import Marked, Notes, Source, unlabelled
from meden.structure.operations import mark
from meden.structure.tracing import Traced, trace


def structure_of(model: nn.Module, example: Any, *, columns: Sequence[str] | None = None) -> Structure:
    """Return the channels of a model: what may leave it only as a whole.

    The model runs once, in evaluation, traced by ``torch.export``; of one on an accelerator a copy does, on the CPU.
    Through each operation it is followed whose channels its numbers are, and which numbers do not depend on the input.
    What an operation does that is not known makes the channels stay that meet it: nothing is guessed.

    Args:
        model: any that ``torch.export`` can trace.
        example: an input: a tensor, a tuple of arguments or a mapping of keyword arguments. Its first dimension counts
            rows; two are enough.
        columns: a name for each input of a row, in order: inputs of one name are one channel. None for each by itself.

    Raises:
        InputError: if the model does not take the example, cannot be traced, or ``columns`` are not as many as inputs.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> [channel.label for channel in structure_of(net, torch.zeros(2, 2)).channels]
        ['input[0]', 'input[1]', '0[0]', '0[1]', '0[2]']
    """
    traced = trace(*_on_the_cpu(model, example))
    notes = Notes()
    names: list[str] = []
    sizes = [value[0].numel() for node, value in traced.values.items() if traced.is_input(node)]
    if columns is not None and len(columns) != sum(sizes):
        raise InputError(f"columns must name the {sum(sizes)} inputs of a row, got {len(columns)} names")
    with torch.no_grad():
        _run(traced, notes, names, columns)
        return assemble(notes, names)


def _on_the_cpu(model: nn.Module, example: Any) -> tuple[nn.Module, Any]:
    """Return model and example, or copies of them: kernels of accelerators are other operations, and few are known."""
    held = (*model.parameters(), *model.buffers())
    where = next((tensor.device for tensor in held if tensor.device.type != "cpu"), None)
    if where is None:
        return model, example
    try_example(model, example)  # where it is, for what is wrong with it
    try:
        copied = copy.deepcopy(model).cpu()
    except Exception as error:  # whatever attributes of a user's raise
        told = f"model must be one that can be copied to the CPU, got one on {where}: {reason(error)}"
        raise InputError(told) from error
    return copied, pytree.tree_map_only(Tensor, lambda tensor: tensor.cpu(), example)


def _run(traced: Traced, notes: Notes, names: list[str], columns: Sequence[str] | None) -> None:
    env: dict[torch.fx.Node, Any] = {}

    def got(given: Any) -> Any:
        return torch.fx.node.map_arg(given, env.__getitem__)

    for node in traced.graph.nodes:
        if node.op == "placeholder":
            value = traced.values[node.name]
            env[node] = value if not isinstance(value, Tensor) else _placed(traced, notes, names, columns, node.name)
        elif node.op == "call_function":
            env[node] = mark(notes, node.target, got(node.args), got(node.kwargs))
        else:
            for part in _marked(got(node.args)):
                notes.fix(part.atoms, "it is an output of the model")
                notes.use_up(part, "it is an output of the model")


def _placed(traced: Traced, notes: Notes, names: list[str], columns: Sequence[str] | None, node: str) -> Marked:
    value = traced.values[node].detach()
    if node in traced.names:
        origin = torch.arange(value.numel()).view(value.shape)
        source = Source(traced.names[node], origin, value.shape, "as it is")
        return replace(unlabelled(value, known=True), sources=(source,))
    if node in traced.constants:
        return unlabelled(value, known=True)
    if not traced.is_input(node):
        return unlabelled(value, known=False)
    atoms = notes.new(value[0].numel(), "input")
    start = len(names)
    names += (
        [f"input[{n}]" for n in range(start, start + len(atoms))] if columns is None else columns[start:][: len(atoms)]
    )
    first: dict[str, int] = {}
    for atom, name in zip(atoms.tolist(), names[start:], strict=False):
        notes.join(torch.tensor(first.setdefault(name, atom)), torch.tensor(atom))
    return Marked(value, atoms.view(value.shape[1:]).expand(value.shape), torch.full((), False).expand(value.shape))


def _marked(given: Any) -> Iterator[Marked]:
    if isinstance(given, Marked):
        yield given
    elif isinstance(given, (list, tuple)):
        for part in given:
            yield from _marked(part)
