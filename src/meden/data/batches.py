"""Seeded batch indices: each epoch is a permutation without replacement, a function of identifiers only."""

from __future__ import annotations

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


def watched_rows(n: int, limit: int | None, seed: int) -> npt.NDArray[np.int64]:
    """Return the fitting rows whose loss is recorded: all, or a seeded sample of ``limit``, sorted, int64.

    Example:
        >>> watched_rows(3, None, seed=0).tolist(), len(watched_rows(100, 10, seed=0))
        ([0, 1, 2], 10)
    """
    if limit is None or limit >= n:
        return np.arange(n)
    return np.sort(epoch_permutation(n, seed, 0)[:limit])


def num_batches(n: int, batch_size: BatchSize) -> int:
    """Return the number of batches (updates) of an epoch, a last short one included.

    Args:
        n: rows, 1 or more.
        batch_size: 1 (stochastic), a whole number, or ``"full"``; above ``n`` it is ``n``.

    Raises:
        InputError: if ``batch_size`` is none of these.

    Example:
        >>> num_batches(10, 4), num_batches(10, "full"), num_batches(10, 1), num_batches(9, 4)
        (3, 1, 10, 2)
    """
    return len(_starts(n, batch_size))


def batches(n: int, batch_size: BatchSize, *, seed: int, epoch: int) -> list[npt.NDArray[np.int64]]:
    """Return the batches of an epoch: the permutation cut into pieces, the last one as short as it comes.

    A last piece of one row joins the piece before it, since batch norm cannot train on one row.

    Example:
        >>> [[len(rows) for rows in batches(n, 4, seed=0, epoch=0)] for n in (10, 9)]
        [[4, 4, 2], [4, 5]]
    """
    return np.split(epoch_permutation(n, seed, epoch), _starts(n, batch_size)[1:])


def _starts(n: int, batch_size: BatchSize) -> range:
    """Return where each batch starts."""
    size = _rows_per_batch(n, batch_size)
    return range(0, n - 1 if size > 1 and n > 1 else n, size)


def _rows_per_batch(n: int, batch_size: BatchSize) -> int:
    if batch_size == "full":
        return n
    check_count("batch_size", batch_size)
    return min(n, batch_size)
