"""Channels: what may leave a model only as a whole.

A channel is all that an example's values carry of one unit, filter, attention head or input, through sums, norms,
concatenations and reshapes; the rest of the model sees it through the weights that read it, and through nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from meden._shown import ShownFields

ChannelKind = Literal["unit", "filter", "head", "input"]


@dataclass(frozen=True)
class Slice:
    """Positions along one axis of a parameter or a buffer, by its name in the model."""

    name: str
    axis: int
    positions: tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Read(ShownFields):
    """One operation of the model that multiplies a channel by weights and adds up.

    Args:
        weight: the slices of the weight by which the channel is multiplied.
        bias: name of the parameter that the operation adds; None if it adds none.
        outputs: axis of the weight along which what the operation computes is counted.
        constant: what the channel is there, whatever the model is given: a number for each position of ``weight``;
            None if it depends on the input, on the row or the place, or if the operation pads.
    """

    weight: Slice
    bias: str | None
    outputs: int
    constant: Tensor | None


@dataclass(frozen=True, eq=False, repr=False)
class Channel(ShownFields):
    """What may leave only as a whole.

    Args:
        kind: what it is.
        label: such as ``layers.0[3]``, or ``input[5]``.
        slices: all that computes and scales it: rows of weights, biases, norms' scales, shifts and moments. None for
            an input.
        reads: where it is read.
        fixed: why it has to stay, in words; None if it may leave.
    """

    kind: ChannelKind
    label: str
    slices: tuple[Slice, ...]
    reads: tuple[Read, ...]
    fixed: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Structure(ShownFields):
    """The channels of a model, as one run on an example shows them; made by :func:`meden.structure.structure_of`."""

    channels: tuple[Channel, ...]
    products: dict[str, int] = field(default_factory=dict)
    """Multiplications of weights on the example, by module; of the whole batch."""
    tables: tuple[str, ...] = ()
    """Weights of which an input picks rows: embeddings of what a model is given."""
