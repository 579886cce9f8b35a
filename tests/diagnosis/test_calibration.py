"""The calibration error against sums by hand and simulated truths; the temperature against scikit-learn and a grid."""

import numpy as np
import pytest
from numpy.random import default_rng
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from meden._checks import InputError
from meden.diagnosis import (
    Answers,
    calibration_error,
    careful_temperature,
    chosen_rules,
    estimate_error,
    examine,
    fit_temperature,
)

ALARMS = chosen_rules(select=["calibration"])


def drawn(num: int, off: float, seed: int) -> Answers:
    """Return answers of a model that says ``off`` too much where it is sure, and too little where it is not."""
    draws = default_rng(seed)
    sure = 0.5 + 0.5 * draws.beta(5, 1.5, num)
    return Answers(sure, draws.random(num) < sure - off * np.where(sure > 0.8, 1, -1))


def test_the_error_is_by_hand():
    answers = drawn(500, 0.1, 0)
    total = 0.0
    for low in np.arange(10) / 10:
        own = [(s, r) for s, r in zip(answers.sure, answers.right, strict=True) if low <= s < low + 0.1]
        if own:
            said, right = np.mean(own, axis=0)
            total += len(own) / 500 * abs(said - right)
    assert calibration_error(answers.sure, answers.right) == pytest.approx(total)
    assert calibration_error([1.0, 1.0], [True, True]) == 0.0  # the last bin holds its end


@pytest.mark.parametrize(("off", "num"), [(0.0, 200), (0.1, 200), (0.0, 1000), (0.05, 1000), (0.1, 1000)])
def test_the_interval_holds_the_truth_and_chance_adds_little(off, num):
    many = drawn(10**6, off, 99)
    truth = calibration_error(many.sure, many.right) if off else 0.0
    told = [estimate_error(drawn(num, off, seed)) for seed in range(60)]
    held = np.mean([one.interval[0] <= truth + 2e-3 and one.interval[1] >= truth - 2e-3 for one in told])
    assert held >= 0.88  # 60 draws of 0.95: below this in one of two hundred
    plain, estimate = (np.mean([getattr(one, name) for one in told]) - truth for name in ("plain", "estimate"))
    assert abs(estimate) < 0.025 and (off > 0 or estimate < plain / 1.5)


@pytest.mark.parametrize("num", [100, 1000])
def test_probabilities_that_are_right_raise_no_alarm_and_those_that_are_not_do(num):
    alarms = [examine([drawn(num, 0.0, seed)], ALARMS) != () for seed in range(40)]
    assert sum(alarms) <= 1
    off = [Answers(np.full(num, 0.99), default_rng(seed).random(num) < 0.6) for seed in range(5)]
    assert all(examine([one], ALARMS) for one in off)
    told = examine(off[:1], ALARMS)[0]
    assert "too sure" in told.message and told.interval[0] < 0.39 < told.interval[1] + 0.1 and told.command == ""


def test_a_model_that_is_not_sure_enough_is_told_so():
    found = examine([Answers(np.full(500, 0.55), default_rng(0).random(500) < 0.9, "wine")], ALARMS)
    assert "underconfident" in found[0].message and found[0].command == "meden fit wine --calibrate"


def test_the_temperature_is_that_of_a_logistic_regression_on_the_logits():
    draws = default_rng(1)
    logit = 4 * draws.standard_normal(400)
    true = (draws.random(400) < 1 / (1 + np.exp(-logit / 2.5))).astype(int)
    both = np.stack([np.zeros(400), logit], axis=1)
    fitted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(logit[:, None], true)
    assert fit_temperature(both, true) == pytest.approx(1 / fitted.coef_[0, 0], rel=1e-4)


def test_the_temperature_of_many_classes_is_the_best_of_a_grid():
    draws = default_rng(2)
    logits = 3 * draws.standard_normal((300, 5))
    true = np.array([draws.choice(5, p=np.exp(row)) for row in log_softmax(logits / 3, axis=1)])
    grid = np.exp(np.linspace(-2, 3, 2001))
    losses = [-log_softmax(logits / t, axis=1)[np.arange(300), true].mean() for t in grid]
    assert fit_temperature(logits, true) == pytest.approx(grid[np.argmin(losses)], rel=3e-3)


def test_a_loss_that_falls_without_end_has_a_temperature_at_an_end():
    assert 0.01 <= fit_temperature([[1.0, 0.0]] * 3, [0, 0, 0]) < 0.03  # at which the loss is 0
    assert fit_temperature([[1.0, 0.0]] * 3, [1, 1, 1]) == pytest.approx(100, rel=1e-3)


@pytest.mark.parametrize(
    ("sure", "right", "told"),
    [
        ([], [], "above 0"),
        ([0.5, 0.6], [True], "must both have shape"),
        ([1.5], [True], "must be in .0, 1."),
    ],
)
def test_answers_that_do_not_fit_are_refused(sure, right, told):
    with pytest.raises(InputError, match=told):
        Answers(np.array(sure), np.array(right, dtype=bool))


def _change(true: float, num: int, repeats: int) -> tuple[np.ndarray, float]:
    """Return by how much a temperature of few rows changes the loss of others, (repeats,), and the loss before."""
    draws, changes, before = default_rng(0), [], []
    for _ in range(repeats):
        logits = 10 * draws.standard_normal((num + 500, 3))
        chances = np.exp(log_softmax(logits / true, axis=1)).cumsum(1)
        y = np.minimum((chances < draws.random((len(logits), 1))).sum(1), 2)
        found = careful_temperature(logits[:num], y[:num])
        losses = [-log_softmax(logits[num:] / t, axis=1)[np.arange(500), y[num:]].mean() for t in (1.0, found)]
        changes.append(losses[1] - losses[0])
        before.append(losses[0])
    return np.array(changes), float(np.mean(before))


@pytest.mark.parametrize("num", [15, 30, 100])
def test_a_temperature_of_few_rows_does_no_harm_and_helps_where_it_can(num):
    changes, before = _change(1.0, num, 60)
    assert changes.mean() < 0.01 * before  # of the most probable one it is up to twenty times the loss itself
    changes, before = _change(3.0, num, 30)
    assert changes.mean() < -0.15 * before


def test_rows_that_are_all_right_make_nothing_surer():
    assert careful_temperature([[3.0, 0.0]] * 500, [0] * 500) == 1.0
    assert careful_temperature([[1.0, 0.0]] * 500, [0] * 499 + [1]) < 0.5  # one that is wrong says how sure is too sure
