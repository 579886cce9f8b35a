"""Penalties on groups that span tensors do what the penalty does to a matrix made by hand."""

from __future__ import annotations

import copy
import itertools
import re
import warnings

import pytest
import torch
from torch import Tensor, nn

import meden
from meden import InputError, Regularizer, StrengthSchedule
from meden.penalties import (
    L1,
    L2,
    GroupLasso,
    GroupMCP,
    MaxNorm,
    Nuclear,
    Penalty,
    PullTo,
    Scaled,
    SparseGroupLasso,
    Sum,
)
from meden.structure import GroupSet, ModelGroups, Piece
from tests.optim.grouped import each, inputs, net, rows, units, write

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.stack([X[:, 0], X[:, 1] * X[:, 2], X[:, 3].sin()], dim=1)
RULES = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.5),
    "adam": lambda params: torch.optim.Adam(params, lr=0.02),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=0.01),
}
PENALTIES: list[Penalty] = [
    GroupLasso(0.05),
    GroupLasso(0.1, dim=0, size_weighted=False),
    SparseGroupLasso(0.05),
    GroupMCP(0.1),
    MaxNorm(0.8),
    Sum((GroupLasso(0.03), L2(0.1))),
    Scaled(GroupLasso(0.5), 0.1),
]


def backward(model: nn.Module) -> None:
    model.zero_grad()
    (model(X) - Y).square().mean().backward()


def lengths(rule: str, optimizer: torch.optim.Optimizer, w: Tensor) -> float | Tensor:
    """The proximal step, from its formula."""
    state = optimizer.state[w]
    if rule == "sgd":
        return 0.05 / 0.5
    if rule == "adam":
        return 0.02 / ((state["exp_avg_sq"] / (1 - 0.999 ** float(state["step"]))).sqrt() + 1e-8)
    return 0.01 / (state["square_avg"].sqrt() + 1e-8)


def by_hand(rule: str, penalty: Penalty, coupling: str, outgoing: bool, num_steps: int) -> nn.Module:
    """Train with a penalty on a matrix of units that is cut out and put back by hand."""
    model = net()
    optimizer = RULES[rule](model.parameters())
    for _ in range(num_steps):
        backward(model)
        grads, steps = copy.deepcopy(model), copy.deepcopy(model)
        for own, param in zip(grads.parameters(), model.parameters(), strict=True):
            own.data.copy_(param.grad)
        if coupling in ("gradient", "loss"):
            write(
                grads, rows(grads, outgoing=outgoing) + penalty.grad(rows(model, outgoing=outgoing)), outgoing=outgoing
            )
            for own, param in zip(grads.parameters(), model.parameters(), strict=True):
                param.grad = own.detach().clone()
        if coupling == "decoupled":
            w, lr = rows(model, outgoing=outgoing), optimizer.param_groups[0]["lr"]
            write(model, w - lr * penalty.grad(w), outgoing=outgoing)
        optimizer.step()
        if coupling == "proximal":
            for own, param in zip(steps.parameters(), model.parameters(), strict=True):
                own.data.copy_(torch.as_tensor(lengths(rule, optimizer, param)))
            step = lengths(rule, optimizer, None) if rule == "sgd" else rows(steps, outgoing=outgoing)
            w, far = rows(model, outgoing=outgoing), 2 * optimizer.param_groups[0]["lr"]
            moved = penalty.prox(w, step)
            if rule != "sgd" and not penalty.is_constraint:
                moved = moved.clamp(w - far, w + far)
            write(model, moved, outgoing=outgoing)
    return model


def regularized(
    rule: str, regularizers: list[Regularizer], num_steps: int, model: nn.Module | None = None
) -> nn.Module:
    model = model or net()
    optimizer = RULES[rule](model.parameters())
    meden.regularize(optimizer, model, regularizers)
    for _ in range(num_steps):
        backward(model)
        optimizer.step()
    return model


def assert_same(model: nn.Module, other: nn.Module) -> None:
    for (name, own), its in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own, its, rtol=1e-9, atol=1e-12, msg=name)
        assert torch.equal(own == 0, its == 0), name


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
def test_a_proximal_step_is_that_of_the_matrix(rule: str, penalty: Penalty) -> None:
    for outgoing in (False, True):
        model = regularized(rule, [Regularizer(penalty, groups=units(outgoing=outgoing))], 25)
        assert_same(model, by_hand(rule, penalty, "proximal", outgoing, 25))


