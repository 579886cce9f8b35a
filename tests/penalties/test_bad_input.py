"""Errors at the door: which argument, what is allowed, what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from meden._checks import InputError
from meden.penalties import (
    L1,
    L2,
    MCP,
    SCAD,
    ActivityL1,
    Box,
    ElasticNet,
    GroupLasso,
    HierarchicalLasso,
    KLSparsity,
    LogSum,
    MaxNorm,
    Nuclear,
    Orthogonality,
    PullTo,
    Scaled,
    SparseGroupLasso,
    SpectralNorm,
    Sum,
    UnitNorm,
)

W = torch.ones(4, 3)

BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: L1(-1.0), r"L1 strength must be .* at least 0, got -1.0"),
    (lambda: L1(float("nan")), r"L1 strength must be a finite number .* got nan"),
    (lambda: L1("strong"), r"L1 strength must be a number .* got 'strong'"),
    (lambda: L2(True), r"L2 strength .* got True"),
    (lambda: ElasticNet(1.0, l1_ratio=1.5), r"ElasticNet l1_ratio must be .* in \[0, 1\], got 1.5"),
    (lambda: MCP(1.0, gamma=0.0), r"MCP gamma must be .* above 0, got 0.0"),
    (lambda: SCAD(1.0, gamma=1.0), r"SCAD gamma must be .* above 1, got 1.0"),
    (lambda: LogSum(1.0, epsilon=-1), r"LogSum epsilon must be .* above 0, got -1"),
    (lambda: Box(1.0, 0.0), r"Box high must be at least low = 1.0, got 0.0"),
    (lambda: Box(float("nan"), 0.0), r"Box low .* got nan"),
    (lambda: MaxNorm(0.0), r"MaxNorm radius must be .* above 0, got 0.0"),
    (lambda: MaxNorm(1.0, dim=1.0), r"dim must be an integer, 'units' or 'inputs', got 1.0"),
    (lambda: SpectralNorm(-1.0), r"SpectralNorm radius must be .* above 0, got -1.0"),
    (lambda: GroupLasso(-1.0), r"GroupLasso strength .* got -1.0"),
    (lambda: GroupLasso(1.0, dim="rows"), r"dim must be an integer, .* got 'rows'"),
    (lambda: GroupLasso(1.0, block=0), r"block must be a whole number of at least 1, got 0"),
    (lambda: HierarchicalLasso(-1.0), r"HierarchicalLasso strength .* got -1.0"),
    (lambda: HierarchicalLasso(1.0, num_skip=0), r"HierarchicalLasso num_skip must be .* at least 1, got 0"),
    (lambda: HierarchicalLasso(1.0, bound=-1.0), r"HierarchicalLasso bound must be .* at least 0, got -1.0"),
    (lambda: SparseGroupLasso(1.0, l1_ratio=-0.1), r"SparseGroupLasso l1_ratio must be .* got -0.1"),
    (lambda: GroupLasso(1.0, dim=2).value(W), r"dim must be an axis of the tensor of shape \(4, 3\), got 2"),
    (lambda: GroupLasso(1.0, dim=-3).prox(W, 1.0), r"dim must be an axis of the tensor of shape \(4, 3\), got -3"),
    (lambda: GroupLasso(1.0).value(torch.tensor(1.0)), r"dim must be an axis of the tensor of shape \(\), got 'units'"),
    (lambda: GroupLasso(1.0, block=3).value(W), r"block must divide the size 4 of axis 0, got 3"),
    (lambda: UnitNorm(dim=5).prox(W, 1.0), r"dim must be an axis .* got 5"),
    (lambda: MaxNorm(1.0, dim=5).value(W), r"dim must be an axis .* got 5"),
    (lambda: Nuclear(1.0).value(torch.ones(3)), r"Nuclear needs .* at least 2 dimensions, got shape \(3,\)"),
    (lambda: Orthogonality(1.0).prox(W, 1.0), r"Orthogonality has no proximal operator"),
    (lambda: PullTo(0.1), r"PullTo penalty must be a penalty such as L2\(1e-3\), got 0.1"),
    (lambda: PullTo(L2(1.0), "start"), r"PullTo target must be a number .* got 'start'"),
    (lambda: PullTo(L2(1.0)).value(W), r"PullTo target must be .* got None"),
    (lambda: PullTo(L2(1.0), torch.ones(2)).value(W), r"PullTo target must have the shape \(4, 3\) .* got \(2,\)"),
    (lambda: Sum(()), r"Sum parts must hold at least one penalty"),
    (lambda: Sum(L1(1.0)), r"Sum parts must be a sequence of penalties, got L1"),
    (lambda: Sum((L1(1.0), 2)), r"Sum parts must be a penalty .* got 2"),
    (lambda: Sum((L1(1.0), L1(1.0))).prox(W, 1.0), r"no known proximal operator for L1 \+ L1"),
    (lambda: Scaled(L1(1.0), -1.0), r"Scaled scale must be .* at least 0, got -1.0"),
    (lambda: Scaled(MaxNorm(1.0), 2.0), r"Scaled penalty must not be a constraint, got MaxNorm"),
    (lambda: ActivityL1(-0.1), r"ActivityL1 strength .* got -0.1"),
    (lambda: KLSparsity(1.0, rho=1.0), r"KLSparsity rho must be .* in \(0, 1\), got 1.0"),
]


@pytest.mark.parametrize(("attempt", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_input_is_named(attempt: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        attempt()
    assert "\n" not in str(caught.value)
