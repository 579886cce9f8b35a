"""One operation of a run: its arguments, and what it gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from meden.structure.marked import Marked, Notes, unlabelled


class Call(NamedTuple):
    """One operation of a run, with what it gave."""

    target: Any
    args: dict[str, Any]
    """By the names of its schema; tensors are marked."""
    value: Any

    @property
    def name(self) -> str:
        """Of the operation, without its overload."""
        return str(self.target.overloadpacket.__name__)

    @property
    def is_drawn(self) -> bool:
        """Whether it may draw random numbers."""
        return torch.Tag.nondeterministic_seeded in getattr(self.target, "tags", ())

    def tensors(self) -> Iterator[Marked]:
        """Yield the tensors among its arguments."""
        for arg in self.args.values():
            yield from (part for part in (arg if isinstance(arg, (list, tuple)) else [arg]) if isinstance(part, Marked))


Rule = Callable[[Notes, Call], Any]


def unknown(notes: Notes, call: Call) -> Any:
    """Return the marks of an operation that is not known: the channels that it meets have to stay."""
    for x in call.tensors():
        notes.fix(x.atoms, f"it reaches {call.target}, which is unknown")
        notes.use_up(x, f"it reaches {call.target}, which is unknown")
    known = not call.is_drawn and all(bool(x.known.all()) for x in call.tensors())
    return each_output(call.value, lambda part: unlabelled(part, known=known))


def each_output(value: Any, of: Callable[[Tensor], Marked]) -> Any:
    """Return what an operation gives with each tensor in it marked."""
    if isinstance(value, Tensor):
        return of(value)
    if isinstance(value, (list, tuple)):
        return [each_output(part, of) for part in value]
    return value


def plain(given: Any) -> Any:
    """Return arguments with plain tensors."""
    if isinstance(given, Marked):
        return given.value
    if isinstance(given, (list, tuple)):
        return type(given)(map(plain, given)) if isinstance(given, list) else tuple(map(plain, given))
    if isinstance(given, Mapping):
        return {name: plain(part) for name, part in given.items()}
    return given
