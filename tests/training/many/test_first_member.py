"""Models that do what vmap's rules, or a recording, do not know: as alone, or one by one with a reason."""

import warnings

import pytest
import torch
from torch import nn

import meden
from meden.member import Member
from tests.training.many.witness import alone, assert_same_run, blobs, folds_of

DATA = blobs()
RECIPE = meden.Recipe(epochs=3, batch_size=16, lr=0.05, optimizer="sgd", momentum=0.0)
MEMBERS = [Member(RECIPE.replace(lr=lr), fold) for lr in (0.05, 0.1) for fold in folds_of(DATA)[:2]]


class Net(nn.Module):
    """Two layers with something between them."""

    def __init__(self, between):
        super().__init__()
        self.first, self.last, self.between = nn.Linear(5, 4), nn.Linear(4, 3), between
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("mean", torch.zeros(4))
        self.num_calls = torch.zeros(())

    def forward(self, x):
        return self.last(self.scale * self.between(self, self.first(x)))


def in_a_loop(_net, h):
    for number in range(6):
        h = (h * torch.tensor(1.0 + number / 10).to(h)).sin()
    return h


def scaled_constants(_net, h):
    shift, scale = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    scale /= 3
    return (h - shift.to(h)) / scale.to(h)


def in_place(net, h):
    if net.training:
        net.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))
    return h - net.mean


def asked_for_gradients(_net, h):
    return h * (2.0 if h.requires_grad else 1.0)


def hooked(_net, h):
    if h.requires_grad:
        h.register_hook(lambda g: 3 * g)
    return h


def replaced_buffer(net, h):
    if net.training:
        net.mean = 0.9 * net.mean + 0.1 * h.detach().mean(0)
    return h - net.mean


def counted(net, h):
    net.num_calls += 1
    return h / (1 + net.num_calls.to(h) / 10)


def scattered(_net, h):
    return torch.select_scatter(torch.zeros_like(h), 2 * h[:, 0], 1, 1)


def largest_of_equals(net, h):
    return h / net.scale.max()


@pytest.mark.parametrize("between", [in_a_loop, scaled_constants, in_place])
def test_what_is_recorded_is_as_alone(between):
    check(between, stacked=True)


@pytest.mark.filterwarnings("ignore:two training passes")
@pytest.mark.parametrize("between", [asked_for_gradients, hooked, replaced_buffer, counted, scattered])
def test_what_cannot_be_is_trained_one_by_one_and_told(between):
    check(between, stacked=False)


def test_the_largest_of_equals_shares_its_gradient():
    """By itself a model shares it among them; vmap's rule would give all to one."""
    check(largest_of_equals, stacked=False)


@pytest.mark.parametrize(
    "add",
    [
        lambda net: net.first.weight.register_hook(lambda g: g * (torch.arange(5) > 1)),
        lambda net: net.last.register_full_backward_pre_hook(lambda _module, grads: (2 * grads[0],)),
    ],
    ids=["of a parameter", "of a layer"],
)
def test_hooks_of_backward_passes_are_heeded(add):
    def make():
        net = Net(lambda _net, h: h.tanh()).double()
        add(net)
        return net

    check_made(make, stacked=False)


def check(between, *, stacked):
    check_made(lambda: Net(between).double(), stacked=stacked)


def check_made(make, *, stacked):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        runs = meden.fit_many(make, MEMBERS, DATA)
    if stacked is not None:
        assert sum("one by one" in str(one.message) for one in told) == (0 if stacked else 1), [
            str(t.message) for t in told
        ]
    for run, member in zip(runs, MEMBERS, strict=True):
        assert_same_run(run, alone(make, member, DATA))
