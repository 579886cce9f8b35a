"""Seeded batch indices: each epoch is a permutation without replacement, a function of identifiers only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from meden._checks import check_count

BatchSize = int | Literal["full"]


def epoch_permutation(n: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the order of ``n`` rows in an epoch (0, 1, ...), int64 (n,), the same wherever and whenever it is asked.

    Example:
        >>> sorted(epoch_permutation(5, seed=7, epoch=3).tolist())
        [0, 1, 2, 3, 4]
    """
    stream = np.random.Philox(np.random.SeedSequence((seed, epoch)))
    return np.random.Generator(stream).permutation(n).astype(np.int64)


def num_batches(n: int, batch_size: BatchSize) -> int:
    """Return the number of batches (updates) of an epoch, a last short one included.

    Args:
        n: rows, 1 or more.
        batch_size: 1 (stochastic), a whole number, or ``"full"``; above ``n`` it is ``n``.

    Raises:
        InputError: if ``batch_size`` is none of these.

    Example:
        >>> num_batches(10, 4), num_batches(10, "full"), num_batches(10, 1)
        (3, 1, 10)
    """
    return -(-n // _rows_per_batch(n, batch_size))


def batches(n: int, batch_size: BatchSize, *, seed: int, epoch: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the batches of an epoch: the permutation cut into pieces, the last one as short as it comes.

    Example:
        >>> [len(rows) for rows in batches(10, 4, seed=0, epoch=0)]
        [4, 4, 2]
    """
    order, size = epoch_permutation(n, seed, epoch), _rows_per_batch(n, batch_size)
    return (order[start : start + size] for start in range(0, n, size))


def _rows_per_batch(n: int, batch_size: BatchSize) -> int:
    if batch_size == "full":
        return n
    check_count("batch_size", batch_size)
    return min(n, batch_size)
