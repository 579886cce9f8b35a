"""What a penalty acts on: a parameter, or groups of several parameters as the rows of one matrix.

Both are handled alike: what the penalty sees is taken of each parameter, changed, and put back where it came from.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from meden._shown import ShownFields
from meden.penalties import Number
from meden.penalties.sharding import is_spread, local
from meden.structure import GroupSet

Of = Callable[[nn.Parameter], Any]
"""What is asked of a parameter: itself, its gradient, its proximal step; a number, or a tensor of its shape."""


class Operand(abc.ABC):
    """What a penalty sees as one tensor."""

    @property
    @abc.abstractmethod
    def params(self) -> Mapping[str, nn.Parameter]:
        """The parameters that it is made of, by name."""

    @property
    @abc.abstractmethod
    def key(self) -> Hashable:
        """What two of them have in common that are the same."""

    @abc.abstractmethod
    def pick(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return tensors of the parameters' shapes, by name, as the penalty sees them; differentiable."""

    @abc.abstractmethod
    def take(self, of: Of) -> Any:
        """Return what ``of`` says of the parameters, as the penalty sees it; differentiable."""

    @abc.abstractmethod
    def put(self, seen: Tensor, of: Of) -> None:
        """Write into what ``of`` says of the parameters what was taken of it, and changed since."""

    @abc.abstractmethod
    def among(self, is_meant: Callable[[nn.Parameter], bool]) -> Operand | None:
        """Return what is left of it with some of the parameters alone; None if nothing is."""


@dataclass(frozen=True, eq=False, repr=False)
class Single(ShownFields, Operand):
    """A parameter."""

    name: str
    param: nn.Parameter

    @property
    def params(self) -> Mapping[str, nn.Parameter]:
        """The parameter."""
        return {self.name: self.param}

    @property
    def key(self) -> Hashable:
        """The parameter."""
        return id(self.param)

    def pick(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the parameter's."""
        return tensors[self.name]

    def take(self, of: Of) -> Any:
        """Return what ``of`` says of the parameter."""
        return of(self.param)

    def put(self, seen: Tensor, of: Of) -> None:
        """Do nothing: it was changed in place."""

    def among(self, is_meant: Callable[[nn.Parameter], bool]) -> Operand | None:
        """Return it, if it is meant."""
        return self if is_meant(self.param) else None


@dataclass(frozen=True, eq=False, repr=False)
class Joint(ShownFields, Operand):
    """Groups of numbers of several parameters: a matrix (G, S), whose rows are the groups.

    Of shards every rank sees the matrix as a whole, and writes what it has of it.
    """

    groups: GroupSet
    members: Mapping[str, nn.Parameter]

    @property
    def params(self) -> Mapping[str, nn.Parameter]:
        """The parameters that the groups lie in."""
        return self.members

    @functools.cached_property
    def key(self) -> Hashable:
        """The parameters, and where in them the groups lie."""
        return self.groups.pieces, tuple(map(id, self.members.values()))

    def pick(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return a matrix."""
        return self.groups.take(tensors)

    def take(self, of: Of) -> Any:
        """Return a matrix; or what ``of`` says of all parameters alike, if that is one number or None."""
        said = {name: of(param) for name, param in self.members.items()}
        if (same := _same(list(said.values()))) is not _DIFFERENT:
            return same
        return self.pick({name: _whole(said[name], param) for name, param in self.members.items()})

    def put(self, seen: Tensor, of: Of) -> None:
        """Write a matrix."""
        said = {name: of(param) for name, param in self.members.items()}
        whole = {name: self._room(name, x) if is_spread(x) else x for name, x in said.items()}
        self.groups.put(seen, whole)
        for name, x in said.items():
            if is_spread(x):
                local(x).copy_(_shard(whole[name], x))

    def _room(self, name: str, x: Tensor) -> Tensor:
        """Return all of a tensor that is spread over ranks, to be written into; anything where the groups have all."""
        param = self.members[name]
        num = sum(piece.size(param) for piece in self.groups.pieces if piece.name == name) * len(self.groups.names)
        if num == param.numel():
            return torch.empty(param.shape, dtype=x.dtype, device=x.device)
        return _whole(x, param).clone()

    def among(self, is_meant: Callable[[nn.Parameter], bool]) -> Operand | None:
        """Return the groups' numbers in parameters that are meant."""
        meant = {name: param for name, param in self.members.items() if is_meant(param)}
        if len(meant) == len(self.members):
            return self
        pieces = tuple(piece for piece in self.groups.pieces if piece.name in meant)
        return Joint(dataclasses.replace(self.groups, pieces=pieces), meant) if meant else None


def itself(param: nn.Parameter) -> Tensor:
    """Return a parameter."""
    return param


_DIFFERENT = object()


def _same(said: list[Any]) -> Any:
    """Return the number that all are, or None if all are that."""
    first = said[0]
    if isinstance(first, Tensor):
        return first if not first.ndim and all(x is first for x in said) else _DIFFERENT
    return first if all(not isinstance(x, Tensor) and x == first for x in said) else _DIFFERENT


def _whole(x: Number | None, param: nn.Parameter) -> Tensor:
    """Return all of a tensor of a parameter's shape, or of its shard's; a number, or no limit, for each coordinate."""
    if not isinstance(x, Tensor) or not x.ndim:
        own: Any = torch.inf if x is None else x
        return torch.as_tensor(own, dtype=param.dtype, device=param.device).expand(param.shape)
    if not is_spread(param):
        return x
    from torch.distributed.tensor import DTensor  # a slow import, done already where there are DTensors

    spread: Any = param
    if not is_spread(x):
        mesh, placements = spread.device_mesh, spread.placements
        x = DTensor.from_local(x, mesh, placements, run_check=False, shape=param.shape, stride=param.stride())
    full: Tensor = x.full_tensor()  # type: ignore[attr-defined]
    return full


def _shard(full: Tensor, like: Any) -> Tensor:
    """Return this rank's part of a tensor that each rank has all of."""
    from torch.distributed.tensor import DTensor, Replicate

    everywhere = [Replicate()] * like.device_mesh.ndim
    spread = DTensor.from_local(full, like.device_mesh, everywhere, run_check=False)
    part: Tensor = local(spread.redistribute(placements=like.placements))
    return part
