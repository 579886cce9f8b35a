"""Sharpness-aware steps, against the formulas in float64, and on a landscape with a sharp and a flat minimum."""

import pytest
import torch
from torch import nn

import meden
from meden.noise import Dropout, noise_state, seed_noise
from meden.optim import SAM, Sharpness, ascend, displacements, restore


def quadratic(seed=0):
    """Return parameters in float64 and the loss 1/2 w'Aw - b'w of them all, with A and b."""
    random = torch.Generator().manual_seed(seed)
    half = torch.randn(5, 5, generator=random, dtype=torch.float64)
    curvature, slope = half @ half.T, torch.randn(5, generator=random, dtype=torch.float64)
    params = [nn.Parameter(torch.randn(n, generator=random, dtype=torch.float64)) for n in (2, 3)]

    def loss():
        w = torch.cat(params)
        return w @ curvature @ w / 2 - slope @ w

    return params, loss, curvature, slope


def brute_step(w, curvature, slope, lr, rho, adaptive):
    g = curvature @ w - slope
    size = w.abs() + 0.01 if adaptive else torch.ones_like(w)
    moved = w + rho * size**2 * g / (size * g).pow(2).sum().sqrt()
    return w - lr * (curvature @ moved - slope)


@pytest.mark.parametrize("adaptive", [False, True])
def test_steps_equal_the_formula(adaptive):
    params, loss, curvature, slope = quadratic()
    expected = torch.cat(params).detach()
    sam = SAM(torch.optim.SGD(params, lr=0.05), Sharpness(rho=0.3, adaptive=adaptive))
    for _ in range(5):
        value = loss().item()

        def closure():
            result = loss()
            result.backward()
            return result

        assert sam.step(closure).item() == value
        expected = brute_step(expected, curvature, slope, 0.05, 0.3, adaptive)
        torch.testing.assert_close(torch.cat(params).detach(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("adaptive", [False, True])
def test_no_other_direction_of_the_same_length_raises_the_linear_loss_more(adaptive):
    random = torch.Generator().manual_seed(0)
    w, g = torch.randn(2, 6, generator=random, dtype=torch.float64)
    (best,) = displacements([w], [g], rho=0.5, adaptive=adaptive)
    size = w.abs() + 0.01 if adaptive else torch.ones_like(w)
    assert (best / size).norm().item() == pytest.approx(0.5)
    others = torch.randn(1000, 6, generator=random, dtype=torch.float64)
    others = size * 0.5 * others / others.norm(dim=1, keepdim=True)
    assert (others @ g).max() < best @ g


def test_rescaling_a_layer_changes_nothing_in_the_adaptive_form():
    """For s = |w|, up to the small constant: f(c w) has displacements c times as large."""
    w, g = torch.tensor([300.0, 500.0]), torch.tensor([1.0, -2.0])
    (plain,) = displacements([w], [g], rho=0.1, adaptive=True)
    (scaled,) = displacements([10 * w], [g / 10], rho=0.1, adaptive=True)
    torch.testing.assert_close(scaled, 10 * plain, rtol=1e-4, atol=0)


def test_a_stack_moves_as_its_members_do():
    random = torch.Generator().manual_seed(0)
    weights, grads = ([torch.randn(4, n, generator=random) for n in (2, 3)] for _ in range(2))
    rho = torch.tensor([0.1, 0.2, 0.3, 0.4])
    stacked = torch.vmap(lambda w, g, r: displacements(w, g, rho=r, adaptive=True))(weights, grads, rho)
    for k in range(4):
        alone = displacements([w[k] for w in weights], [g[k] for g in grads], rho=float(rho[k]), adaptive=True)
        for ours, theirs in zip(stacked, alone, strict=True):
            torch.testing.assert_close(ours[k], theirs)


def test_without_a_gradient_nothing_moves():
    params = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    params[0].grad = torch.zeros(2)
    originals = ascend(params, Sharpness())
    assert all((param == 1).all() for param in params)
    params[0].grad = torch.ones(2)
    ascend(params, Sharpness())
    assert not (params[0] == 1).any() and (params[1] == 1).all()
    restore(params, originals)
    assert all((param == 1).all() for param in params)


@pytest.mark.parametrize(("sharp_aware", "where"), [(False, 0.0), (True, 3.0)])
def test_it_leaves_a_sharp_minimum_for_a_flat_one(sharp_aware, where):
    """The lower of two parabolas: a sharp minimum at 0, of loss 0, and a flat one at 3, of loss 0.5; it starts at 0.1.

    Plain descent shrinks the distance from the sharp one at every step; SAM bounces off its walls and out of it.
    """
    w = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=0.1)
    sam = SAM(optimizer, Sharpness(rho=0.3))

    def closure():
        optimizer.zero_grad()
        loss = torch.minimum(18 * w**2 / 2, 0.5 + (w - 3) ** 2 / 2)
        loss.backward()
        return loss

    for _ in range(400):
        if sharp_aware:
            sam.step(closure)
        else:
            closure()
            optimizer.step()
    assert abs(w.item() - where) < 0.05


class Recorder(nn.Module):
    """Keeps what passes through it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append((x.detach() == 0).clone())
        return x


def test_both_passes_draw_the_same_masks_and_count_one_step():
    torch.manual_seed(0)
    recorder = Recorder()
    model = nn.Sequential(nn.Linear(4, 8), Dropout(0.5), recorder, nn.Linear(8, 1))
    seed_noise(model, 0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sam = SAM(optimizer, Sharpness(rho=0.5), model)
    x = torch.randn(16, 4)

    def closure():
        loss = model(x).square().mean()
        loss.backward()
        return loss

    sam.step(closure)
    sam.step(closure)
    first, second, third, fourth = recorder.seen
    assert torch.equal(first, second) and torch.equal(third, fourth) and not torch.equal(first, third)
    assert noise_state(model)["1.step"] == 2


def test_batch_norm_counts_the_first_pass_alone():
    torch.manual_seed(0)
    x = torch.randn(16, 4)
    model, plain = (nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)) for _ in range(2))
    plain.load_state_dict(model.state_dict())
    plain(x)
    sam = SAM(torch.optim.SGD(model.parameters(), lr=0.1), Sharpness(rho=0.5), model)

    def closure():
        loss = model(x).pow(4).mean()
        loss.backward()
        return loss

    sam.step(closure)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(model[1], name), getattr(plain[1], name))


def test_penalties_act_once_on_the_unmoved_weights():
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    model = nn.ParameterList([weight])
    optimizer = torch.optim.SGD([weight], lr=0.1)
    meden.regularize(optimizer, model, [meden.Regularizer(meden.penalties.L2(0.5), on="*", coupling="gradient")])

    def closure():
        loss = (weight**2).sum() / 2
        loss.backward()
        return loss

    SAM(optimizer, Sharpness(rho=0.1)).step(closure)
    assert weight.item() == pytest.approx(2 - 0.1 * ((2 + 0.1) + 0.5 * 2))


def test_a_failing_second_pass_leaves_the_weights_where_they_were():
    weight = nn.Parameter(torch.ones(2))
    calls = []

    def closure():
        calls.append(weight.detach().clone())
        if len(calls) == 2:
            raise KeyError
        loss = weight.sum()
        loss.backward()
        return loss

    with pytest.raises(KeyError):
        SAM(torch.optim.SGD([weight], lr=0.1), Sharpness()).step(closure)
    assert not torch.equal(calls[1], calls[0]) and torch.equal(weight, calls[0])


@pytest.mark.parametrize(("fields", "told"), [({"rho": 0.0}, "greater than 0"), ({"rho": float("inf")}, "finite")])
def test_bad_input(fields, told):
    with pytest.raises(meden.InputError, match=f"Sharpness rho should be .*{told}|Sharpness rho .*{told}"):
        Sharpness(**fields)
