"""No proximal step under an adaptive optimizer moves a weight by more than two rates; solutions stay where they are."""

import pytest
import torch
from torch import nn

import meden
from meden.optim.metric import STRIDES, within_reach
from meden.penalties import (
    L1,
    L2,
    MCP,
    SCAD,
    ElasticNet,
    GroupLasso,
    HierarchicalLasso,
    LogSum,
    MaxNorm,
    NonNegative,
    Nuclear,
    PullTo,
    Sum,
)

LR = 0.01
PENALTIES = [
    L1(0.1),
    L2(0.1),
    ElasticNet(0.1, 0.5),
    MCP(0.1, 3.0),
    SCAD(0.1, 3.7),
    LogSum(0.1, 0.1),
    GroupLasso(0.1),
    Nuclear(0.1),
    PullTo(L2(0.1)),
    Sum((L1(0.1), L2(0.1))),
    Sum((L1(0.1), MaxNorm(100.0))),
]
OPTIMIZERS = {
    "adam": (torch.optim.Adam, {}, LR),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.0}, LR),
    "rmsprop": (torch.optim.RMSprop, {}, LR),
    "rmsprop with momentum": (torch.optim.RMSprop, {"momentum": 0.5}, 2 * LR),
    "adagrad": (torch.optim.Adagrad, {}, LR),
}


def starts_at_zero():
    """A network whose last layer has no weight yet, so that the first has no gradient."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Tanh(), nn.Linear(6, 1, bias=False)).double()
    nn.init.zeros_(model[2].weight)
    return model


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_layer_without_a_gradient_is_not_gone_in_one_step(penalty, name):
    kind, settings, rate = OPTIMIZERS[name]
    model = starts_at_zero()
    optimizer = kind(model.parameters(), lr=LR, **settings)
    meden.regularize(optimizer, model, [meden.Regularizer(penalty, on="0.weight", coupling="proximal")])
    before = model[0].weight.detach().clone()
    (model(torch.ones(4, 6, dtype=torch.float64)) - 1).square().mean().backward()
    assert not model[0].weight.grad.any()
    optimizer.step()
    assert (model[0].weight - before).abs().max() <= STRIDES * rate * (1 + 1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_within_reach_becomes_exactly_zero(name):
    kind, settings, _ = OPTIMIZERS[name]
    weight = nn.Parameter(torch.tensor([0.015, -0.015, 3.0, 0.0]))
    model = nn.ParameterDict({"weight": weight})
    optimizer = kind([weight], lr=LR, **settings)
    meden.regularize(optimizer, model, [meden.Regularizer(L1(1.0), on="all", coupling="proximal")])
    weight.grad = torch.zeros(4)
    optimizer.step()
    assert weight[[0, 1, 3]].tolist() == [0.0, 0.0, 0.0] and weight[2] > 2.9


def test_a_constraint_holds_whatever_the_reach():
    weight = nn.Parameter(torch.tensor([-5.0, 5.0]))
    model = nn.ParameterDict({"weight": weight})
    optimizer = torch.optim.Adam([weight], lr=LR)
    joint = [meden.Regularizer(p, on="all", coupling="proximal") for p in (L1(1.0), NonNegative())]
    meden.regularize(optimizer, model, joint)
    weight.grad = torch.zeros(2)
    optimizer.step()
    assert weight[0] == 0.0 and 4.97 < weight[1] < 5.0


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("size", [3.0, 1e-4])
def test_ridge_ends_where_it_must_also_where_weights_are_smaller_than_the_rate(name, size):
    kind, settings, _ = OPTIMIZERS[name]
    target = size * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = kind([weight], lr=LR, **settings)
    model = nn.ParameterDict({"weight": weight})
    meden.regularize(optimizer, model, [meden.Regularizer(L2(1.0), on="all", coupling="proximal")])
    steps = 6000
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = (0.3 if name == "adagrad" else LR) * (1 - step / steps)
        optimizer.zero_grad()
        ((weight - target).square().sum() / 2).backward()
        optimizer.step()
    assert torch.allclose(weight.detach(), target / 2, rtol=1e-3, atol=0)


@pytest.mark.parametrize("fields", [{"l2": 0.1}, {"l1": 0.1}], ids=str)
def test_alone_and_together(fields):
    x = torch.randn(32, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    penalty = (L2 if "l2" in fields else L1)(0.1)
    recipe = meden.Recipe(
        optimizer="adam",
        lr=LR,
        epochs=5,
        batch_size=8,
        regularizers=[meden.Regularizer(penalty, coupling="proximal")],
    )
    members = [meden.Member(recipe, seed=seed) for seed in range(4)]
    together = meden.fit_many(starts_at_zero, members, (x.numpy(), x[:, 0].numpy()))
    (alone,) = meden.fit_many(starts_at_zero, members[:1], (x.numpy(), x[:, 0].numpy()))
    for ours, theirs in zip(together[0].model.parameters(), alone.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_step_that_is_cut_short_ends_within_the_hard_part_of_a_penalty() -> None:
    w = torch.randn(5, 4)  # far outside of the hierarchy
    for penalty in (HierarchicalLasso(0.1, bound=0.5), Sum((HierarchicalLasso(0.1, bound=0.5), L2(1.0)))):
        near = within_reach(w * 0.1, w, 0.01, penalty)
        assert penalty.value(near).isfinite()
    assert within_reach(L1(0.1).prox(w, 10.0), w, 0.01, L1(0.1)).sub(w).abs().max() <= 0.0201
