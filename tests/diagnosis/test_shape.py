"""Scatter, slopes and falls of curves, against what is known of them."""

import math

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.stats import linregress

from meden.diagnosis.curves.rates import NOISY
from meden.diagnosis.curves.shape import best_epoch, flattered, line, scatter, still_to_fall, surely_falls

EPOCHS = np.arange(1, 41)
FALL = np.exp(-EPOCHS / 6)


def test_scatter_of_white_noise_is_measured_and_a_smooth_fall_has_none():
    noise = default_rng(1).normal(0, 0.2, 4000)
    assert scatter(2 + noise) == pytest.approx(0.2, rel=0.05)
    assert scatter(list(3 - EPOCHS / 20)) < 1e-12 and scatter(list(FALL)) < NOISY / 100


@pytest.mark.parametrize("num", [8, 40])
def test_a_line_goes_on_as_it_fell_and_a_decay_fades(num):
    epochs = np.arange(1, num + 1)
    assert still_to_fall(list(3 - 0.1 * epochs)) == pytest.approx(0.1 * num / 4)
    left = math.exp(-num / 6)
    assert 0 < still_to_fall(list(np.exp(-epochs / 6))) < 2 * left


def test_slopes_agree_with_scipy():
    y = default_rng(2).normal(0, 1, 40) - 0.1 * EPOCHS
    fitted = linregress(np.arange(10), y[-10:])
    assert line(list(y)) == pytest.approx((fitted.slope, fitted.stderr))


def test_noise_is_hardly_ever_taken_for_a_fall_and_a_fall_is_seen_through_it():
    noise = default_rng(3).normal(0, 0.05, (1000, 40))
    assert np.mean([surely_falls(list(row)) for row in noise]) < 0.02
    assert np.mean([surely_falls(list(row)) for row in noise - 0.03 * EPOCHS]) > 0.8


def test_the_luckiest_epoch_is_flattered_by_the_scatter_and_that_of_a_smooth_curve_hardly():
    draws = default_rng(4)
    curves = [1 + 0.1 * draws.standard_normal(40) for _ in range(300)]
    lucky = np.mean([flattered(list(curve)) for curve in curves])
    assert lucky == pytest.approx(np.mean([1 - curve.min() for curve in curves]), rel=0.05)  # all epochs are worth 1
    smooth = 1 + ((EPOCHS - 20) / 40) ** 2
    assert best_epoch(list(smooth)) == 20 and flattered(list(smooth)) < 0.002
    assert flattered([0.3]) == 0.0