@pytest.mark.parametrize("coupling", ["gradient", "decoupled"])
@pytest.mark.parametrize("penalty", [p for p in PENALTIES if not p.is_constraint], ids=str)
def test_gradients_are_those_of_the_matrix(coupling: str, penalty: Penalty) -> None:
    for rule, outgoing in itertools.product(("sgd", "adam"), (False, True)):
        model = regularized(rule, [Regularizer(penalty, coupling=coupling, groups=units(outgoing=outgoing))], 5)
        assert_same(model, by_hand(rule, penalty, coupling, outgoing, 5))


@pytest.mark.parametrize("rule", RULES)
def test_a_unit_leaves_as_a_whole(rule: str) -> None:
    model = regularized(rule, [Regularizer(GroupLasso(0.05), groups=units(outgoing=True))], 150)
    zeros = rows(model, outgoing=True) == 0
    assert 0 < zeros.all(1).sum() < 6
    assert torch.equal(zeros.any(1), zeros.all(1))


def test_inputs_of_several_columns_are_one_group() -> None:
    model = regularized("sgd", [Regularizer(GroupLasso(0.1), groups=inputs())], 300, net().eval())
    zeros = (model[0].weight == 0).all(0)
    assert torch.equal((model[0].weight == 0).any(0), zeros)
    assert zeros[0] == zeros[2] and zeros.any() and not zeros[3]  # which is in no group


def test_the_size_is_that_of_each_group() -> None:
    model = net()
    handle = meden.regularize(
        torch.optim.SGD(model.parameters(), lr=0.1), model, [Regularizer(GroupLasso(1.0), groups=inputs())]
    )
    w = model[0].weight.detach()
    expected = 6**0.5 * (w[:, 1].norm() + w[:, 4].norm()) + 12**0.5 * w[:, [0, 2]].norm()
    assert handle.values() == {"GroupLasso(inputs)": pytest.approx(expected.item())}
    assert "tensors: 1, groups: 3" in handle._repr_html_()


def test_single_tensors_come_first_whatever_the_order() -> None:
    both = [Regularizer(GroupLasso(0.02, size_weighted=False), groups=units()), Regularizer(L1(0.01), ["0.*", "2.*"])]
    sparse = SparseGroupLasso(0.03, l1_ratio=1 / 3, size_weighted=False)
    expected = regularized("sgd", [Regularizer(sparse, groups=units())], 30)
    for order in (both, both[::-1]):
        assert_same(regularized("sgd", order, 30), expected)


def test_overlapping_groups_act_one_after_the_other() -> None:
    joint = ModelGroups("units", (*units(outgoing=True).sets, *inputs().sets))
    apart = [Regularizer(GroupLasso(0.05), groups=units(outgoing=True)), Regularizer(GroupLasso(0.05), groups=inputs())]
    assert_same(regularized("adam", [Regularizer(GroupLasso(0.05), groups=joint)], 40), regularized("adam", apart, 40))


def test_on_chooses_by_the_first_tensor() -> None:
    others = Piece("3.weight", 0, each(3)), Piece("3.bias", 0, each(3))
    sets = [GroupSet("outputs", ("a", "b", "c"), (piece,)) for piece in others]
    both = ModelGroups("units", (*units().sets, *sets))
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for on, num in (("weights", 12), ("3.*", 6), ("0.weight", 6), (-1, 6), ("biases", 3)):
        handle = meden.regularize(optimizer, model, [Regularizer(GroupLasso(1.0), on, groups=both)])
        assert f"groups: {num}" in handle._repr_html_()
        handle.remove()
    with pytest.raises(
        InputError, match=r"on of GroupLasso\(units of 2.\*\) must select the first tensor of a group \(0.weight, 3.w"
    ):
        meden.regularize(optimizer, model, [Regularizer(GroupLasso(1.0), "2.*", groups=both)])


