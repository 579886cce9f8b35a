"""Which part of a batch a process holds: no two processes of a data-parallel training draw for the same rows."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from meden._checks import InputError, check_count

_WHOLE = 2**64 - 1

Shard = range | int | None
"""Numbers of the rows in the whole batch, or the rank among processes that see other rows; None: the global rank."""


def check_shard(shard: Shard) -> None:
    """Check a part of a batch.

    Raises:
        InputError: if it is neither a range of row numbers, a rank nor None.
    """
    if isinstance(shard, range):
        if shard and min(shard[0], shard[-1]) < 0:
            raise InputError(f"shard must number rows from 0, got {shard}")
    elif shard is not None:
        if not isinstance(shard, int):
            raise InputError(f"shard must be a range of row numbers, a rank or None, got {shard!r}")
        check_count("shard", shard, low=0)


def rows_of(shard: Shard) -> range | None:
    """Return the numbers of a part's rows, None if they have none."""
    return shard if isinstance(shard, range) else None


def numbers_of(shard: Shard, device: torch.device) -> Tensor | None:
    """Return the numbers of a part's rows as a tensor, None if they have none."""
    return torch.arange(shard.start, shard.stop, shard.step, device=device) if isinstance(shard, range) else None


def rank_of(shard: Shard) -> int:
    """Return the rank that tells the rows of a part from others, 0 where their numbers do or there is one process."""
    if shard is None:
        return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
    return 0 if isinstance(shard, range) else shard


def own_key(key: Tensor, shard: Shard) -> Tensor:
    """Return the key of a part's draws: that of rank 0 is the key itself."""
    rank = rank_of(shard)
    return key ^ _word(rank) if rank else key


def named(shard: Shard) -> tuple[int | str, ...]:
    """Return what a part adds to the identifiers of a stream that draws without looking at rows; nothing for rank 0."""
    if isinstance(shard, range) and shard and shard[0] > 0:
        return "rows", shard.start, shard.step
    return ("rank", rank_of(shard)) if rank_of(shard) else ()


def _word(rank: int) -> int:
    """Return an even word, so that an odd key stays odd: SplitMix64 (G. Steele and others, 2014), 0 for rank 0."""
    x = rank * 0x9E3779B97F4A7C15 & _WHOLE
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _WHOLE
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _WHOLE
    return (x ^ x >> 31) >> 1 & ~1
