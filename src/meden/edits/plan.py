"""What compaction does to a model, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from meden.edits.leaving import Leaving
from meden.edits.sparsity import Sparsity, sparsity

MOST_NAMED = 6
"""Channels of one reason that are named."""


@dataclass(frozen=True)
class Row:
    """A layer that changes."""

    layer: str
    kind: str
    before: str
    after: str
    parameters: tuple[int, int]
    """Before and after."""
    products: tuple[int, int]
    """Multiplications by weights on the example, before and after."""


@dataclass(frozen=True)
class Plan:
    """What leaves a model; print it for a table."""

    rows: tuple[Row, ...]
    parameters: tuple[int, int]
    """Of the whole model, before and after."""
    products: tuple[int, int]
    channels: tuple[str, ...]
    """Labels of what leaves."""
    columns: tuple[int, ...] | None
    """The inputs that a model takes that takes fewer; None if it takes all it took."""
    stay: Mapping[str, str]
    """Channels that nothing would miss and that stay all the same, and why."""
    idle: tuple[str, ...]
    """Channels that are left, as zeros, of layers that would lose all."""
    zeros: Sparsity
    """Single zeros of the weights that are left."""

    def __str__(self) -> str:
        head = ("layer", "type", "before", "after", "parameters", "products")
        body = [(r.layer, r.kind, r.before, r.after, _change(r.parameters), _change(r.products)) for r in self.rows]
        table = [head, *body, ("all", "", "", "", _change(self.parameters), _change(self.products))]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([*lines, *self._notes()])

    def _notes(self) -> Iterator[str]:
        if not self.rows and self.columns is None:
            yield "nothing leaves: all units, filters, heads and inputs count (GroupLasso makes whole ones zero)"
        if self.columns is not None:
            yield f"takes {len(self.columns)} inputs: {_some(list(map(str, self.columns)), 20)}"
        reasons: dict[str, list[str]] = {}
        for label, why in self.stay.items():
            reasons.setdefault(why, []).append(label)
        yield from (f"stays: {_some(labels)} ({why})" for why, labels in reasons.items())
        if self.idle:
            yield f"kept as zeros: {_some(list(self.idle))} (otherwise the layer would be empty)"
        yield str(self.zeros)


def make_plan(leaving: Leaving, small: nn.Module, products: Mapping[str, int], columns: tuple[int, ...] | None) -> Plan:
    """Return the plan of what was done: a model beside the smaller one."""
    model = leaving.names.model
    rows = tuple(_rows(model, small, products))
    fewer = sum(row.products[0] - row.products[1] for row in rows)
    of_all = sum(products.values())
    return Plan(
        rows=rows,
        parameters=(_count(model.parameters()), _count(small.parameters())),
        products=(of_all, of_all - fewer),
        channels=tuple(channel.label for channel in leaving.channels),
        columns=columns,
        stay=leaving.stay,
        idle=tuple(channel.label for channel in leaving.idle),
        zeros=sparsity(small),
    )


def _rows(model: nn.Module, small: nn.Module, products: Mapping[str, int]) -> Iterator[Row]:
    counted: set[int] = set()
    for name, layer in model.named_modules():
        was, now = _own(layer), _own(small.get_submodule(name))
        if [t.shape for t in was] == [t.shape for t in now]:
            continue
        params = [[t for t in own if isinstance(t, nn.Parameter) and id(t) not in counted] for own in (was, now)]
        counted.update(id(t) for own in params for t in own)
        through = products.get(name, 0)
        matrices = [_count(t for t in own if t.ndim > 1) for own in (was, now)]
        yield Row(
            layer=name,
            kind=type(layer).__name__,
            before=_largest(was),
            after=_largest(now),
            parameters=(_count(params[0]), _count(params[1])),
            products=(through, through * matrices[1] // matrices[0] if matrices[0] else through),
        )


def _own(layer: nn.Module) -> list[Tensor]:
    return [t for t in (*layer._parameters.values(), *layer._buffers.values()) if t is not None]


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _largest(own: list[Tensor]) -> str:
    """Return the shape of a layer's largest tensor."""
    return " x ".join(map(str, max(own, key=torch.Tensor.numel).shape))


def _change(counts: tuple[int, int]) -> str:
    return f"{counts[0]:,}" if counts[0] == counts[1] else f"{counts[0]:,} -> {counts[1]:,}"


def _some(labels: list[str], most: int = MOST_NAMED) -> str:
    return ", ".join(labels[:most]) + (f" and {len(labels) - most} more" if len(labels) > most else "")