def test_schedules_multiply() -> None:
    late = Regularizer(GroupLasso(0.5), groups=units(), schedule=StrengthSchedule(kind="jump", start=10))
    nothing = Regularizer(GroupLasso(0.0), groups=units())
    assert_same(regularized("adam", [late], 10), regularized("adam", [nothing], 10))
    assert (rows(regularized("adam", [late], 200)) == 0).all(1).any()


def test_pulled_to_the_start_and_back_from_a_state() -> None:
    model, start = net(), rows(net())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    handle = meden.regularize(optimizer, model, [Regularizer(PullTo(GroupLasso(0.05)), groups=units())])
    for _ in range(60):
        backward(model)
        optimizer.step()
    stays = (rows(model) == start).all(1)
    assert 0 < stays.sum() < 6
    state = handle.state_dict()
    assert set(state["starts"]["PullTo(units)"]) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    other = copy.deepcopy(model)
    second = torch.optim.Adam(other.parameters(), lr=0.02)
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    with warnings.catch_warnings():
        resumed = meden.regularize(second, other, [Regularizer(PullTo(GroupLasso(0.05)), groups=units())])
    resumed.load_state_dict(state)
    for _ in range(10):
        for own, its in ((model, optimizer), (other, second)):
            backward(own)
            its.step()
    assert_same(other, model)


def test_what_is_frozen_does_not_count() -> None:
    model = net().eval()  # batch norm would divide by the size of what shrinks
    model[2].requires_grad_(False)
    before = copy.deepcopy(model[2].state_dict())
    regularized("adam", [Regularizer(GroupLasso(0.2), groups=units())], 150, model)
    assert torch.equal(model[2].weight, before["weight"]) and torch.equal(model[2].bias, before["bias"])
    zeros = (model[0].weight == 0).all(1)
    assert zeros.any() and not zeros.all() and (model[0].bias[zeros] == 0).all()


def test_what_has_no_gradient_is_left_alone() -> None:
    for penalty in (GroupLasso(0.2), PullTo(GroupLasso(0.2))):
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        meden.regularize(optimizer, model, [Regularizer(penalty, groups=units())])
        start = copy.deepcopy(model.state_dict())
        for _ in range(100):
            backward(model)
            model[2].bias.grad = None
            optimizer.step()
        assert torch.equal(model[2].bias, start["2.bias"])
        still = model[0].weight == (start["0.weight"] if isinstance(penalty, PullTo) else 0)
        assert still.all(1).any()


def test_rates_of_their_own() -> None:
    """Groups of which parts have other rates are moved by what each has."""
    model, optimizer_of = net(), torch.optim.SGD
    slow, fast = [model[0].weight], [p for p in model.parameters() if p is not model[0].weight]
    optimizer = optimizer_of([{"params": slow, "lr": 0.01}, {"params": fast, "lr": 0.1}])
    penalty = GroupLasso(0.3)
    handle = meden.regularize(optimizer, model, [Regularizer(penalty, groups=units())])
    other = net()
    plain = optimizer_of(
        [
            {"params": [other[0].weight], "lr": 0.01},
            {"params": [p for p in other.parameters() if p is not other[0].weight], "lr": 0.1},
        ]
    )
    for _ in range(20):
        for own, its in ((model, optimizer), (other, plain)):
            backward(own)
            its.step()
        step = torch.full((6, 8), 0.1, dtype=torch.float64)
        step[:, :5] = 0.01
        write(other, penalty.prox(rows(other), step))
    assert_same(model, other)
    assert handle.num_steps == 20


def test_weights_that_the_forward_pass_scales() -> None:
    model = net()
    model[0].weight_scale, model[3].weight_scale = 0.5, 1.0
    matrix = rows(model)
    matrix[:, :5] *= 0.5
    for coupling, step in (("proximal", 0.1), ("decoupled", 0.1), ("gradient", 0.1)):
        own = copy.deepcopy(model)
        optimizer = torch.optim.SGD(own.parameters(), lr=step)
        handle = meden.regularize(optimizer, own, [Regularizer(GroupLasso(0.4), coupling=coupling, groups=units())])
        assert handle.values() == {"GroupLasso(units)": pytest.approx(GroupLasso(0.4).value(matrix).item())}
        for param in own.parameters():
            param.grad = torch.zeros_like(param)
        optimizer.step()
        scale = torch.ones(8, dtype=torch.float64)
        scale[:5] = 0.5
        if coupling == "proximal":  # in the metric of the weights that the forward pass sees
            expected = GroupLasso(0.4).prox(matrix, (step * scale**2).expand(6, 8)) / scale
        elif coupling == "decoupled":
            expected = (matrix - step * GroupLasso(0.4).grad(matrix)) / scale
        else:
            expected = matrix / scale - step * scale * GroupLasso(0.4).grad(matrix)
        torch.testing.assert_close(rows(own), expected)


