"""Averages of weights, against torch's own and against the formulas written out."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

import meden
from meden.noise import Dropout, noise_state
from meden.optim import Averager, Averaging, blend, has_batch_norm, refresh_batch_norm

ROWS = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))


def net(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), *layers, nn.ReLU(), nn.Linear(6, 2))


def train(model, num_steps, after_step):
    """Move the weights by gradients of something, and call ``after_step`` with the step's number after each."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(num_steps):
        optimizer.zero_grad()
        model(ROWS[step % 40 : step % 40 + 10]).square().mean().backward()
        optimizer.step()
        after_step(step)


def assert_same(model, other):
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_ema_equals_torchs_once_the_decay_is_reached():
    """With decay 0.1, (1 + t) / (10 + t) is reached from the start, so that torch's fixed decay is the same."""
    model = net()
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.1))
    ours = Averager(model, Averaging(decay=0.1), epochs=5, steps_per_epoch=4)
    train(model, 20, lambda _: (ours.update(), theirs.update_parameters(model)))
    with ours.applied():
        assert_same(model, theirs.module)
    assert not torch.equal(model[0].weight, theirs.module[0].weight)


@pytest.mark.parametrize("start", [0.0, 0.4, 0.9])
def test_swa_equals_torchs_mean_of_the_ends_of_epochs(start):
    model, epochs, steps = net(), 5, 3
    theirs = AveragedModel(model)
    ours = Averager(model, Averaging(kind="swa", start=start), epochs=epochs, steps_per_epoch=steps)

    def after_step(step):
        ours.update()
        if (step + 1) % steps == 0 and step // steps >= int(start * epochs):
            theirs.update_parameters(model)

    train(model, epochs * steps, after_step)
    with ours.applied():
        assert_same(model, theirs.module)


def test_rates_by_hand():
    rates = blend(Averaging(decay=0.25), epochs=2, steps_per_epoch=3)
    np.testing.assert_allclose(rates, [1, 1 - 2 / 11, 1 - 3 / 12, 0.75, 0.75, 0.75])
    rates = blend(Averaging(kind="swa", start=0.34), epochs=3, steps_per_epoch=2)
    np.testing.assert_allclose(rates, [1, 1, 1, 1, 0, 1 / 2])
    rates = blend(Averaging(kind="swa", start=0.0), epochs=4, steps_per_epoch=1)
    np.testing.assert_allclose(rates, [1, 1 / 2, 1 / 3, 1 / 4])
    assert (blend(Averaging(kind="swa", start=0.29), epochs=100, steps_per_epoch=1) == 1).sum() == 30


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_the_average_never_contains_what_was_before_the_first_update(kind):
    model = net()
    averager = Averager(model, Averaging(kind=kind), epochs=4, steps_per_epoch=2)
    with torch.no_grad():
        for param in model.parameters():
            param.fill_(7.0)
    averager.update()
    with averager.applied():
        assert all((param == 7).all() for param in model.parameters())


def test_a_table_of_rates_serves_a_stack():
    kinds = [Averaging(decay=0.5), Averaging(kind="swa", start=0.5)]
    rates = np.stack([blend(kind, epochs=4, steps_per_epoch=2) for kind in kinds])
    weights = torch.randn(8, 2, 5, dtype=torch.float64)
    stack = torch.zeros(2, 5, dtype=torch.float64)
    for t in range(8):
        stack += torch.from_numpy(rates[:, t, None]) * (weights[t] - stack)
    torch.testing.assert_close(stack[1], weights[[5, 7], 1].mean(0))
    alone = torch.zeros(5, dtype=torch.float64)
    for t in range(8):
        alone += rates[0, t] * (weights[t, 0] - alone)
    torch.testing.assert_close(stack[0], alone)


