"""Counter-based random numbers: pure functions of (key, step, position), in plain tensor code.

There is no generator and no global state. The same arguments give the same bits on every device, alone, under
``vmap`` (one key, step or p per member), recorded or compiled. A site (the name of a layer) is part of
the key, see :func:`stream`.

The bits are y (y + c) mod 2^32 with y = hash(position) xor a: a quadratic whose two words a and c (odd, so that the
values are exactly balanced) come from a Weyl sequence over steps that starts at the key. The high bits are the good
ones, the lowest is always zero: compare with a threshold, or use the functions below.

Legend: ``key`` 0-d int64 from :func:`stream`, ``step`` 0-d integer, ``p`` 0-d float32 probability to DROP, ``rows`` the
numbers that the rows of a process's part have in the whole batch, None for those from 0 on.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import hardtanh_

from meden._checks import InputError

_WEYL = -7046029254386353132  # 2^64 / golden ratio as a signed word, made even: an odd key stays odd


def derive(*identifiers: int | str) -> int:
    """Return a whole number in [0, 2^63) that depends on all identifiers, their order and their types.

    It is the same in every process, so that it can seed whatever must not depend on order or placement: weights,
    batches, noise.

    Example:
        >>> derive("study", 3, "fold", 0) == derive("study", 3, "fold", 0)
        True
        >>> derive(1, 23) == derive(12, 3)
        False
    """
    digest = hashlib.blake2b(repr(identifiers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def stream(*identifiers: int | str) -> Tensor:
    """Return the key of a random stream, a 0-d int64 tensor: :func:`derive`, made odd."""
    return torch.tensor(derive(*identifiers) | 1)


RowNumbers = range | Tensor
"""Of a part of a batch."""


def random_bits(key: Tensor, step: Tensor, shape: torch.Size, rows: RowNumbers | None = None) -> Tensor:
    """Return random int32 words, uniform over the signed range.

    Args:
        key: 0-d int64, from :func:`stream`.
        step: 0-d integer, zero or more; another step gives independent words.
        shape: shape of the result.
        rows: numbers of the rows in the whole batch, whose words these are a part of; a number for one or several
            entries of the first dimension.

    Raises:
        InputError: if the first dimension is no multiple of the number of rows.

    Example:
        >>> random_bits(stream(0), torch.tensor(0), torch.Size([2])).dtype
        torch.int32
        >>> whole, part = (random_bits(stream(0), torch.tensor(0), torch.Size([n, 3]), r)
        ...                for n, r in ((4, None), (2, range(1, 4, 2))))
        >>> bool((part == whole[1::2]).all())
        True
    """
    words = torch.add(key, step, alpha=_WEYL)
    y = _hashed_positions(shape, key.device, rows) ^ (words >> 32)  # a 0-d int64 joins an int32 tensor by its low word
    return (y + words).mul_(y)


def keep_mask(key: Tensor, step: Tensor, p: Tensor, shape: torch.Size, rows: RowNumbers | None = None) -> Tensor:
    """Return float32 ones (kept, with probability 1 - p) and zeros (dropped); p = 0 keeps every position exactly.

    Example:
        >>> keep_mask(stream(0), torch.tensor(0), torch.tensor(0.0), torch.Size([3]))
        tensor([1., 1., 1.])
    """
    # A whole number, above zero where kept, so that clamping gives exactly 0 or 1: several times faster than a
    # comparison, which writes booleans. The 2^-24 keeps the lowest word of all when p = 0.
    threshold = p - (0.5 + 2.0**-24)
    return hardtanh_(torch.add(random_bits(key, step, shape, rows), threshold, alpha=-(2.0**32)), 0.0, 1.0)


def uniform(key: Tensor, step: Tensor, shape: torch.Size, rows: RowNumbers | None = None) -> Tensor:
    """Return float32 numbers, uniform on the open interval (0, 1): the centres of 2^23 cells."""
    cells = (random_bits(key, step, shape, rows) >> 9).float()
    return cells.add_(2.0**22 + 0.5).mul_(2.0**-23)


def normal(key: Tensor, step: Tensor, shape: torch.Size, rows: RowNumbers | None = None) -> Tensor:
    """Return float32 standard normal numbers, by the inverse of the distribution function: tails end at 5.3."""
    return torch.erfinv(uniform(key, step, shape, rows).mul_(2.0).sub_(1.0)).mul_(math.sqrt(2.0))


class Moment(NamedTuple):
    """When and for which rows a layer draws; what it draws is a function of that."""

    key: Tensor
    step: Tensor
    rows: RowNumbers | None = None

    def keep_mask(self, p: Tensor, shape: torch.Size) -> Tensor:
        """Return :func:`keep_mask`."""
        return keep_mask(self.key, self.step, p, shape, self.rows)

    def uniform(self, shape: torch.Size) -> Tensor:
        """Return :func:`uniform`."""
        return uniform(self.key, self.step, shape, self.rows)

    def normal(self, shape: torch.Size) -> Tensor:
        """Return :func:`normal`."""
        return normal(self.key, self.step, shape, self.rows)


class Draws:
    """Random numbers for one use, such as one batch: each call draws anew, all are functions of key and step.

    Example:
        >>> first, second = (Draws(stream(0), torch.tensor(3)) for _ in range(2))
        >>> bool((first.uniform(4) == second.uniform(4)).all()), bool((first.uniform(4) == first.uniform(4)).any())
        (True, False)
    """

    def __init__(self, key: Tensor, step: Tensor) -> None:
        self._key, self._step, self._num = key, step, 0

    def uniform(self, *shape: int) -> Tensor:
        """Return float32 numbers, uniform on the open interval (0, 1)."""
        return uniform(self._next_key(), self._step, torch.Size(shape))

    def normal(self, *shape: int) -> Tensor:
        """Return float32 standard normal numbers."""
        return normal(self._next_key(), self._step, torch.Size(shape))

    def _next_key(self) -> Tensor:
        self._num += 1
        return self._key ^ (derive("draw", self._num) & ~1)  # an even word: an odd key stays odd


def _hashed_positions(shape: torch.Size, device: torch.device, rows: RowNumbers | None) -> Tensor:
    """Return a fixed well-mixed int32 word for every position of ``shape``."""
    if rows is not None and (not shape or shape[0] % max(len(rows), 1)):
        raise InputError(f"rows must number the rows to draw for, got {len(rows)} numbers for shape {tuple(shape)}")
    if torch.compiler.is_compiling() or isinstance(rows, Tensor):
        return _mix(_positions(shape, device, rows)).view(shape)
    return _cached_positions(tuple(shape), device, rows)


@lru_cache(maxsize=256)
def _cached_positions(shape: tuple[int, ...], device: torch.device, rows: range | None) -> Tensor:
    # vmap, grad, tracers and fake tensors belong to the calling thread: another one builds a plain tensor
    with ThreadPoolExecutor(1) as outside:
        return outside.submit(_view_positions, shape, device, rows).result()


def _view_positions(shape: tuple[int, ...], device: torch.device, rows: range | None) -> Tensor:
    if rows is not None:
        return _mix(_positions(shape, device, rows)).view(shape)
    numel = math.prod(shape)
    return _first_positions(1 << max(numel - 1, 0).bit_length(), device)[:numel].view(shape)


def _positions(shape: Sequence[int], device: torch.device, rows: RowNumbers | None) -> Tensor:
    numel = math.prod(shape)
    if rows is None or len(rows) == 0:
        return torch.arange(numel, device=device)
    size = numel // len(rows)
    numbers = torch.arange(len(rows), device=device) * rows.step + rows.start if isinstance(rows, range) else rows
    starts = numbers * size
    return (starts.unsqueeze(1) + torch.arange(size, device=device)).flatten()


@lru_cache(maxsize=256)
def _first_positions(numel: int, device: torch.device) -> Tensor:
    return _mix(torch.arange(numel, device=device))


def _mix(x: Tensor) -> Tensor:
    """Return the int32 hash of whole numbers (int64, any shape): xor-shift and multiply, a bijection of 32 bits."""
    x = (x + 0x9E3779B9) & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return (x ^ (x >> 16)).to(torch.int32)