def test_closures_and_sharpness_take_them() -> None:
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5)
    meden.regularize(optimizer, model, [Regularizer(GroupLasso(0.01), coupling="gradient", groups=units())])

    def closure() -> Tensor:
        backward(model)
        return (model(X) - Y).square().mean()

    first = (model(X) - Y).square().mean() + GroupLasso(0.01).value(rows(model))
    assert optimizer.step(closure).item() == pytest.approx(first.item())


def test_handles_see_twins_and_replaced_parameters() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    handle = meden.regularize(optimizer, model, [Regularizer(GroupLasso(0.1), groups=units())])
    with pytest.raises(InputError, match=r"must not act twice on units of 0"):
        meden.regularize(optimizer, model, [Regularizer(GroupLasso(0.1), groups=units())])
    meden.regularize(optimizer, model, [Regularizer(GroupLasso(0.1))]).remove()  # of other tensors
    report = str(meden.audit(model, optimizer, [handle]))
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert re.search(rf"{name}.*GroupLasso\(units\) \(proximal\)", report)
    assert not re.search(r"3.weight.*GroupLasso", report)
    assert "(bias)" not in report and "(norm)" not in report  # they are to leave with their units
    model[0].weight = nn.Parameter(model[0].weight.detach().clone())
    optimizer.param_groups[0]["params"] = list(model.parameters())
    backward(model)
    with pytest.raises(InputError, match=r"0\.weight of GroupLasso\(units\).*rebind"):
        optimizer.step()
    handle.rebind(model)
    optimizer.step()


@pytest.mark.parametrize(
    ("penalty", "groups", "message"),
    [
        (GroupLasso(1.0), "unit", "groups must be None, one of 'units'"),
        (GroupLasso(1.0, dim="inputs"), "units", "does not see one group in each row"),
        (GroupLasso(1.0, dim=1), "units", "does not see one group in each row"),
        (GroupLasso(1.0, block=2), "units", "does not see one group in each row"),
        (Sum((GroupLasso(1.0), MaxNorm(1.0, dim=-1))), "units", "does not see one group in each row"),
        (Nuclear(1.0), "units", "does not see one group in each row"),
    ],
)
def test_what_makes_no_sense_on_groups_is_refused(penalty: Penalty, groups: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Regularizer(penalty, groups=groups)
    assert "\n" not in str(caught.value)


def test_groups_of_another_model_are_refused() -> None:
    model = net()
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(5, 6))
    original = "parametrizations.weight.original1"
    cases = [
        (model, "units", r"found with an example here, groups=meden.groups_of\(model, example, kind='units'\)"),
        (nn.Linear(5, 6), units(), "groups of 0.weight, which it does not have"),
        (net(width=5), units(), r"whose 0.weight has shape \(5, 5\), got position 5 of axis 0"),
        (
            normed,
            ModelGroups("units", (GroupSet("u", ("a",), (Piece(original, 0, ((0,),)),)),)),
            "must consist of parameters",
        ),
        (
            normed,
            ModelGroups("units", (GroupSet("u", ("a",), (Piece("weight", 0, ((0,),)),)),)),
            "must consist of parameters",
        ),
        (model, ModelGroups("units", ()), "there are none"),
    ]
    for own, groups, message in cases:
        before = copy.deepcopy(own.state_dict())
        with pytest.raises(InputError, match=message) as caught:
            meden.regularize(torch.optim.SGD(own.parameters()), own, [Regularizer(GroupLasso(1.0), groups=groups)])
        assert "\n" not in str(caught.value)
        assert all(torch.equal(a, b) for a, b in zip(before.values(), own.state_dict().values(), strict=True))
