"""AUC and low error rates: values by scikit-learn and by brute force, intervals by simulation."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

from meden.diagnosis.memory.separation import auc, roc, true_positives


def one_model(num_members, num_outsiders, shift=0.0, ties=False, seed=0):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(1, num_members + num_outsiders))
    scores[0, :num_members] += shift
    members = np.arange(scores.shape[1])[None] < num_members
    return (scores.round(0) if ties else scores), members


@pytest.mark.parametrize("ties", [False, True])
def test_an_auc_is_that_of_scikit_learn_and_its_error_that_of_delong(ties):
    scores, members = one_model(40, 25, shift=0.7, ties=ties)
    found = auc(scores, members, ~members)
    assert found.value == pytest.approx(roc_auc_score(members[0], scores[0]), abs=1e-12)
    kernel = (scores[0, :40, None] > scores[0, None, 40:]) + 0.5 * (scores[0, :40, None] == scores[0, None, 40:])
    m, n, value = 40, 25, kernel.mean()
    influence = np.concatenate([(kernel.mean(1) - value) / m, (kernel.mean(0) - value) / n])
    error = math.sqrt((influence**2).sum() * (m + n) / (m + n - 1))
    delong = math.sqrt(kernel.mean(1).var(ddof=1) / m + kernel.mean(0).var(ddof=1) / n)
    assert error == pytest.approx(delong, rel=0.02)
    half = norm.isf(0.025) * error / (value * (1 - value))
    ends = [1 / (1 + math.exp(-(math.log(value / (1 - value)) + sign * half))) for sign in (-1, 1)]
    assert (found.low, found.high) == pytest.approx(tuple(ends), abs=1e-9)


def test_intervals_hold_the_truth_as_often_as_they_say():
    truth = norm.cdf(1.0 / math.sqrt(2))
    intervals = [auc(*both(one_model(60, 30, shift=1.0, seed=seed))) for seed in range(400)]
    share = np.mean([found.low <= truth <= found.high for found in intervals])
    assert 0.92 <= share <= 0.98  # two standard errors of 400 draws are 0.022


def both(given):
    scores, members = given
    return scores, members, ~members


def test_a_row_that_is_member_here_and_outsider_there_counts_once():
    """Five models, each row an outsider of one: what rows have in common is no difference, and the interval knows."""
    random, missed, errors, values = np.random.default_rng(0), 0, [], []
    for _ in range(300):
        fold = random.permutation(np.arange(100) % 5)
        outsiders = fold[None] == np.arange(5)[:, None]
        scores = 3 * random.normal(size=100) + random.normal(size=(5, 100))
        found = auc(scores, ~outsiders, outsiders)
        missed += not found.low <= 0.5 <= found.high
        errors.append((found.high - found.low) / (2 * norm.isf(0.025)))
        values.append(found.value)
    assert missed / 300 < 0.08
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)
    assert np.mean(errors) < 0.5 * np.sqrt(101 / 12 / 80 / 20 / 5)  # of as many rows that are others each time


def test_rows_of_one_cluster_count_as_one():
    scores, members = one_model(30, 30, shift=0.5)
    alone, twice = auc(scores, members, ~members), [np.repeat(part, 2, axis=1) for part in (scores, members)]
    clustered = auc(twice[0], twice[1], ~twice[1], np.repeat(np.arange(60), 2))
    assert (clustered.value, clustered.low) == pytest.approx((alone.value, alone.low), abs=1e-9)
    assert auc(twice[0], twice[1], ~twice[1]).low > alone.low + 0.02


def test_scores_that_compare_models_have_intervals_that_know_what_models_differ_by():
    random, missed = np.random.default_rng(0), {True: 0, False: 0}
    classes = np.arange(100) % 2
    for _ in range(200):
        fold = random.permutation(np.arange(100) % 5)
        outsiders = fold[None] == np.arange(5)[:, None]
        shifts = random.normal(size=(5, 2))[:, classes]  # of all rows of a class, in one model
        for compared in missed:
            found = auc(shifts + 0.01 * random.normal(size=(5, 100)), ~outsiders, outsiders, compared=compared)
            missed[compared] += not found.low <= 0.5 <= found.high
    assert missed[True] / 200 < 0.08 and missed[True] < missed[False]


def test_a_perfect_separation_is_as_sure_as_its_rows_are_many():
    few, many = (auc(*both(one_model(num, num, shift=50.0))) for num in (5, 500))
    assert few.value == few.high == many.value == 1.0
    assert few.low == pytest.approx(0.025 ** (1 / 5)) and many.low > 0.99
    scores, members = one_model(5, 5, shift=-50.0)
    assert auc(scores, members, ~members).low == 0.0 < auc(scores, members, ~members).high


def test_what_cannot_be_told_is_none():
    scores, members = one_model(1, 30)
    assert auc(scores, members, ~members) is None
    assert true_positives(scores, members & False, ~members, 0.01) is None


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5])
def test_true_positives_are_those_of_scikit_learn(share):
    scores, members = one_model(300, 300, shift=1.0)
    false, true, _ = roc_curve(members[0], scores[0], drop_intermediate=False)
    found = true_positives(scores, members, ~members, share)
    assert found.value == pytest.approx(true[false <= share].max())
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("share", "num"), [(0.01, 400), (0.1, 100), (0.001, 200)])
def test_intervals_of_true_positives_hold_the_truth(share, num):
    truth = norm.sf(norm.isf(share) - 1.5)
    found = [true_positives(*both(one_model(num, num, shift=1.5, seed=seed)), share) for seed in range(200)]
    assert np.mean([one.low <= truth <= one.high for one in found]) >= 0.95 - 0.03
    if share * num < 1:
        assert all(one.low == 0 for one in found)  # too few outsiders to bound such a threshold


def test_a_curve_is_that_of_scikit_learn():
    scores, members = one_model(200, 150, shift=1.0, ties=True)
    false, true, _ = roc_curve(members[0], scores[0], drop_intermediate=False)
    known = dict(zip(false.round(9), true, strict=True))
    found = roc(scores, members, ~members)
    assert found.shape[1] > 5 and found[0, -1] == found[1, -1] == 1.0
    assert all(known[round(x, 9)] == pytest.approx(y) for x, y in found.T)
