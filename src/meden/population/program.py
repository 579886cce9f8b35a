"""A function traced once for the shapes it meets, then replayed: no transform is paid for again."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from meden.population.recording import Recorder


class Program:
    """Replays the tensor operations that a function did when it first met arguments of these shapes.

    The recorded graph is run by TorchScript's interpreter, which costs less per operation than Python and
    lets other threads work meanwhile.

    Args:
        function: of any nest of tensors to a tuple of tensors; it may write into its arguments. What is no tensor must
            not change between calls.
    """

    _tracing = threading.Lock()
    """Stacks share functions, whose models are borrowed while they are traced: one thread at a time."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self.function = function
        self._traces: dict[Any, Callable[..., tuple[Tensor, ...]]] = {}

    def __call__(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Call the function."""
        leaves = _leaves(arguments)
        return self._trace(leaves, arguments)(*leaves)

    def trace(self, *arguments: Any) -> None:
        """Trace for these shapes; nothing is written to."""
        self._trace(_leaves(arguments), arguments)

    def _trace(self, leaves: Sequence[Tensor], arguments: Any) -> Callable[..., tuple[Tensor, ...]]:
        """Return the trace for these shapes, a function of the leaves."""
        shapes = tuple([leaf.shape for leaf in leaves])
        if shapes not in self._traces:
            with self._tracing:
                self._traces[shapes] = trace(self.function, arguments)
        return self._traces[shapes]


def _leaves(nest: Any) -> list[Tensor]:
    """Return the tensors of a nest in the order of torch's own function, which takes a tenth of a small step."""
    found: list[Tensor] = []
    for part in nest.values() if isinstance(nest, dict) else nest:
        if isinstance(part, Tensor):
            found.append(part)
        else:
            found += _leaves(part)
    return found


def trace(function: Callable[..., tuple[Tensor, ...]], arguments: Any) -> Callable[..., tuple[Tensor, ...]]:
    """Return the tensor operations of a function as one script of the flat arguments, which are left as they were.

    Raises:
        RuntimeError: if the function asks for a number that depends on the arguments, which a replay could not.
    """
    leaves, nest = pytree.tree_flatten(arguments)
    parts = [leaf.clone() for leaf in leaves]
    recorder = Recorder(parts)
    with recorder:
        outputs = function(*pytree.tree_unflatten(parts, nest))
    graph = recorder.module(outputs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it notes what it takes for a constant: the positions of the noise
            return torch.jit.trace(graph, tuple(leaf.clone() for leaf in leaves), check_trace=False)  # type: ignore[no-any-return, no-untyped-call]
    except RuntimeError:  # it does not know every operation, such as the backward pass of batch norm
        return graph.forward
