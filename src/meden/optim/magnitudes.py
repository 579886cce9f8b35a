"""Penalties on weights that weight norm makes, as penalties on their magnitudes.

With w = g v / norm(v), slice by slice, the norm of a slice of w is abs(g). What a penalty asks of the norms of these
slices alone it asks of g, and the directions v, whose length means nothing, are left alone.
"""

from __future__ import annotations

import math

from torch import Tensor

from meden.parametrised import Magnitudes
from meden.penalties import L2, GroupLasso, GroupMCP, Groups, MaxNorm, Penalty, Scaled, Sum, UnitNorm
from meden.penalties.compose import AtScale
from meden.penalties.groups import Dim


def on_magnitudes(penalty: Penalty, magnitudes: Magnitudes) -> Penalty | None:
    """Return the penalty on g that has the value of a penalty on w, or None if there is none.

    Example:
        >>> from torch import nn
        >>> from meden.parametrised import parametrised
        >>> layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))
        >>> on_magnitudes(GroupLasso(0.5), parametrised(layer)["weight"].magnitudes)
        GroupLasso(strength=1.0, dim='units', block=1, size_weighted=False)
    """
    if isinstance(penalty, Sum):
        parts = [on_magnitudes(part, magnitudes) for part in penalty.parts]
        known = [part for part in parts if part is not None]
        return Sum(tuple(known)) if len(known) == len(parts) else None
    if isinstance(penalty, Scaled | AtScale):
        inner = on_magnitudes(penalty.penalty, magnitudes)
        return None if inner is None else penalty.replace({"penalty": inner})
    if isinstance(penalty, L2):
        return None if isinstance(penalty.strength, Tensor) and penalty.strength.ndim else penalty
    if not isinstance(penalty, GroupLasso | GroupMCP | MaxNorm | UnitNorm) or not _counts_slices(
        penalty.dim, magnitudes
    ):
        return None
    if isinstance(penalty, GroupLasso | GroupMCP):
        factor = math.sqrt(penalty.block * magnitudes.size) if penalty.size_weighted else 1.0
        return penalty.replace({"strength": penalty.strength * factor, "size_weighted": False})
    return penalty


def _counts_slices(dim: Dim, magnitudes: Magnitudes) -> bool:
    return magnitudes.dim is not None and Groups(dim).axis % magnitudes.param.ndim == magnitudes.dim
