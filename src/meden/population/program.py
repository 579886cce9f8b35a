"""A function traced once for the shapes it meets, then replayed: no transform is paid for again."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

aten = torch.ops.aten
_SAME_SHAPE = {aten.view.default, aten.expand.default, aten._unsafe_view.default, aten.reshape.default}


class Program:
    """Replays the tensor operations that a function did when it first met arguments of these shapes.

    The graph that make_fx records is run by TorchScript's interpreter, which costs less per operation than Python and
    lets other threads work meanwhile.

    Args:
        function: of any nest of tensors to a tuple of tensors; it may write into its arguments. What is no tensor must
            not change between calls.
    """

    _tracing = threading.Lock()
    """Tracing patches torch for the whole process, so that one thread at a time does it."""

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
    """Return the tensor operations of a function as one script of the flat arguments, which are left as they were."""
    leaves, nest = pytree.tree_flatten(arguments)

    def flat(*parts: Tensor) -> tuple[Tensor, ...]:
        return function(*pytree.tree_unflatten(parts, nest))

    graph: fx.GraphModule = make_fx(flat)(*(leaf.clone() for leaf in leaves))
    _drop_idle_views(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it notes what it takes for a constant: the positions of the noise
            return torch.jit.trace(graph, tuple(leaf.clone() for leaf in leaves), check_trace=False)  # type: ignore[no-any-return, no-untyped-call]
    except RuntimeError:  # it does not know every operation, such as the backward pass of batch norm
        # forward itself, past Module.__call__, which is patched while another thread traces
        return graph.forward


def _drop_idle_views(module: fx.GraphModule) -> None:
    """Take out views that change no shape, and pairs of transposes that undo each other: vmap leaves many."""
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node):
            continue
        if node.target in _SAME_SHAPE and _layout(node) == _layout(source) is not None:
            node.replace_all_uses_with(source)
        elif node.target is aten.transpose.int and source.target is aten.transpose.int:
            if set(node.args[1:]) == set(source.args[1:]):
                node.replace_all_uses_with(source.args[0])


def _layout(node: fx.Node) -> Any:
    value = node.meta.get("val")
    return (value.shape, value.stride()) if isinstance(value, torch.Tensor) else None
