"""The statistics below the rules on tables, beside independent witnesses: brute force, simulation, scikit-learn."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.random import default_rng
from scipy.stats import binomtest, fisher_exact, kstest
from sklearn.metrics import roc_auc_score

from meden.data import as_dataset
from meden.diagnosis.intervals import wilson
from meden.diagnosis.tables import drift, forest
from meden.diagnosis.tables.alone import FOLDS, _losses, alone
from meden.diagnosis.tables.columns import identifiers
from meden.diagnosis.tables.copies import equal_rows, near_rows
from meden.diagnosis.tables.missingness import missingness
from meden.diagnosis.tables.sequence import neighbours
from meden.diagnosis.tables.suspects import confident
from meden.diagnosis.tables.table import ALPHA, Table


def table(frame, **known):
    return Table(dataset=as_dataset(frame, target="y"), **known)


def often(alarms, expected=ALPHA):
    """Say whether alarms come oftener than expected, beyond chance."""
    return binomtest(int(np.sum(alarms)), len(alarms), expected, alternative="greater").pvalue < 0.001


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (5, 9), (40, 40)])
@pytest.mark.parametrize(("z", "level"), [(1.959964, 0.95), (1.644854, 0.9)])
def test_wilson_is_scipys(hits, count, z, level):
    known = binomtest(hits, count).proportion_ci(level, method="wilson")
    assert np.allclose(wilson(hits / count, count, z), (known.low, known.high), atol=1e-5)


def test_confident_learning_is_that_of_the_paper():
    """Counted row by row, as equations 1 to 3 of Northcutt et al. say."""
    draw = default_rng(0)
    probabilities, labels = draw.dirichlet([0.5] * 4, 300), draw.integers(0, 4, 300)
    threshold = [probabilities[labels == j, j].mean() for j in range(4)]
    joint, counted = np.zeros((4, 4)), []
    for p, label in zip(probabilities, labels, strict=True):
        over = [j for j in range(4) if p[j] >= threshold[j]]
        counted.append(max(over, key=lambda j: p[j]) if over else -1)
        if over:
            joint[label, counted[-1]] += 1
    calibrated = joint / joint.sum(1, keepdims=True) * np.bincount(labels)[:, None]
    found, expected = confident(probabilities, labels)
    assert found.tolist() == counted
    assert expected == pytest.approx(calibrated.sum() - np.trace(calibrated))


@pytest.mark.parametrize("classes", [True, False])
def test_what_a_bin_says_is_what_its_rows_in_the_other_folds_say(classes):
    draw = default_rng(1)
    bins, folds = draw.integers(0, 5, 200), draw.integers(0, FOLDS, 200)
    labels = draw.integers(0, 3, 200) if classes else draw.random(200)
    target = np.eye(3)[labels] if classes else labels[:, None]
    errors, blank = _losses(bins, folds, target)
    for row in range(200):
        others = labels[(folds != folds[row]) & (bins == bins[row])]
        every = labels[folds != folds[row]]
        if classes:
            most = np.bincount(others, minlength=3)
            if np.sort(most)[-1] > np.sort(most)[-2]:
                assert errors[row] == (most.argmax() != labels[row])
            assert blank[row] == (np.bincount(every).argmax() != labels[row])
        else:
            assert errors[row] == pytest.approx((others.mean() - labels[row]) ** 2)
            assert blank[row] == pytest.approx((every.mean() - labels[row]) ** 2)


@pytest.mark.parametrize("classes", [True, False])
def test_the_interval_of_one_columns_skill_holds_its_mean_over_tables(classes):
    found = []
    for seed in range(80):
        draw = default_rng(seed)
        x = draw.standard_normal(400)
        y = x + 0.5 * draw.standard_normal(400)
        frame = pd.DataFrame({"x": x, "y": np.where(y > 0, "a", "b") if classes else y})
        found.append(alone(table(frame))["x"])
    truth = np.mean([one.skill for one in found])
    assert 70 <= sum(one.low <= truth <= one.high for one in found)  # 76 are to be expected


def test_a_column_of_noise_has_no_skill():
    draw = default_rng(2)
    frame = pd.DataFrame(draw.standard_normal((300, 20))).add_prefix("x").assign(y=draw.choice(["a", "b"], 300))
    assert max(one.low for one in alone(table(frame)).values()) < 0.05


def test_copies_are_told_from_ties():
    draw = default_rng(3)
    called = []
    for _ in range(100):
        levels = draw.integers(2, 8, 4)
        frame = pd.DataFrame({f"x{j}": draw.integers(0, k, 150) for j, k in enumerate(levels)})
        called.append(equal_rows(table(frame.assign(y=draw.random(150)))).copies)
    assert sum(called) <= 2
    assert not equal_rows(table(pd.DataFrame({"x": [1] * 150, "y": draw.random(150)}))).copies
    wide = pd.DataFrame(draw.integers(0, 3, (150, 20))).add_prefix("x").assign(y=draw.random(150))
    assert equal_rows(table(pd.concat([wide] * 3))).copies
    copied = equal_rows(table(pd.concat([wide, wide.iloc[:3]])))
    assert copied.copies and copied.num_rows == 3
    assert sorted(copied.repeated.tolist()) == [0, 1, 2, 150, 151, 152]


@pytest.mark.parametrize("dimension", [2, 6])
def test_near_rows_are_rarely_found_where_there_are_none(dimension):
    draw = default_rng(dimension)
    alarms = []
    for place in range(60):
        x = draw.standard_normal((120, dimension))
        x = x if place % 2 else np.exp(1.5 * x)  # heavy tails
        frame = pd.DataFrame(x).add_prefix("x").assign(y=draw.random(120))
        alarms.append(len(near_rows(table(frame))) > 0)
    assert not often(alarms)


def test_near_copies_are_found_though_each_has_several():
    draw = default_rng(4)
    x = draw.standard_normal((200, 4))
    x[10:13] = x[9] + 1e-3 * draw.standard_normal((3, 4))
    found = near_rows(table(pd.DataFrame(x).add_prefix("x").assign(y=draw.random(200))))
    assert {row for pair in found.tolist() for row in pair} == {9, 10, 11, 12}


def test_missingness_gives_false_alarms_as_often_as_it_says_over_all_columns():
    alarms = []
    for seed in range(60):
        draw = default_rng(seed)
        frame = pd.DataFrame(draw.standard_normal((60, 12))).add_prefix("x").mask(draw.random((60, 12)) < 0.2)
        alarms.append(bool(missingness(table(frame.assign(y=draw.choice(["a", "b"], 60)))).names))
    assert not often(alarms)


def test_the_chance_of_one_columns_missingness_is_fishers():
    draw = default_rng(5)
    y = np.repeat(["a", "b"], 40)
    gone = draw.random(80) < np.where(y == "a", 0.5, 0.1)
    frame = pd.DataFrame({"x": np.where(gone, np.nan, draw.standard_normal(80)), "y": y})
    known = fisher_exact([[sum(gone[:40]), sum(~gone[:40])], [sum(gone[40:]), sum(~gone[40:])]]).pvalue
    found = missingness(table(frame))
    assert known < 0.002 and found.names == ("x",) and found.p[0] <= 0.005


def test_neighbours_in_any_order_are_alike_as_often_as_chance_says():
    chances = []
    for seed in range(80):
        draw = default_rng(seed)
        frame = pd.DataFrame({"x": draw.random(50), "y": draw.choice(["a", "b", "c"], 50)})
        chances.append(neighbours(table(frame)).p)
    assert kstest(chances, "uniform").pvalue > 0.001


def test_the_correlation_of_neighbours_is_that_of_ranks():
    y = np.cumsum(default_rng(6).standard_normal(300))
    found = neighbours(table(pd.DataFrame({"x": y, "y": y})))
    ranks = pd.Series(y).rank()
    assert found.correlation == pytest.approx(ranks.autocorr(1), abs=0.02) and found.p == 0.001


@pytest.mark.parametrize(("spread", "names"), [(1, True), (20, False)])
def test_a_key_is_told_by_the_chance_that_no_number_comes_twice(spread, names):
    """Among so few numbers the chance of no collision, here multiplied out, is below what is allowed; or it is not."""
    num = 60
    possible = num * spread
    exact = math.prod(1 - k / possible for k in range(num))
    keys = default_rng(7).permutation(possible)[:num]
    keys[[int(keys.argmin()), int(keys.argmax())]] = 0, possible - 1
    assert (exact < ALPHA / 2) is names
    frame = pd.DataFrame({"key": keys, "x": default_rng(8).random(num), "y": default_rng(9).random(num)})
    assert identifiers(table(frame)) == ["key"] * names


@pytest.fixture
def few_trees(monkeypatch):
    """Let forests be quick: that chances are right does not depend on how good they are."""
    monkeypatch.setattr(forest, "TREES", 5)
    monkeypatch.setattr(drift, "DRAWS", 2)  # of the interval, which is not asked for


@pytest.mark.usefixtures("few_trees")
def test_random_splits_are_told_apart_as_often_as_chance_says():
    chances = []
    for seed in range(80):
        draw = default_rng(seed)
        frame = pd.DataFrame(draw.standard_normal((100, 3))).add_prefix("x").assign(y=draw.choice(["a", "b"], 100))
        part = np.where(draw.permutation(100) % 3, "fit", "score")
        chances.append(drift.drift(table(frame, split=part, seed=seed)).p)
    assert kstest(chances, "uniform").pvalue > 0.001
    assert not often(np.array(chances) <= 0.05, expected=0.05)


@pytest.mark.usefixtures("few_trees")
def test_times_in_which_neighbours_are_alike_are_no_drift():
    chances = []
    for seed in range(50):
        draw = default_rng(seed)
        x = np.stack([np.convolve(draw.standard_normal(244), np.ones(5), mode="valid") for _ in range(3)], axis=1)
        frame = pd.DataFrame(x).add_prefix("x").assign(y=draw.random(240))
        chances.append(drift.drift(table(frame, moments=np.arange(240), seed=seed)).p)
    assert not often(np.array(chances) <= 0.05, expected=0.05)


def test_the_area_under_the_curve_is_scikit_learns():
    draw = default_rng(10)
    frame = pd.DataFrame(draw.standard_normal((200, 3)), columns=[*"abc"]).assign(y=draw.random(200))
    second = np.arange(200) % 2 == 1
    frame.loc[second, "b"] += 2
    found = drift.two_samples(table(frame), np.arange(200), second, np.arange(200))
    scores = np.concatenate(found.scores)
    labels = np.repeat([0, 1], [len(part) for part in found.scores])
    assert found.auc == pytest.approx(roc_auc_score(labels, scores))
    assert found.low < found.auc < found.high and found.columns[0] == "b" and len(scores) == 100
