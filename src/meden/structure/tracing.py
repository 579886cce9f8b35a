"""A model as a graph of torch operations, by ``torch.export``."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph
from torch.utils import _pytree as pytree

from meden._checks import InputError
from meden.structure.example import arguments, reason, tensors, try_example

_PREFIX = "model."


@dataclass(frozen=True, eq=False)
class Traced:
    """A run in evaluation, as a graph, and what its placeholders stand for."""

    graph: Graph
    names: dict[str, str]
    """Of the parameters and buffers, by placeholder."""
    values: dict[str, Any]
    """Of all placeholders."""
    constants: frozenset[str]
    """Placeholders of tensors that the model makes itself; those that have no name and are none are the example's."""

    def is_input(self, node: str) -> bool:
        """Say whether a placeholder is of numbers, in rows, that the model is given."""
        value = self.values[node]
        given = node not in self.names and node not in self.constants and isinstance(value, Tensor)
        return given and value.ndim > 1 and value.is_floating_point()


class _Tensors(nn.Module):
    """A model of which only the tensors of its output are returned."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """Return the tensors of the output."""
        return list(tensors(self.model(*args, **kwargs)))


def trace(model: nn.Module, example: Any) -> Traced:
    """Return the graph of a run in evaluation; the model is left as it is.

    Raises:
        InputError: if the model does not take the example, or cannot be traced.
    """
    found = list(tensors(try_example(model, example)))
    if not found or any(part.numel() == 0 for part in found):
        raise InputError("example must give an output that holds numbers, got none")
    args, kwargs = arguments(example)
    modes = {module: module.training for module in model.modules()}
    wrapped = _Tensors(model).eval()
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")  # of torch's own internals
            program = torch.export.export(wrapped, args, dict(kwargs), strict=False).run_decompositions({})
    except Exception as error:
        raise InputError(
            "model must be traceable by torch.export (no branches that depend on values), got "
            f"{type(model).__name__}: {reason(error)}"
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    tensors_of = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
    plain = {node: name.removeprefix(_PREFIX) for node, name in names.items()}
    values: dict[str, Any] = {node: tensors_of[name] for node, name in plain.items()}
    values |= {node: program.constants[name] for node, name in signature.inputs_to_lifted_tensor_constants.items()}
    leaves = pytree.tree_leaves((args, dict(kwargs)))
    values |= dict(zip(signature.user_inputs, leaves, strict=True))
    return Traced(program.graph, plain, values, frozenset(signature.inputs_to_lifted_tensor_constants))
