"""The seed decides whatever a model draws: twice, resumed, in two threads, in any order; the caller's generator stays.

That a member of a stack draws as a model by itself is in many/test_contract.py.
"""

import contextlib
import functools
import random
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import meden
from meden._randomness import drawn_from, own_randomness
from meden.checkpoint import model_tensors
from meden.member import Member
from meden.normalising import normalises
from tests.training.many.architectures import DRAWING, NORMED, Architecture, Between
from tests.training.many.witness import blobs, folds_of


def by_numpy(net, h):
    """Drop elements by numpy's global generator."""
    return h * torch.from_numpy(np.random.binomial(1, 0.7, h.shape)).float() if net.training else h


def by_python(net, h):
    """Skip a layer by Python's global generator."""
    return h.tanh() if net.training and random.random() < 0.5 else h


def by_half_of_a_pair(net, h):
    """Draw one number of numpy's generator of normal numbers, which makes two at a time."""
    return h + float(np.random.randn()) if net.training else h


def past_functions(net, h):
    """Drop by a function of torch that has no name in ``nn.functional``."""
    return torch.native_dropout(h, 0.3, net.training)[0]


def by_numpy_in_large_batches(net, h):
    """Draw where a trial with two rows does not come."""
    return h * float(np.random.beta(1, 1)) if net.training and len(h) > 5 else h


def by_a_helper_after_a_while(net, h):
    """Draw where a trial of one pass does not come, by a function elsewhere."""
    net.num_passes = getattr(net, "num_passes", 0) + net.training
    return h * coin() if net.num_passes > 4 else h


def coin():
    return float(random.random() < 0.5)


class NoisyGradient(Between):
    """Noise on a gradient, by a hook that torch knows nothing of."""

    def __init__(self, draw):
        super().__init__(lambda _, h: h.tanh())
        self.into.weight.register_hook(lambda g: g + 0.1 * draw(g))


def by_numpy_on_the_gradient(g):
    return torch.as_tensor(np.random.randn(*g.shape), dtype=g.dtype)


PAST_TORCH = [
    Architecture(function.__name__, lambda function=function: Between(function), stacked=False)
    for function in (by_numpy, by_python, by_half_of_a_pair, past_functions, by_numpy_in_large_batches)
]
HOOKED = [
    Architecture("torch on the gradient", lambda: NoisyGradient(torch.randn_like), stacked=False),
    Architecture("numpy on the gradient", lambda: NoisyGradient(by_numpy_on_the_gradient), stacked=False),
]
table = pytest.mark.parametrize("case", [*DRAWING, *NORMED, *PAST_TORCH, *HOOKED], ids=str)
RECIPE = meden.Recipe(lr=0.01, epochs=3, batch_size=16)


def rows(case):
    """Return fitting and held-out rows."""
    x, y = (torch.as_tensor(part) for part in case.data())
    return (x[:40], y[:40]), (x[40:], y[40:])


def fitted(case, seed=0, **settings):
    torch.manual_seed(1)
    model = case.make()
    torch.manual_seed(np.random.default_rng().integers(2**31))  # whatever the caller did before
    random.seed()
    np.random.seed()
    before = drawn_from()
    run = meden.fit(model, *rows(case), RECIPE, seed=seed, **settings)
    assert drawn_from() == before
    return run


def same(run, other):
    ours, theirs = model_tensors(run.model), model_tensors(other.model)
    losses = [[(r.train, r.valid) for r in each.history] for each in (run, other)]
    return losses[0] == losses[1] and all(torch.equal(ours[name], theirs[name]) for name in theirs)


@table
def test_twice_is_the_same_and_another_seed_is_not(case):
    run = fitted(case)
    assert same(run, fitted(case)) and not same(run, fitted(case, seed=1))


