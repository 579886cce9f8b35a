"""Update and proximal step in one pass give the bits that they give one after the other."""

import copy

import pytest
import torch
from torch import nn

import meden
from meden.optim import handle as handle_module
from meden.optim import metric
from meden.optim.one_pass import OnePass
from meden.optim.parts import PART
from meden.penalties import L1, L2, ElasticNet, GroupLasso, NonNegative, PullTo, Sum

pytestmark = pytest.mark.filterwarnings("ignore:.*both shrink")  # on purpose: decay is part of an update

SIZE = 400  # SIZE squared is more than a part
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.01}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "dampening": (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.5}),
    "fused": (torch.optim.SGD, {"momentum": 0.9, "fused": True}),
    "adam": (torch.optim.Adam, {}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True, "weight_decay": 0.01}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.1}),
    "fused adam": (torch.optim.Adam, {"fused": True}),
}
PENALTIES = [
    L1(0.1),
    ElasticNet(0.1, 0.5),
    Sum((L1(0.1), NonNegative())),
    PullTo(L2(0.1)),
    L1(torch.linspace(0, 0.1, SIZE)[:, None]),
    GroupLasso(0.1),
]


@pytest.fixture
def taken(monkeypatch):
    """How many parameters each step took over."""
    numbers = []
    end = OnePass.end

    def counted(self):
        done = end(self)
        numbers.append(len(done))
        return done

    monkeypatch.setattr(OnePass, "end", counted)
    return numbers


def trained(make, settings, penalties, *, steps=3, dtype=torch.float32, prepare=lambda _: None):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(SIZE, SIZE), nn.Linear(SIZE, 2)).to(dtype)
    assert model[0].weight.numel() > PART
    optimizer = make(model.parameters(), lr=0.01, **settings)
    for penalty in penalties:
        meden.regularize(optimizer, model, [meden.Regularizer(penalty, on="0.weight", coupling="proximal")])
    prepare(optimizer)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, SIZE, dtype=dtype)).square().mean().backward()
        optimizer.step()
    return model, copy.deepcopy(optimizer.state_dict())


def assert_same_bits(one, other):
    for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a.signbit(), b.signbit())
    states, others = one[1]["state"], other[1]["state"]
    assert states.keys() == others.keys()
    for number, state in states.items():
        assert state.keys() == others[number].keys()
        assert all(torch.equal(value, others[number][name]) for name, value in state.items() if value is not None)
    assert one[1]["param_groups"] == other[1]["param_groups"]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_optimizer_gives_the_same_bits(name, dtype, taken, monkeypatch):
    one = trained(*OPTIMIZERS[name], [ElasticNet(0.1, 0.5)], dtype=dtype)
    assert taken[-1] == 1
    monkeypatch.setattr(handle_module, "can_take_over", lambda _: False)
    assert_same_bits(one, trained(*OPTIMIZERS[name], [ElasticNet(0.1, 0.5)], dtype=dtype))
    assert len(taken) == 3


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_every_penalty_gives_the_same_bits(name, penalty, taken, monkeypatch):
    one = trained(*OPTIMIZERS[name], [penalty])
    assert taken[-1] == 1
    monkeypatch.setattr(handle_module, "can_take_over", lambda _: False)
    monkeypatch.setattr("meden.optim.parts.PART", 10**9)
    assert_same_bits(one, trained(*OPTIMIZERS[name], [penalty]))


class Own(torch.optim.SGD):
    """Might do anything in its step."""


@pytest.mark.parametrize(
    ("make", "settings", "penalties"),
    [
        (Own, {}, [L1(0.1)]),
        (torch.optim.SGD, {"foreach": True}, [L1(0.1)]),
        (torch.optim.Adam, {"foreach": True}, [L1(0.1)]),
        (torch.optim.RMSprop, {}, [L1(0.1)]),
        (torch.optim.SGD, {}, [L1(0.1), L2(0.1)]),  # two handles: one is to act after the other
    ],
)
def test_other_steps_are_left_alone(make, settings, penalties, taken):
    model, _ = trained(make, settings, penalties)
    assert not taken
    assert bool((model[0].weight == 0).any())


