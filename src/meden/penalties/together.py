"""What of a tensor a penalty must see together: the least that it may be cut into."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from meden.penalties.base import Penalty
from meden.penalties.compose import AtScale, PullTo, Scaled, Sum
from meden.penalties.groups import Groups

Together = Groups | None
"""Whole groups; or nothing but each coordinate by itself."""


def together(penalties: Sequence[Penalty], shape: torch.Size) -> Together:
    """Return what ``grad`` and ``prox`` of all the penalties must see together of a tensor.

    A penalty that is not separable needs whole groups if it has a property ``groups``, a :class:`Groups`, as the
    grouped penalties do, and otherwise all of the tensor, which is one group.

    Args:
        penalties: which act on the tensor.
        shape: of the tensor.

    Raises:
        InputError: if the tensor has no such groups.

    Example:
        >>> from meden.penalties import L1, GroupLasso, Nuclear
        >>> together([L1(1.0)], torch.Size([6, 4])), together([L1(1.0), GroupLasso(1.0, block=3)], torch.Size([6, 4]))
        (None, Groups(dim=0, block=3))
        >>> together([Nuclear(1.0)], torch.Size([6, 4]))
        Groups(dim=0, block=6)
    """
    needs = {need for penalty in penalties if (need := _needs(penalty, shape)) is not None}
    if len({need.axis for need in needs}) > 1:
        return _all_of(shape)
    return Groups(next(iter(needs)).axis, math.lcm(*(need.block for need in needs))) if needs else None


def _needs(penalty: Penalty, shape: torch.Size) -> Together:
    if penalty.separable or not shape:
        return None
    if isinstance(penalty, PullTo | Scaled | AtScale):
        return _needs(penalty.penalty, shape)
    if isinstance(penalty, Sum):
        return together(penalty.parts, shape)
    groups = getattr(penalty, "groups", None)
    if not isinstance(groups, Groups):
        return _all_of(shape)
    groups.check(shape)
    return Groups(groups.axis % len(shape), groups.block)


def _all_of(shape: torch.Size) -> Groups:
    return Groups(0, max(shape[0], 1))