@table
def test_killed_and_resumed_is_the_same(case, tmp_path):
    def kill(record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    path = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fitted(case, checkpoint=path, on_epoch=kill)
    assert same(fitted(case, checkpoint=path), fitted(case))


@pytest.mark.parametrize("case", DRAWING, ids=str)
def test_steps_differ_from_each_other(case):
    """The same rows at the same weights; only their order is another in each epoch."""
    torch.manual_seed(1)
    model, draws = case.make(), []
    model.register_forward_hook(
        lambda layer, _args, out: draws.append(out.detach().clone()) if layer.training else None
    )
    (x, y), _ = rows(case)
    meden.fit(model, (x, y), recipe=RECIPE.replace(optimizer="sgd", lr=1e-30, batch_size="full"))
    assert not torch.equal(draws[-1].sort(0).values, draws[-2].sort(0).values)


@table
@pytest.mark.parametrize("chunk", [1, None])
def test_members_in_threads_draw_as_one_after_the_other(case, chunk, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # of members that train at once
    data = case.data()
    members = [Member(RECIPE.replace(lr=lr), fold) for lr in (0.01, 0.03) for fold in folds_of(data)]

    def runs(of):
        expected = (
            contextlib.nullcontext() if case.stacked or chunk == 1 else pytest.warns(UserWarning, match="one by one")
        )
        with expected:
            return meden.fit_many(case.make, of, data, chunk=chunk)

    before = drawn_from()
    together, again = runs(members), runs(members)
    assert drawn_from() == before
    assert all(same(a, b) for a, b in zip(together, again, strict=True))
    if chunk == 1:
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        assert all(same(a, b) for a, b in zip(together, runs(members[::-1])[::-1], strict=True))


def test_sharpness_aware_steps_draw_the_same_in_both_passes():
    draws = []

    def function(_net, h):
        draws.append(torch.rand(3))
        return h + 0 * draws[-1].sum()

    x, y = (torch.as_tensor(part) for part in blobs())
    meden.fit(
        Between(function), (x, y), recipe=RECIPE.replace(sharpness=meden.Sharpness(), batch_size="full", epochs=2)
    )
    *_, first, second, _evaluation = draws
    assert torch.equal(first, second)


def test_the_reason_why_members_are_not_stacked_is_said_once():
    case = next(case for case in DRAWING if case.name == "gumbel softmax")
    with pytest.warns(UserWarning) as said:
        meden.fit_many(case.make, [Member(RECIPE, fold) for fold in folds_of(case.data())], case.data())
    assert [str(one.message) for one in said] == [
        "models are trained one by one, since they cannot be stacked: exponential_ draws random numbers"
    ]


def test_evaluation_that_draws_is_the_same_each_time():
    model = nn.Sequential(nn.Linear(5, 3), nn.Dropout(0.5))
    model[1].forward = lambda x: nn.functional.dropout(x, 0.5)
    run = meden.fit(model, tuple(torch.as_tensor(part) for part in blobs()), recipe=RECIPE)
    assert (
        len(
            {
                str(meden.objective.evaluate(run.model, [(torch.ones(4, 5), torch.zeros(4).long())], "classification"))
                for _ in range(3)
            }
        )
        == 1
    )


def test_weights_that_numpy_draws_are_decided_by_the_seed():
    def make(num_outputs):
        model = nn.Linear(5, num_outputs)
        nn.init.constant_(model.weight, float(np.random.randn()) + random.random())
        return model

    def runs():
        return meden.fit_many(make, [Member(RECIPE, fold) for fold in folds_of(blobs())], blobs())

    assert all(same(a, b) for a, b in zip(runs(), runs(), strict=True))


@pytest.mark.filterwarnings("ignore:two training passes")
def test_what_is_drawn_after_a_while_is_decided_by_the_seed():
    case = Architecture("late", lambda: Between(by_a_helper_after_a_while), stacked=False)
    assert same(fitted(case), fitted(case)) and not same(fitted(case), fitted(case, seed=1))


class Probed(nn.Module):
    """What looks like a norm of one's own, so that it is tried on random rows; it draws meanwhile."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5))
        self.entered = threading.Event()

    def forward(self, x):
        torch.rand(7)
        self.entered.set()
        return x * self.scale


def test_a_layer_is_tried_in_its_turn():
    """Other threads draw from the same generators: starting weights of theirs must not hang on when that is."""
    with own_randomness(seed=0):
        alone = torch.rand(2)
    layer = Probed()
    trial = threading.Thread(target=normalises, args=(layer,))
    with own_randomness(seed=0):
        trial.start()
        assert not layer.entered.wait(0.2)
        assert torch.equal(torch.rand(2), alone)
    trial.join()
    assert layer.entered.is_set()


@pytest.mark.parametrize("threads", [1, 4])
def test_models_alone_side_by_side(threads):
    """Networks with parameters that look like a norm's are made and tried in several threads."""
    data = blobs(90)
    net = functools.partial(meden.models.TabularNet, num_numbers=4, width=16)
    members = [Member(meden.Recipe(epochs=1), seed=seed) for seed in range(8)]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        runs = meden.fit_many(net, members, data, chunk=1)
    finally:
        torch.set_num_threads(before)
    for member, run in zip(members, runs, strict=True):
        (alone,) = meden.fit_many(net, [member], data, chunk=1)
        assert all(map(torch.equal, model_tensors(run.model).values(), model_tensors(alone.model).values()))


def test_global_generators_are_seeded_in_one_place():
    own = Path(meden.__file__).parent
    seeders = re.compile(r"fork_rng|set_rng_state|torch\.manual_seed|(np\.|\b)random\.(seed|set_?state)\(")
    found = {path.name for path in own.rglob("*.py") if seeders.search(path.read_text(encoding="utf-8"))}
    assert found == {"_randomness.py"}
