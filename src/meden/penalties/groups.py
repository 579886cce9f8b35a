"""Groups of coordinates along one axis, and the equation that weighted norms of groups lead to.

Legend: ``w`` a tensor with N entries along ``dim``; a group is ``block`` neighbours along ``dim`` with all of the
other axes; G = N / block groups; per-group tensors have shape (G,).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from meden._checks import InputError, check_count
from meden.penalties.base import Penalty, wide
from meden.penalties.sharding import reduced, whole

Dim = int | Literal["units", "inputs"]
"""An axis, by its number or by what is counted along it: the units that a layer computes, or the inputs that it reads.
Which axis a word means depends on the layer, and a regularizer finds it for each tensor, see :func:`meden.axes.axes`;
for a tensor by itself it is the one of ``nn.Linear``, 0 or 1."""
OF_LINEAR: dict[str, int] = {"units": 0, "inputs": 1}

_AnyPenalty = TypeVar("_AnyPenalty", bound=Penalty)
_NEWTON_STEPS = 12  # to reach 1e-6 took 6 at most for steps within a factor of 100, 11 for steps over eight decades


@dataclass(frozen=True)
class Groups:
    """Slices along ``dim``, taken ``block`` at a time: reductions to one number per group, and back.

    Args:
        dim: axis along which the groups are counted, from the front, or from the back if negative; or what is counted.
        block: how many neighbours along ``dim`` make one group.

    Example:
        >>> import torch
        >>> Groups(dim=0, block=2).norm(torch.tensor([[3.0], [4.0], [0.0], [1.0]]))
        tensor([5., 1.])
    """

    dim: Dim = 0
    block: int = 1

    def __post_init__(self) -> None:
        is_word = isinstance(self.dim, str) and self.dim in OF_LINEAR
        if not is_word and (isinstance(self.dim, bool) or not isinstance(self.dim, int)):
            raise InputError(f"dim must be an integer, 'units' or 'inputs', got {self.dim!r}")
        check_count("block", self.block)

    @property
    def axis(self) -> int:
        """The number of the axis."""
        return OF_LINEAR[self.dim] if isinstance(self.dim, str) else self.dim

    def size(self, w: Tensor) -> int:
        """Return the number of coordinates in a group."""
        return self.block * math.prod(w.shape[i] for i in self._others(w))

    def norm(self, w: Tensor) -> Tensor:
        """Return the Euclidean norm of each group, shape (G,), in float32 or wider; its gradient at 0 is 0."""
        others = self._others(w)
        rows = torch.linalg.vector_norm(wide(w), dim=others) if others else wide(w).abs()
        return torch.linalg.vector_norm(self._blocks(rows), dim=1) if self.block > 1 else reduced(rows)

    def total(self, x: Tensor) -> Tensor:
        """Return the sum over each group, shape (G,)."""
        others = self._others(x)
        rows = x.sum(dim=others) if others else x
        return self._blocks(rows).sum(dim=1) if self.block > 1 else reduced(rows)

    def peak(self, x: Tensor) -> Tensor:
        """Return the largest element of each group, shape (G,)."""
        others = self._others(x)
        if x.numel() == 0:
            return self.total(x)
        rows = x.amax(dim=others) if others else x
        return self._blocks(rows).amax(dim=1) if self.block > 1 else reduced(rows)

    def spread(self, per_group: Tensor, w: Tensor) -> Tensor:
        """Return a tensor that broadcasts against ``w``: the number of its group for each coordinate."""
        rows = per_group.unsqueeze(1).expand(-1, self.block).flatten() if self.block > 1 else per_group
        return rows.reshape([-1 if i == self.axis % w.ndim else 1 for i in range(w.ndim)])

    def root(self, q: Tensor, a: Tensor, target: float | Tensor) -> Tensor:
        """Return for each group the t >= 0 at which the norm of q / (a + t) is ``target``, or 0 if it is less at t = 0.

        1 / norm is concave and increasing in t, so that Newton's method on it, started below the root, climbs to it
        without ever passing it. Both starting values are lower bounds (Jensen's inequality; one coordinate alone).

        Args:
            q: any tensor.
            a: positive tensor of the shape of ``q``.
            target: a number above 0.

        Returns:
            tensor of shape (G,); not a number for groups where ``q`` is 0.

        Reference:
            J. Moré and D. Sorensen, Computing a trust region step, 1983.
        """
        squares = q.square()
        length = self.norm(q)
        jensen = length / target - self.total(squares * a) / length.square()
        t = torch.relu(torch.maximum(jensen, self.peak(q.abs() / target - a)))
        for _ in range(_NEWTON_STEPS):
            distance = a + self.spread(t, q)
            terms = squares / distance.square()
            norm2, slope = self.total(terms), self.total(terms / distance)
            t = torch.relu(t + norm2 / slope * (norm2.sqrt() / target - 1))
        return t

    def check(self, shape: torch.Size) -> None:
        """Check that a tensor has such groups.

        Raises:
            InputError: if it has no such axis, or ``block`` does not divide its size.
        """
        if not -len(shape) <= self.axis < len(shape):
            raise InputError(f"dim must be an axis of the tensor of shape {tuple(shape)}, got {self.dim!r}")
        if shape[self.axis] % self.block:
            raise InputError(f"block must divide the size {shape[self.axis]} of axis {self.axis}, got {self.block}")

    def _others(self, w: Tensor) -> tuple[int, ...]:
        self.check(w.shape)
        return tuple(i for i in range(w.ndim) if i != self.axis % w.ndim)

    def _blocks(self, rows: Tensor) -> Tensor:
        return whole(rows).view(rows.shape[0] // self.block, self.block)


def along(penalty: _AnyPenalty, axis: Callable[[str], int]) -> _AnyPenalty:
    """Return a penalty, and all that is inside it, with numbers for the words that its ``dim`` may hold.

    Args:
        penalty: any; one that holds no word is returned as it is.
        axis: the number that a word means.

    Example:
        >>> from meden.penalties import MaxNorm
        >>> along(MaxNorm(1.0, dim="inputs"), {"inputs": 0}.__getitem__)
        MaxNorm(radius=1.0, dim=0)
    """
    return penalty.changed(
        lambda name, value: axis(value) if name == "dim" and isinstance(value, str) and value in OF_LINEAR else value
    )
