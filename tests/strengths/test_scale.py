"""Decay as a time, the square-root rule against a simulated optimizer, what repeated epochs are worth."""

import math

import numpy as np
import pytest
import torch

from meden import InputError
from meden.strengths import AdaptiveSettings, decay_of, epochs_worth, square_root_rule, time_constant


@pytest.mark.parametrize("steps_per_epoch", [1, 20, 12.5])
def test_weights_fall_to_one_over_e_in_the_time_constant(steps_per_epoch):
    decay = decay_of(30.0, lr=1e-3, steps_per_epoch=steps_per_epoch)
    w = torch.nn.Parameter(torch.ones(3))
    w.grad = torch.zeros(3)
    optimizer = torch.optim.AdamW([w], lr=1e-3, weight_decay=decay)
    for _ in range(round(30 * steps_per_epoch)):
        optimizer.step()
    assert w.tolist() == pytest.approx([math.exp(-1)] * 3, rel=0.03)
    assert time_constant(1e-3, decay, steps_per_epoch=steps_per_epoch) == pytest.approx(30.0)


def test_without_decay_the_time_is_infinite_both_ways():
    assert time_constant(1e-3, 0.0, steps_per_epoch=9) == math.inf and decay_of(math.inf, lr=1e-3) == 0.0


def test_under_a_schedule_the_mean_rate_counts():
    rates = 0.002 * (1 + np.cos(np.linspace(0, math.pi, 1000))) / 2
    decay = decay_of(len(rates), lr=float(rates.mean()))
    assert np.prod(1 - rates * decay) == pytest.approx(math.exp(-1), rel=0.002)


def spread(settings, batch_size, rows=2**15):
    """Return how far RMSprop walks on gradients that are noise alone: the standard deviation of 4,000 weights."""
    rng = np.random.default_rng(0)
    w, second = np.zeros(4000), np.full(4000, 1.0 / batch_size)
    for _ in range(rows // batch_size):
        gradient = rng.standard_normal(4000) / math.sqrt(batch_size)
        second = settings.betas[0] * second + (1 - settings.betas[0]) * gradient**2
        w -= settings.lr * gradient / (np.sqrt(second) + settings.eps)
    return w.std()


def test_the_square_root_rule_keeps_the_walk_of_noise_and_other_rules_do_not():
    small = AdaptiveSettings(lr=1e-3, betas=(0.999,), eps=0.1)
    large = square_root_rule(small, 16)
    assert spread(large, 64) == pytest.approx(spread(small, 4), rel=0.05)
    assert spread(small, 64) < 0.5 * spread(small, 4) and spread(large._replace(lr=16e-3), 64) > 2 * spread(small, 4)


def test_repetitions_wear_off():
    worth = [epochs_worth(epochs) for epochs in (0, 0.5, 1, 2, 4, 16, 40, 1e6)]
    assert worth[:3] == [0, 0.5, 1] and worth == sorted(worth)
    assert worth[4] > 0.93 * 4 and worth[6] < 0.4 * 40 and worth[7] == pytest.approx(16.387756)
    near = (epochs_worth(1.001) - 1) / 0.001
    assert near == pytest.approx(1.0, rel=1e-3)  # the first repetition is as good as fresh rows
    sums = sum(math.exp(-r / 15.387756) for r in np.arange(0.0005, 39, 0.001)) * 0.001  # each a little less
    assert worth[6] == pytest.approx(1 + sums, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: epochs_worth(-1), "epochs must be a finite number of at least 0, got -1"),
        (lambda: epochs_worth(math.inf), "epochs must be a finite number"),
        (lambda: time_constant(1e-3, 0.1, steps_per_epoch=0), "steps_per_epoch must be a finite number above 0, got 0"),
        (lambda: decay_of(0, lr=1e-3), "time_constant must be a finite number above 0, got 0"),
        (lambda: decay_of(math.nan, lr=1e-3), "time_constant must be a finite number above 0"),
        (lambda: decay_of(3, lr=0), "lr must be a finite number above 0"),
        (lambda: square_root_rule(AdaptiveSettings(1e-3, (0.9,), 1e-8), 11), r"grow by at most 10 .*got 11"),
        (lambda: square_root_rule(AdaptiveSettings(1e-3, (0.9,), 1e-8), 0), "growth must be a finite number above 0"),
    ],
)
def test_numbers_out_of_range_are_refused(call, match):
    with pytest.raises(InputError, match=match):
        call()
