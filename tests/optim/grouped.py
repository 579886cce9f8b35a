"""Groups that span tensors, written down by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from meden.structure import GroupSet, ModelGroups, Piece


def each(num: int, size: int = 1) -> tuple[tuple[int, ...], ...]:
    """Positions of ``num`` groups of ``size`` neighbours."""
    return tuple(tuple(range(i * size, (i + 1) * size)) for i in range(num))


def net(width: int = 6, num_inputs: int = 5, num_outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(num_inputs, width), nn.Tanh(), nn.BatchNorm1d(width), nn.Linear(width, num_outputs)
    model = nn.Sequential(*layers).double()
    nn.init.normal_(model[2].bias, std=0.3)
    return model


def units(width: int = 6, *, outgoing: bool = False) -> ModelGroups:
    """The hidden units of :func:`net`."""
    names = ["0.weight", "0.bias", "2.weight", "2.bias"]
    pieces = [Piece(name, 0, each(width)) for name in names] + [Piece("3.weight", 1, each(width))] * outgoing
    return ModelGroups("units", (GroupSet("units of 0", tuple(f"0[{i}]" for i in range(width)), tuple(pieces)),))


def inputs() -> ModelGroups:
    """The inputs of :func:`net`: the second, a pair of which one column lies between, and the last."""
    single = GroupSet("inputs", ("b", "e"), (Piece("0.weight", 1, ((1,), (4,))),))
    pair = GroupSet("inputs", ("a",), (Piece("0.weight", 1, ((0, 2),)),))
    return ModelGroups("inputs", (single, pair))


def rows(model: nn.Module, *, outgoing: bool = False) -> Tensor:
    """The matrix of :func:`units`."""
    w = dict(model.named_parameters())
    parts = [w["0.weight"], w["0.bias"][:, None], w["2.weight"][:, None], w["2.bias"][:, None]]
    return torch.cat(parts + [w["3.weight"].T] * outgoing, dim=1).detach()


def write(model: nn.Module, matrix: Tensor, *, outgoing: bool = False) -> None:
    w, n = dict(model.named_parameters()), model[0].in_features
    with torch.no_grad():
        w["0.weight"].copy_(matrix[:, :n])
        for i, name in enumerate(("0.bias", "2.weight", "2.bias")):
            w[name].copy_(matrix[:, n + i])
        if outgoing:
            w["3.weight"].copy_(matrix[:, n + 3 :].T)
