"""What a function does to tensors, operation by operation: counted, or written down to be replayed."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any

import torch
from torch import Tensor, fx
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
        return False  # else torch imports its compiler, over a second, only to leave this class alone


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
        self._graph = fx.Graph()
        self._nodes = WeakTensorKeyDictionary()
        self._met: list[Tensor] = []
        """What the constants are copies of, kept so that no other tensor takes their place in memory."""
        self.constants: list[Tensor] = []
        for leaf in leaves:
            self._store(leaf, self._argument())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation, and write it down."""
        args, kwargs = tuple(args), kwargs or {}
        if func is aten.lift_fresh.default:
            func = aten.clone.default  # of a constant that the function makes anew at each call, and may write into
        nodes = pytree.tree_map_only(Tensor, self._node, (args, kwargs))
        self._check_writes(func, args, kwargs)
        result = func(*args, **kwargs)
        if isinstance(result, Number) and pytree.tree_any(_is_tensor, (args, kwargs)):
            raise RuntimeError(f"{func} makes a number of a tensor, so that what follows would depend on data")
        node = self._graph.call_function(func, *nodes)
        for number, part in enumerate(result if isinstance(result, tuple | list) else ()):
            if isinstance(part, Tensor):
                self._store(part, self._graph.call_function(operator.getitem, (node, number)))
        if isinstance(result, Tensor):
            self._store(result, node)
        return result

    def function(self, outputs: Sequence[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        """Return what was recorded, as a function of the leaves and then the constants.

        Operations that come to nothing are left out. An ``fx.GraphModule`` would run the same code, and keep its text
        until the process ends.
        """
        self._graph.output(tuple(self._node(output) for output in outputs))
        _drop_idle_views(self._graph)
        self._graph.eliminate_dead_code()
        code = self._graph.python_code("self")
        namespace = dict(code.globals)
        exec(code.src, namespace)
        return functools.partial(namespace["forward"], None)

    def _argument(self) -> fx.Node:
        """Return a new argument of the graph, after those that it has."""
        before = self._graph.find_nodes(op="placeholder")
        with self._graph.inserting_after(before[-1] if before else None):
            return self._graph.placeholder(f"argument_{len(before)}")

    def _store(self, tensor: Tensor, node: fx.Node) -> None:
        node.meta["layout"] = tensor.shape, tensor.stride()
        self._nodes[tensor] = node

    def _node(self, tensor: Tensor) -> fx.Node:
        if tensor not in self._nodes:
            self._met.append(tensor)
            self.constants.append(tensor.detach().clone())
            self._store(tensor, self._argument())
        node: fx.Node = self._nodes[tensor]
        return node

    def _check_writes(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise if an operation writes into a constant: a replay would begin with what the last one left."""
        kept = {tensor.untyped_storage().data_ptr() for tensor in self._met}
        for place, spec in enumerate(func._schema.arguments):
            written = args[place] if place < len(args) else kwargs.get(spec.name)
            writes = spec.alias_info is not None and spec.alias_info.is_write
            if writes and isinstance(written, Tensor) and written.untyped_storage().data_ptr() in kept:
                raise RuntimeError(f"{func} writes into a tensor that is neither a parameter nor a buffer")


def _is_tensor(part: object) -> bool:
    return isinstance(part, Tensor)


def _drop_idle_views(graph: fx.Graph) -> None:
    """Take out views that change no shape, and pairs of transposes that undo each other: vmap leaves many."""
    for node in list(graph.nodes):
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
