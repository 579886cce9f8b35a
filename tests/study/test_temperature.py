"""The temperature of probabilities: against scipy's minimiser, and where the truth is known."""

import math

import numpy as np
import pytest
from scipy import optimize, special

from meden.study.temperature import FLOOR, SPREAD, mixture_temperature, tempered


def drawn(seed, num_rows, num_classes, power):
    """Return probabilities to a power, (n, C), and labels of those without it."""
    random = np.random.default_rng(seed)
    logits = 1.5 * random.normal(size=(num_rows, num_classes))
    p = special.softmax(logits, axis=1)
    labels = (random.random(num_rows)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    return special.softmax(power * logits, axis=1), labels


def by_scipy(probabilities, labels, weights, spread):
    def loss(log_temperature):
        logs = special.log_softmax(np.log(np.maximum(probabilities, FLOOR)) / math.exp(log_temperature), axis=1)
        return -(weights @ logs[np.arange(len(labels)), labels]) + (log_temperature / spread) ** 2 / 2

    return math.exp(optimize.minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}).x)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("spread", [SPREAD, 0.05, math.inf])
@pytest.mark.parametrize("power", [0.2, 1.0, 4.0])
@pytest.mark.parametrize(("num_rows", "num_classes"), [(20, 2), (400, 4)])
def test_it_is_where_scipy_finds_it(num_rows, num_classes, power, spread, weighted):
    probabilities, labels = drawn(num_rows, num_rows, num_classes, power)
    weights = np.random.default_rng(1).uniform(0, 2, num_rows) if weighted else np.ones(num_rows)
    found = mixture_temperature(probabilities, labels, weights if weighted else None, spread)
    assert found == pytest.approx(by_scipy(probabilities, labels, weights, spread), rel=1e-5)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_it_finds_the_power_by_which_many_rows_are_too_sure(power):
    probabilities, labels = drawn(7, 5000, 3, power)
    assert mixture_temperature(probabilities, labels) == pytest.approx(power, rel=0.06)
    true = special.softmax(np.log(probabilities) / power, axis=1)
    assert np.abs(tempered(probabilities, power) - true).max() < 1e-3  # but for the floor


def test_few_rows_hardly_move_it():
    probabilities, labels = drawn(8, 5, 2, 4.0)
    free, prior = (mixture_temperature(probabilities, labels, spread=spread) for spread in (math.inf, SPREAD))
    assert abs(math.log(prior)) < 0.5 * abs(math.log(free))


def test_a_row_of_weight_two_is_there_twice():
    probabilities, labels = drawn(9, 60, 3, 2.0)
    counts = np.arange(60) % 3
    rows = np.repeat(np.arange(60), counts)
    weighted = mixture_temperature(probabilities, labels, counts.astype(float))
    assert weighted == pytest.approx(mixture_temperature(probabilities[rows], labels[rows]))


def test_probabilities_of_zero_cost_no_infinity():
    labels = np.arange(40) % 2
    sure = np.eye(2)[np.where(np.arange(40) < 30, labels, 1 - labels)]  # a quarter is wrong
    found = mixture_temperature(sure, labels)
    assert 2 < found < 100
    told = tempered(sure, found)
    assert (told > 0).all() and told.sum(axis=1) == pytest.approx(1)
    assert -np.log(told[np.arange(40), labels]).mean() < 1


def test_rows_that_are_all_right_stop_at_the_end_of_the_range():
    sure = np.array([[0.6, 0.4]] * 10)
    assert mixture_temperature(sure, np.zeros(10, dtype=int), spread=math.inf) == pytest.approx(0.01, rel=1e-3)
    assert mixture_temperature(sure, np.ones(10, dtype=int), spread=math.inf) == pytest.approx(100, rel=1e-3)


def test_a_temperature_of_one_changes_nothing_and_none_changes_the_order():
    probabilities, _ = drawn(10, 200, 4, 1.0)
    assert tempered(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-12)
    for temperature in (0.7, 5.0):
        assert np.array_equal(tempered(probabilities, temperature).argsort(axis=1), probabilities.argsort(axis=1))
