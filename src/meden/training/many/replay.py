"""A function recorded once for the shapes it meets, then replayed: no transform is paid for again."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from meden.training.many.tracing import Recorder

_LOOP = """
def loop(fixed: List[Tensor], rows: List[Tensor], constants: List[Tensor]):
    for row in range(rows[0].size(0)):
        run(fixed + [tensor[row] for tensor in rows] + constants)
"""
"""A call for each row, in TorchScript."""


class Replay(NamedTuple):
    """A recorded function of a flat list of tensors."""

    once: Callable[[list[Tensor]], tuple[Tensor, ...]]
    each: Callable[[list[Tensor], list[Tensor]], None]
    """Calls it for each row of the last tensors, after the first ones, with no Python in between."""


class Program:
    """Replays the tensor operations that a function did when it first met arguments of these shapes.

    The recorded graph is run by TorchScript's interpreter, which costs less per operation than Python and lets other
    threads work meanwhile.

    Args:
        function: of nests of tensors to a tuple of tensors. What is no tensor must not change between calls.
        writes: how many of its arguments, the first ones, it writes into.
        scripted: False replays in Python. TorchScript takes numbers for one that differ by a few billionths, such as
            a bound and the bound with its tolerance.
    """

    _tracing = threading.Lock()
    """Stacks share functions, whose models are borrowed while they are traced: one thread at a time."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], *, writes: int = 0, scripted: bool = True) -> None:
        self.function, self.writes, self.scripted = function, writes, scripted
        self._replays: dict[Any, Replay] = {}

    def __call__(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Call the function."""
        return self._replay(arguments).once(pytree.tree_leaves(arguments))

    def trace(self, *arguments: Any) -> None:
        """Trace for these shapes; nothing is written to."""
        self._replay(arguments)

    def repeat(self, *arguments: Any, over: Any) -> None:
        """Call the function once for each row of ``over``, its last argument: a nest of tensors of as many rows."""
        first = pytree.tree_map(lambda tensor: tensor[0], over)
        self._replay((*arguments, first)).each(pytree.tree_leaves(arguments), pytree.tree_leaves(over))

    def _replay(self, arguments: Sequence[Any]) -> Replay:
        shapes = tuple([leaf.shape for leaf in pytree.tree_leaves(arguments)])
        with self._tracing if shapes not in self._replays else contextlib.nullcontext():
            if shapes not in self._replays:
                self._replays[shapes] = record(self.function, arguments, self.writes, self.scripted)
        return self._replays[shapes]


def record(
    function: Callable[..., tuple[Tensor, ...]], arguments: Sequence[Any], writes: int, scripted: bool = True
) -> Replay:
    """Return the tensor operations of a function of the flat arguments, which are left as they were.

    Raises:
        RuntimeError: if the function asks for a number that depends on the arguments, or writes into other tensors,
            which a replay could not.
    """

    def copied() -> Any:
        """Return the arguments, with tensors of their own where they are written into."""
        return pytree.tree_map(torch.clone, arguments[:writes]) + tuple(arguments[writes:])

    parts = copied()
    recorder = Recorder(pytree.tree_leaves(parts))
    with recorder:
        outputs = function(*parts)
    recorded, constants = recorder.function(outputs), recorder.constants

    def run(leaves: list[Tensor]) -> tuple[Tensor, ...]:
        return recorded(*leaves)

    def loop(fixed: list[Tensor], rows: list[Tensor], constants: list[Tensor]) -> None:
        for row in range(rows[0].size(0)):
            run(fixed + [tensor[row] for tensor in rows] + constants)

    if not scripted:
        return Replay(lambda leaves: run(leaves + constants), lambda fixed, rows: loop(fixed, rows, constants))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to replace TorchScript by its compiler
        try:
            run, loop = _scripts(run, [*pytree.tree_leaves(copied()), *constants])
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # it does not know every operation, such as the backward pass of batch norm
            pass
    return Replay(lambda leaves: run(leaves + constants), lambda fixed, rows: loop(fixed, rows, constants))


def _scripts(run: Callable[[list[Tensor]], tuple[Tensor, ...]], leaves: list[Tensor]) -> tuple[Any, Any]:
    """Return a function and the loop over it as scripts, each in a compilation unit of its own.

    What ``torch.jit.trace`` and ``torch.jit.script`` make lies in one of the process, and is kept until that ends.
    """
    graph, _ = torch._C._create_graph_by_tracing(run, (leaves,), lambda _: "", True, False, None, ["leaves"])
    run = torch._C._create_function_from_graph("run", graph)
    return run, torch.jit.CompilationUnit(_LOOP).loop  # which finds `run` here
