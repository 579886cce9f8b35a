"""What a function does to tensors, operation by operation: counted, or written down to be replayed."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from numbers import Number
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

aten = torch.ops.aten
_VIEWS = {aten.view.default, aten.expand.default, aten._unsafe_view.default, aten.reshape.default, aten.detach.default}


class Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees the tensor operations that are done while it is entered, those of backward passes included."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its compiler, over a second, to be told to leave this class alone


class Products(Watcher):
    """Counts the multiplications of matrix products, convolutions and attention."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation, and count its products."""
        result = func(*args, **(kwargs or {}))
        if (flops := flop_registry.get(func._overloadpacket)) is not None:
            self.count += int(flops(*args, **(kwargs or {}), out_val=result)) // 2
        return result


class Recorder(Watcher):
    """Writes the operations down as a graph.

    torch's own make_fx records the same and more, and imports the compiler for it.

    Args:
        leaves: the tensors that will be arguments; any other that is met is a constant.
    """

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph, self._constants = fx.Graph(), nn.Module()
        self._nodes = WeakTensorKeyDictionary()
        for number, leaf in enumerate(leaves):
            self._store(leaf, self._graph.placeholder(f"leaf_{number}"))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation, and write it down."""
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Number) and pytree.tree_any(_is_tensor, (args, kwargs)):
            raise RuntimeError(f"{func} makes a number of a tensor, so that what follows would depend on data")
        node = self._graph.call_function(func, *pytree.tree_map_only(Tensor, self._node, (args, kwargs or {})))
        for number, part in enumerate(result if isinstance(result, tuple | list) else ()):
            if isinstance(part, Tensor):
                self._store(part, self._graph.call_function(operator.getitem, (node, number)))
        if isinstance(result, Tensor):
            self._store(result, node)
        return result

    def module(self, outputs: Sequence[Tensor]) -> fx.GraphModule:
        """Return what was recorded, as a function of the leaves; operations that come to nothing are left out."""
        self._graph.output(tuple(self._node(output) for output in outputs))
        module = fx.GraphModule(self._constants, self._graph)
        _drop_idle_views(module)
        module.graph.eliminate_dead_code()
        module.recompile()
        return module

    def _store(self, tensor: Tensor, node: fx.Node) -> None:
        node.meta["layout"] = tensor.shape, tensor.stride()
        self._nodes[tensor] = node

    def _node(self, tensor: Tensor) -> fx.Node:
        if tensor not in self._nodes:
            name = f"constant_{len(self._nodes)}"
            self._constants.register_buffer(name, tensor.detach().clone())
            self._store(tensor, self._graph.get_attr(name))
        node: fx.Node = self._nodes[tensor]
        return node


def _is_tensor(part: object) -> bool:
    return isinstance(part, Tensor)


def _drop_idle_views(module: fx.GraphModule) -> None:
    """Take out views that change no shape, and pairs of transposes that undo each other: vmap leaves many."""
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node):
            continue
        if node.target in _VIEWS and node.meta["layout"] == source.meta["layout"]:
            node.replace_all_uses_with(source)
        elif node.target is aten.transpose.int and source.target is aten.transpose.int:
            if set(node.args[1:]) == set(source.args[1:]):
                node.replace_all_uses_with(source.args[0])