def test_applied_puts_everything_back_bit_for_bit():
    model = net(nn.BatchNorm1d(6), Dropout(0.5))
    averager = Averager(model, Averaging(), epochs=1, steps_per_epoch=5)
    train(model, 5, lambda _: averager.update())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()} | noise_state(model)
    with pytest.raises(KeyError), averager.applied():
        assert not torch.equal(model[0].weight, before["0.weight"])
        refresh_batch_norm(model, ROWS, batch_size=10)
        model(ROWS)
        raise KeyError
    after = model.state_dict() | noise_state(model)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_state_that_was_put_back_goes_on_the_same():
    model = net()
    whole = Averager(model, Averaging(decay=0.9), epochs=1, steps_per_epoch=10)
    parts = [Averager(model, Averaging(decay=0.9), epochs=1, steps_per_epoch=10) for _ in range(2)]

    def after_step(step):
        whole.update()
        if step == 5:
            parts[1].load_state_dict(parts[0].state_dict())
        parts[step >= 5].update()

    train(model, 10, after_step)
    ours, theirs = parts[1].state_dict(), whole.state_dict()
    assert ours["num_updates"] == theirs["num_updates"] == 10
    assert all(torch.equal(ours["average"][name], tensor) for name, tensor in theirs["average"].items())


def test_half_precision_weights_are_averaged_in_float32():
    model = nn.Linear(1, 1, bias=False).bfloat16()
    averager = Averager(model, Averaging(decay=0.999), epochs=1, steps_per_epoch=20_000)
    with torch.no_grad():
        model.weight.fill_(1.0)
        averager.update()
        model.weight.fill_(1.0 + 2**-7)
        for _ in range(19_999):
            averager.update()
    assert averager.state_dict()["average"]["weight"].item() == pytest.approx(1.0 + 2**-7, abs=1e-4)


def test_batch_norm_statistics_equal_torchs_update():
    model = net(nn.BatchNorm1d(6))
    theirs = copy.deepcopy(model)
    train(model, 3, lambda _: None)
    theirs.load_state_dict(model.state_dict())
    refresh_batch_norm(model, ROWS, batch_size=10)
    update_bn(torch.split(ROWS, 10), theirs)
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor)


def test_a_refresh_changes_running_statistics_and_nothing_else():
    model = net(nn.BatchNorm1d(6), Dropout(0.5), nn.Dropout(0.5))
    train(model, 3, lambda _: None)
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()} | noise_state(model)
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    refresh_batch_norm(model, ROWS, batch_size=10)
    assert [module.training for module in model.modules()] == modes
    assert model[1].momentum == 0.1 and torch.equal(random, torch.get_rng_state())
    after = model.state_dict() | noise_state(model)
    changed = {name for name, tensor in before.items() if not torch.equal(after[name], tensor)}
    assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    hidden = model[0](ROWS)
    torch.testing.assert_close(model[1].running_mean, hidden.mean(0))


def test_no_batch_has_a_single_row():
    model = net(nn.BatchNorm1d(6))
    for num_rows in (2, 3, 11, 21):
        refresh_batch_norm(model, ROWS[:num_rows], batch_size=10)
        assert model[1].running_var.isfinite().all()


def test_models_without_running_statistics_are_left_alone():
    for model in (net(), net(nn.BatchNorm1d(6, track_running_stats=False))):
        assert not has_batch_norm(model)
        refresh_batch_norm(model, ROWS, batch_size=1)
    assert has_batch_norm(net(nn.BatchNorm1d(6)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Averaging(kind="mean"), "Averaging kind should be 'ema' or 'swa'"),
        (lambda: Averaging(decay=1.0), "decay should be less than 1"),
        (lambda: Averaging(decay=0.0), "decay should be greater than 0"),
        (lambda: Averaging(start=1.0), "start should be less than 1"),
        (lambda: Averager(net(), Averaging(), epochs=0, steps_per_epoch=1), "epochs must be a whole number"),
        (lambda: refresh_batch_norm(nn.BatchNorm1d(4), ROWS, batch_size=1), "batch_size must be .* at least 2"),
        (lambda: refresh_batch_norm(nn.BatchNorm1d(4), ROWS[:1], batch_size=2), "at least two rows"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(meden.InputError, match=message):
        make()


def test_bad_use():
    averager = Averager(net(), Averaging(), epochs=1, steps_per_epoch=1)
    with pytest.raises(meden.InputError, match="must be updated at least once"), averager.applied():
        pass
    averager.update()
    with pytest.raises(meden.InputError, match=r"at most epochs \* steps_per_epoch = 1"):
        averager.update()
    with pytest.raises(meden.InputError, match="model's parameters"):
        averager.load_state_dict({"num_updates": 1, "average": {"weight": torch.ones(1)}})
