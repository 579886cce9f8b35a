"""The same group penalty as a linear model's: that of skglm and of celer, and the conditions of a minimum."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from meden.optim import Regularizer, regularize
from meden.penalties import GroupLasso, GroupMCP, Penalty, SparseGroupLasso
from meden.structure import GroupSet, ModelGroups, Piece
from tests.optim.test_lasso_parity import MAKERS, assert_same, descend, diabetes  # noqa: F401 - a fixture

GROUPS = [[0], [4, 1], [2, 9], [8, 3, 5], [6, 7]]
RULES = ["momentum", "adam"]


def columns(groups: Sequence[Sequence[int]]) -> ModelGroups:
    """Inputs of a linear layer as groups: a set for each size."""
    sets = [
        GroupSet("inputs", tuple(map(str, alike)), (Piece("weight", 1, tuple(map(tuple, alike))),))
        for size in sorted(set(map(len, groups)))
        if (alike := [g for g in groups if len(g) == size])
    ]
    return ModelGroups("inputs", tuple(sets))


def solve(data, name: str, penalty: Penalty, groups: Sequence[Sequence[int]], num_steps: int = 1200) -> np.ndarray:
    """Minimise half the mean squared error plus a penalty on groups of inputs, (outputs, inputs)."""
    x, y = (torch.from_numpy(part) for part in data)
    y = y.reshape(len(x), -1)
    gram, moment = x.T @ x / len(x), y.T @ x / len(x)
    torch.manual_seed(0)
    model = nn.Linear(x.shape[1], y.shape[1], bias=False, dtype=torch.float64)
    optimizer = MAKERS[name](model.parameters())
    regularize(optimizer, model, [Regularizer(penalty, groups=columns(groups))])

    def gradient() -> None:
        model.weight.grad = model.weight.detach() @ gram - moment

    descend(optimizer, gradient, num_steps)
    return model.weight.detach().numpy()


@pytest.fixture(scope="module")
def found(diabetes) -> dict[str, np.ndarray]:  # noqa: F811
    return {name: solve(diabetes, name, GroupLasso(0.1), GROUPS) for name in RULES}


@pytest.mark.parametrize("name", RULES)
def test_group_lasso_meets_the_conditions_of_a_minimum(diabetes, found, name) -> None:  # noqa: F811
    x, y = diabetes
    w = found[name][0]
    slope = x.T @ (x @ w - y) / len(x)
    kept = [bool(w[g].any()) for g in GROUPS]
    assert 0 < sum(kept) < len(kept)
    for group, is_kept in zip(GROUPS, kept, strict=True):
        limit = 0.1 * len(group) ** 0.5
        if is_kept:
            np.testing.assert_allclose(slope[group], -limit * w[group] / np.linalg.norm(w[group]), atol=1e-7)
        else:
            assert np.linalg.norm(slope[group]) < limit


@pytest.mark.slow
def test_group_lasso_is_skglms(diabetes, found) -> None:  # noqa: F811
    pytest.importorskip("skglm")
    from skglm.datafits import QuadraticGroup
    from skglm.penalties import WeightedGroupL2
    from skglm.solvers import GroupBCD
    from skglm.utils.data import grp_converter
    from skglm.utils.jit_compilation import compiled_clone

    x, y = diabetes
    x = np.asfortranarray(x)
    indices, ptr = grp_converter(GROUPS, x.shape[1])
    weights = np.sqrt(list(map(len, GROUPS)))
    penalty = compiled_clone(WeightedGroupL2(0.1, weights, ptr, indices))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = compiled_clone(QuadraticGroup(ptr, indices))
        expected = GroupBCD(tol=1e-12, max_iter=1000).solve(x, y, fit, penalty)[0]
    for own in found.values():
        assert_same(own[0], expected)


@pytest.mark.slow
def test_group_lasso_is_celers(diabetes, found) -> None:  # noqa: F811
    celer = pytest.importorskip("celer")
    x, y = diabetes
    weights = np.sqrt(list(map(len, GROUPS)))
    peer = celer.GroupLasso(groups=GROUPS, alpha=0.1, weights=weights, tol=1e-12, fit_intercept=False)
    expected = peer.fit(np.asfortranarray(x), y).coef_
    for own in found.values():
        assert_same(own[0], expected)


def several_targets(diabetes) -> tuple[np.ndarray, np.ndarray]:  # noqa: F811
    x, y = diabetes
    more = np.stack([y, y * x[:, 8], y + x[:, 1]], axis=1)
    return x, (more - more.mean(0)) / more.std(0)


@pytest.mark.slow
def test_group_mcp_is_skglms(diabetes) -> None:  # noqa: F811
    """Of a linear model of three targets, an input is a group: skglm's are rows of (inputs, targets)."""
    pytest.importorskip("skglm")
    from skglm.datafits import QuadraticMultiTask
    from skglm.penalties import BlockMCPenalty
    from skglm.solvers import MultiTaskBCD
    from skglm.utils.jit_compilation import compiled_clone

    x, y = several_targets(diabetes)
    fit, penalty = compiled_clone(QuadraticMultiTask()), compiled_clone(BlockMCPenalty(0.15, 3.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solver = MultiTaskBCD(tol=1e-12, max_iter=1000, use_acc=False)
        expected = solver.solve(np.asfortranarray(x), np.asfortranarray(y), fit, penalty)[0].T[:, : x.shape[1]]
    assert 0 < (expected == 0).all(0).sum() < x.shape[1]
    assert (np.linalg.norm(expected, axis=0) > 0.45).any()  # where the penalty is flat
    ours = GroupMCP(0.15, gamma=3.0, size_weighted=False)
    for name in RULES:
        assert_same(solve((x, y), name, ours, [[i] for i in range(x.shape[1])]), expected)


@pytest.mark.parametrize("penalty", [GroupMCP(0.1, gamma=1e9), SparseGroupLasso(0.1, l1_ratio=0.0)], ids=str)
@pytest.mark.parametrize("name", ["momentum", pytest.param("adam", marks=pytest.mark.slow)])
def test_limits_are_the_group_lasso(diabetes, found, name, penalty) -> None:  # noqa: F811
    assert_same(solve(diabetes, name, penalty, GROUPS), found["momentum"])
