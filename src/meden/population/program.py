"""A function traced once for the shapes it meets, then replayed: no transform is paid for again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

aten = torch.ops.aten
_SAME_SHAPE = {aten.view.default, aten.expand.default, aten._unsafe_view.default, aten.reshape.default}


class Program:
    """Replays the tensor operations that a function did when it first met arguments of these shapes.

    Args:
        function: of any nest of tensors; it may write into them. What is no tensor must not change between calls.
    """

    _tracing = threading.Lock()
    """Tracing patches torch for the whole process, so that one thread at a time does it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._traces: dict[Any, Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return self.trace(*arguments)(*arguments)

    def trace(self, *arguments: Any) -> Callable[..., Any]:
        """Return the trace for these shapes; the arguments are left as they were."""
        shapes = tuple(part.shape for part in pytree.tree_leaves(arguments))
        if shapes not in self._traces:
            with self._tracing:
                # forward itself, past Module.__call__, which is patched while another thread traces
                self._traces[shapes] = trace(self.function, arguments).forward
        return self._traces[shapes]


def trace(function: Callable[..., Any], arguments: tuple[Any, ...]) -> fx.GraphModule:
    """Return the tensor operations of a function as one graph; the arguments are left as they were."""
    spared = pytree.tree_map(torch.clone, arguments)
    graph: fx.GraphModule = make_fx(lambda *given: function(*given))(*spared)
    _drop_idle_views(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


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