def test_hooks_of_others_see_gradients_and_may_change_them(taken):
    seen = []

    def halve(optimizer, *_):
        optimizer.param_groups[0]["params"][0].grad.mul_(0)

    def look(optimizer, *_):
        seen.append(optimizer.param_groups[0]["params"][0].grad.abs().sum().item())

    def prepare(optimizer):
        optimizer.register_step_pre_hook(halve)
        optimizer.register_step_post_hook(look)

    model, _ = trained(torch.optim.SGD, {}, [L1(0.0)], prepare=prepare)
    torch.manual_seed(0)
    assert torch.equal(model[0].weight, nn.Linear(SIZE, SIZE).weight)
    assert seen == [0.0] * 3
    assert taken == [1] * 3


def test_a_step_that_breaks_off_leaves_nothing_behind():
    torch.manual_seed(0)
    model = nn.Linear(SIZE, SIZE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    handle = meden.regularize(optimizer, model, [meden.Regularizer(L1(0.1))])

    def fail(*_):
        raise KeyboardInterrupt

    hook = optimizer.register_step_pre_hook(fail)
    model(torch.randn(2, SIZE)).sum().backward()
    with pytest.raises(KeyboardInterrupt):
        optimizer.step()
    hook.remove()
    handle.remove()
    assert "_init_group" not in vars(optimizer)


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam])
def test_what_is_not_a_number_stays_so_and_zeros_are_positive(make):
    model = nn.Linear(SIZE, SIZE, bias=False)
    with torch.no_grad():
        model.weight.fill_(-1e-9)
        model.weight[0, 0] = torch.nan
    optimizer = make(model.parameters(), lr=0.1)
    meden.regularize(optimizer, model, [meden.Regularizer(L1(10.0))])
    model.weight.grad = torch.zeros_like(model.weight)
    optimizer.step()
    assert model.weight[0, 0].isnan()
    rest = model.weight.flatten()[1:]
    assert bool((rest == 0).all())
    assert not bool(rest.signbit().any())


LAYOUTS = {
    "expanded": lambda grad: grad.mean(1, keepdim=True).expand_as(grad),
    "transposed": lambda grad: grad.t().contiguous().t(),
    "with gaps": lambda grad: torch.stack([grad, grad], dim=2).flatten(1)[:, ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["sgd", "momentum", "fused", "adam"])
def test_gradients_of_any_layout_give_the_same_bits(name, layout, monkeypatch):
    def prepare(optimizer):
        def lay_out(optimizer, *_):
            weight = optimizer.param_groups[0]["params"][0]
            weight.grad = LAYOUTS[layout](weight.grad)

        if not OPTIMIZERS[name][1].get("fused"):  # torch's own fused step has the same fault
            optimizer.register_step_pre_hook(lay_out)

    one = trained(*OPTIMIZERS[name], [ElasticNet(0.1, 0.5)], prepare=prepare)
    monkeypatch.setattr(handle_module, "can_take_over", lambda _: False)
    assert_same_bits(one, trained(*OPTIMIZERS[name], [ElasticNet(0.1, 0.5)], prepare=prepare))


def test_momentum_that_was_read_back_in_another_layout(monkeypatch):
    def after(take_over):
        torch.manual_seed(0)
        model = nn.Conv2d(128, 128, 3).to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        meden.regularize(optimizer, model, [meden.Regularizer(L1(1e-3), on="weight", coupling="proximal")])
        with monkeypatch.context() as patch:
            if not take_over:
                patch.setattr(handle_module, "can_take_over", lambda _: False)
            for _ in range(3):
                optimizer.zero_grad()
                model(torch.randn(2, 128, 5, 5)).square().mean().backward()
                optimizer.step()
                state = optimizer.state[model.weight]
                state["momentum_buffer"] = state["momentum_buffer"].contiguous()
        return model.weight.detach()

    assert torch.equal(after(True), after(False))


def test_an_update_that_fails_leaves_nothing_behind(monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    seen = []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("meden.optim.one_pass.full_rate", fail)
        trained(torch.optim.SGD, {}, [L1(0.1)], prepare=seen.append)
    assert "_init_group" not in vars(seen[0])


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
@pytest.mark.parametrize("count", [1, 2, 30, 5000])
def test_a_count_in_single_precision_loses_no_digits(beta, count):
    assert float(metric._correction(beta, torch.tensor(float(count)))) == pytest.approx(1 - beta**count, rel=1e-6)
