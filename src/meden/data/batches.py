"""Seeded batch indices: each pass is a permutation without replacement, a function of identifiers only.

The batches of pass after pass are one stream; an epoch is a piece of it, usually one whole pass.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from meden._checks import check_count

BatchSize = int | Literal["full"]
Rows = npt.NDArray[np.int64]
BATCHING = "even"
"""How rows are cut into batches: what was begun with another cut cannot be gone on with."""


def epoch_permutation(n: int, seed: int, epoch: int) -> Rows:
    """Return the order of ``n`` rows in a pass (0, 1, ...), int64 (n,), the same wherever and whenever it is asked.

    Example:
        >>> sorted(epoch_permutation(5, seed=7, epoch=3).tolist())
        [0, 1, 2, 3, 4]
    """
    stream = np.random.Philox(np.random.SeedSequence((seed, epoch)))
    return np.random.Generator(stream).permutation(n).astype(np.int64)


def watched_rows(n: int, limit: int | None, seed: int) -> Rows:
    """Return the fitting rows whose loss is recorded: all, or a seeded sample of ``limit``, sorted, int64.

    Example:
        >>> watched_rows(3, None, seed=0).tolist(), len(watched_rows(100, 10, seed=0))
        ([0, 1, 2], 10)
    """
    if limit is None or limit >= n:
        return np.arange(n)
    return np.sort(epoch_permutation(n, seed, 0)[:limit])


def num_batches(n: int, batch_size: BatchSize, steps_per_epoch: int | None = None) -> int:
    """Return the number of batches (updates) of an epoch: as few as hold no more rows each than asked for.

    A batch of one row, which batch norm cannot train on, comes of one alone, or of being asked for: of pairs of an odd
    number of rows one holds three.

    Args:
        n: rows, 1 or more.
        batch_size: 1 (stochastic), a whole number, or ``"full"``; above ``n`` it is ``n``.
        steps_per_epoch: batches of an epoch, 1 or more; None is as many as a pass over the rows has.

    Raises:
        InputError: if ``batch_size`` or ``steps_per_epoch`` is none of these.

    Example:
        >>> num_batches(10, 4), num_batches(10, "full"), num_batches(10, 1), num_batches(9, 4)
        (3, 1, 10, 3)
    """
    rows = _rows_per_batch(n, batch_size)
    size = -(-n // rows) if rows == 1 else min(-(-n // rows), n // 2)
    if steps_per_epoch is None:
        return size
    check_count("steps_per_epoch", steps_per_epoch)
    return steps_per_epoch


def largest_batch(n: int, batch_size: BatchSize) -> int:
    """Return the rows of the largest batch of a pass.

    Example:
        >>> largest_batch(10, 4), largest_batch(9, 4), largest_batch(3, 4)
        (4, 3, 3)
    """
    return -(-n // num_batches(n, batch_size))


def batches(n: int, batch_size: BatchSize, *, seed: int, epoch: int, steps_per_epoch: int | None = None) -> list[Rows]:
    """Return the batches of an epoch, in the order of :func:`passes`.

    Example:
        >>> [[len(rows) for rows in batches(n, 4, seed=0, epoch=0)] for n in (10, 9)]
        [[4, 3, 3], [3, 3, 3]]
    """
    own = passes(n, batch_size, seed=seed, epoch=epoch, steps_per_epoch=steps_per_epoch)
    return [rows for _, parts in own for rows in parts]


def passes(
    n: int, batch_size: BatchSize, *, seed: int, epoch: int, steps_per_epoch: int | None = None
) -> list[tuple[int, list[Rows]]]:
    """Return the batches of an epoch by the passes over the rows that they are of, as (number of the pass, batches).

    A pass is a permutation cut into pieces that differ by a row at most, the larger ones first: in a short piece at the
    end of each pass few rows would count as much as many in any other. Pass follows pass; an epoch goes on where the
    one before ended.

    Example:
        >>> for epoch in (0, 1):
        ...     own = passes(10, 4, seed=0, epoch=epoch, steps_per_epoch=4)
        ...     print([(number, [len(rows) for rows in parts]) for number, parts in own])
        [(0, [4, 3, 3]), (1, [4])]
        [(1, [3, 3]), (2, [4, 3])]
    """
    size, steps = num_batches(n, batch_size), num_batches(n, batch_size, steps_per_epoch)
    start, stop = epoch * steps, (epoch + 1) * steps
    own = []
    for number in range(start // size, -(-stop // size)):
        parts = np.array_split(epoch_permutation(n, seed, number), size)
        own.append((number, parts[max(0, start - number * size) : stop - number * size]))
    return own


def _rows_per_batch(n: int, batch_size: BatchSize) -> int:
    if batch_size == "full":
        return n
    check_count("batch_size", batch_size)
    return min(n, batch_size)
