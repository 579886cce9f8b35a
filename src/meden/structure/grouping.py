"""The groups of a model: its units, filters, heads or inputs, each with all that computes, scales and reads it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import nn

from meden._checks import InputError, check_choice
from meden.params import check_module
from meden.structure.channels import Channel, Slice
from meden.structure.find import structure_of
from meden.structure.groups import GroupSet, Kind, ModelGroups, Piece


def groups_of(
    model: nn.Module,
    example: Any,
    kind: Kind = "units",
    *,
    outgoing: bool = False,
    columns: Sequence[str] | None = None,
) -> ModelGroups:
    """Find the groups of a model that a group penalty can remove as a whole.

    A unit is its row of a weight, with its bias and its norm's scale and shift; coupled ones are one group, as the
    filters that a residual sum or a depthwise convolution ties, or the gate and the value of a feed-forward unit. A
    head is its rows of queries, keys and values, with all queries that share its key. An input is all that reads it,
    for each of a token's embeddings its row.

    Args:
        model: any that ``torch.export`` can trace.
        example: an input: a tensor, a tuple of arguments or a mapping of keyword arguments; two rows are enough.
        kind: ``"units"`` of linear and recurrent layers, ``"filters"`` of convolutions, attention ``"heads"``, or
            ``"inputs"``.
        outgoing: whether the columns belong to a unit, filter or head that read it, too.
        columns: a name for each input of a row, in order; inputs of one name are one group, such as the levels of one
            column of a table.

    Returns:
        The groups; those of one shape are one set. Give it to :class:`meden.Regularizer` as ``groups``.

    Raises:
        InputError: if the model cannot be traced, has no such groups, or ``outgoing`` makes groups overlap.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 1))
        >>> [groups] = groups_of(net, torch.zeros(4, 2), kind="units").sets
        >>> groups.label, len(groups.names), [piece.name for piece in groups.pieces]
        ('units of 0', 3, ['0.weight', '0.bias', '1.weight', '1.bias'])
    """
    check_module(model)
    check_choice("kind", kind, get_args(Kind))
    structure = structure_of(model, example, columns=columns)
    trained = dict(model.named_parameters())
    own = [channel for channel in structure.channels if channel.kind == kind.removesuffix("s")]
    found: dict[tuple[tuple[str, int, int], ...], list[tuple[str, list[Slice]]]] = defaultdict(list)
    for channel in own:
        slices = _slices(channel, outgoing=outgoing or kind == "inputs")
        slices = [part for part in slices if part.name in trained]
        if slices and channel.fixed is None:
            found[tuple((s.name, s.axis, len(s.positions)) for s in slices)].append((channel.label, slices))
    sets = [_group_set(kind, members) for members in found.values()]
    if kind == "inputs":
        sets += [_rows(name, trained[name]) for name in structure.tables if name in trained]
    if not sets:
        why = Counter(f"{c.label} has to stay: {c.fixed}" for c in own if c.fixed).most_common(1)
        said = f" ({why[0][0]})" if why else ""
        of = type(model).__name__
        raise InputError(f"kind must be one for which {of} has removable groups, got {kind!r}{said}")
    _check_apart(sets, trained, outgoing=outgoing)
    return ModelGroups(kind, tuple(sets))


def _slices(channel: Channel, *, outgoing: bool) -> list[Slice]:
    made = {part.name for part in channel.slices}
    read = [part.weight for part in channel.reads if outgoing and part.weight.name not in made]
    return [*channel.slices, *dict.fromkeys(read)]


def _group_set(kind: Kind, members: Sequence[tuple[str, list[Slice]]]) -> GroupSet:
    pieces = tuple(
        Piece(first.name, first.axis, tuple(slices[n].positions for _, slices in members))
        for n, first in enumerate(members[0][1])
    )
    of = pieces[0].name.rpartition(".")[0] or pieces[0].name
    return GroupSet(f"{kind} of {of}", tuple(label for label, _ in members), pieces)


def _rows(name: str, weight: nn.Parameter) -> GroupSet:
    of = name.rpartition(".")[0] or name
    rows = range(weight.shape[0])
    return GroupSet(f"inputs of {of}", tuple(f"{of}[{n}]" for n in rows), (Piece(name, 0, tuple((n,) for n in rows)),))


def _check_apart(sets: Sequence[GroupSet], trained: dict[str, nn.Parameter], *, outgoing: bool) -> None:
    times = {piece.name: torch.zeros(trained[piece.name].shape, dtype=torch.int8) for s in sets for piece in s.pieces}
    for group_set in sets:
        for piece in group_set.pieces:
            w = times[piece.name]
            piece.put(piece.take(w) + 1, w)
    for name, count in times.items():
        if bool((count > 1).any()):
            both = [s.label for s in sets if any(piece.name == name for piece in s.pieces)]
            raise InputError(
                f"outgoing must be False when groups would overlap: numbers of {name} are in groups of "
                f"{' and in those of '.join(dict.fromkeys(both))}, got {outgoing}"
            )
