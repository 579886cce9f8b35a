"""Choosing, against examples worked out by hand; what a choice is worth, on pure noise."""

import resource

import numpy as np
import pytest

from meden.study.selection import (
    BLOCK_SIZE,
    best,
    corrected_score,
    differences_from_best,
    one_standard_error,
    standard_error,
)


def test_standard_error_by_hand():
    assert standard_error(np.array([1.0, 2.0, 3.0])) == pytest.approx(1 / np.sqrt(3))
    assert standard_error(np.array([1.0])) == np.inf


def test_best_is_the_lowest_mean_and_never_a_diverged_row():
    assert best(np.array([[3.0, 3], [1, 2], [np.nan, 0], [0, 4]])) == 1


@pytest.mark.parametrize(
    ("row", "within"),
    [
        ([1.0, 2, 3], True),  # the best itself
        ([1.1, 2.3, 2.9], True),  # differences 0.1, 0.3, -0.1: mean 0.1 <= SE 0.2 / sqrt(3) = 0.115
        ([1.1, 2.3, 3.0], False),  # differences 0.1, 0.3, 0.0: mean 0.133 > SE 0.153 / sqrt(3) = 0.088
        ([1.1, 2.1, 3.1], False),  # the same in every fold: paired, its error is 0
        ([np.nan, 2, 3], False),
    ],
)
def test_one_standard_error_is_that_of_mean_over_foldss(row, within):
    scores = np.array([[1.0, 2, 3], row])
    assert one_standard_error(scores, [0.0, 1.0]) == int(within)


def test_differences_from_the_best_by_hand_and_as_the_rule_takes_them():
    random = np.random.default_rng(4)
    scores = random.random((9, 4))
    scores[3, 1] = np.nan
    differences, errors = differences_from_best(scores)
    paired = scores - scores[best(scores)]
    assert np.allclose(differences, paired.mean(axis=1), equal_nan=True)
    assert np.allclose(errors, paired.std(axis=1, ddof=1) / 2, equal_nan=True)
    for row in range(9):
        alone = [float(other == row) for other in range(9)]
        assert (one_standard_error(scores, alone) == row) == (differences[row] <= errors[row])
    assert (differences_from_best(scores[:, :1])[1] == 0).all()


def test_the_simplest_wins_and_the_better_of_equally_simple_ones():
    scores = np.array([[1.0, 2, 3], [1.1, 2.3, 2.9], [1.0, 2.3, 2.9], [1.1, 2.4, 2.8]])
    assert one_standard_error(scores, [0, 1, 1, 0.5]) == 2
    assert one_standard_error(scores, [9, 1, 1, 0.5]) == 0


def mean_of_folds(values, folds, rows):
    """Mean over the rows, of which each weighs one over its fold's size."""
    return np.average(values[rows], weights=[1 / np.sum(folds == folds[row]) for row in rows])


@pytest.mark.parametrize("rule", ["best", "one_se"])
@pytest.mark.parametrize("sizes", [(12,), (4, 4, 4), (2, 7, 3)])
@pytest.mark.parametrize("grouped", [False, True])
def test_corrected_score_equals_a_plain_loop(rule, sizes, grouped):
    """Draw by draw, by the public rules; told in another number than the one that decides; one diverged."""
    random = np.random.default_rng(2)
    losses, values, folds = random.random((6, 12)), random.random((6, 12)), np.repeat(np.arange(len(sizes)), sizes)
    simplicity = [3.0, 1.0, 2.0, 3.0, 0.0, 5.0]
    losses[0], losses[5], values[5] = losses[0] + 10, np.nan, np.nan
    units = np.repeat(np.arange(6), 2) if grouped else np.arange(12)
    options = {"units": units if grouped else None, "simplicity": simplicity if rule == "one_se" else None}
    found = corrected_score(losses, naive=7.0, values=values, folds=folds + 3, num_draws=200, seed=3, **options)

    def chosen(rows):
        parts = [rows[folds[rows] == fold] for fold in range(len(sizes))]
        means = np.stack([losses[:, part].mean(axis=1) for part in parts if len(part)], axis=1)
        return best(means) if rule == "best" else one_standard_error(means, simplicity)

    draws, of_winners, of_choice = np.random.default_rng(3), [], []
    choice, num_units = values[chosen(np.arange(12))], units.max() + 1
    for _ in range(200):
        drawn = draws.integers(num_units, size=num_units)
        rows = np.concatenate([np.flatnonzero(units == unit) for unit in drawn])
        left = np.setdiff1d(np.arange(12), rows)
        if len(left):
            of_winners.append(mean_of_folds(values[chosen(rows)], folds, left))
            of_choice.append(mean_of_folds(choice, folds, left))
    assert found.estimate == pytest.approx(7 + np.mean(of_winners) - np.mean(of_choice))
    share = (1 - 1 / num_units) ** num_units
    scale = np.sqrt(share / (1 - share))
    if len(sizes) > 1:
        of_folds = np.array([choice[folds == fold].mean() for fold in range(len(sizes))])
        scale *= max(1, standard_error(of_folds) / (scale * np.std(of_choice)))
    farthest = np.abs(choice - choice.mean()).max() / num_units
    half = 1.6448536 * np.sqrt((scale * np.std(of_winners)) ** 2 + farthest**2)
    assert (found.low, found.high) == pytest.approx((found.estimate - half, found.estimate + half))
    assert found.naive == 7.0


@pytest.mark.parametrize("num", [1, 2])
def test_a_row_or_two_are_no_difference(num):
    gains = np.zeros(150)
    gains[:num] = 1.0
    score = corrected_score(-gains[None], naive=gains.mean(), values=gains[None], folds=np.arange(150) % 3)
    assert score.low < 0 < score.estimate == gains.mean() < score.high


def test_an_estimate_lies_in_its_interval():
    random = np.random.default_rng(0)
    for _ in range(20):
        right = np.stack([np.ones(100), (random.random(100) < 0.97).astype(float)])
        score = corrected_score(1 - right, naive=1.0, values=right, folds=np.arange(100) % 5)
        assert score.low <= score.estimate <= score.high


@pytest.mark.parametrize("simplicity", [None, [1.0, 2.0]])
def test_where_there_is_nothing_to_choose_nothing_is_corrected(simplicity):
    """The other one diverged, so that every draw chooses alike; folds differ in size and level."""
    random = np.random.default_rng(0)
    folds = np.repeat([0, 1, 2], [5, 60, 35])
    losses = np.stack([random.exponential(size=100) + folds, np.full(100, np.nan)])
    naive = float(np.mean([losses[0, folds == fold].mean() for fold in range(3)]))
    score = corrected_score(losses, naive=naive, folds=folds, simplicity=simplicity)
    assert score.estimate == naive and score.low < naive < score.high


def test_folds_and_rows_that_are_hard_for_all_cancel_out():
    """A level of each fold, and of each row, moves the naive number and the corrected one alike."""
    random = np.random.default_rng(0)
    folds = np.repeat([0, 1, 2], [10, 60, 30])
    losses = random.random((8, 100))
    hard = 5.0 * folds + 0.3 * random.random(100)
    added = float(np.mean([hard[folds == fold].mean() for fold in range(3)]))
    plain = corrected_score(losses, naive=1.0, folds=folds)
    harder = corrected_score(losses + hard, naive=1.0 + added, folds=folds)
    assert harder.estimate - harder.naive == pytest.approx(plain.estimate - plain.naive, abs=1e-9)
    assert abs(plain.estimate - plain.naive) > 0.01


def test_the_correction_is_on_average_what_the_choice_flatters():
    """Worth known, folds unequal and of different levels, chosen by loss: the loss, and a gain over a fixed one."""
    random = np.random.default_rng(0)
    folds = np.repeat([0, 1, 2], [20, 50, 30])
    left, gained, flattered = [], [], []
    for trial in range(150):
        level, hard = random.normal(size=3), random.normal(size=100)
        losses = level[folds] + hard + random.normal(size=(21, 100))
        plain, tried = losses[0], losses[1:]
        means = np.stack([losses[:, folds == fold].mean(axis=1) for fold in range(3)], axis=1)
        choice = best(means[1:])
        truth = level.mean() + np.mean([hard[folds == fold].mean() for fold in range(3)])
        options = {"folds": folds, "num_draws": 200, "seed": trial}
        score = corrected_score(tried, naive=means[1 + choice].mean(), **options)
        gain = corrected_score(tried, naive=(means[0] - means[1 + choice]).mean(), values=plain - tried, **options)
        flattered.append(score.naive - truth)
        left.append(score.estimate - truth)
        gained.append(gain.estimate - (means[0].mean() - truth))
        assert gain.estimate - gain.naive == pytest.approx(score.naive - score.estimate)
    assert np.mean(flattered) < -0.15
    assert abs(np.mean(left)) < 3 * standard_error(np.array(left))
    assert abs(np.mean(gained)) < 3 * standard_error(np.array(gained))


@pytest.mark.parametrize("num_tried", [1, 30])
@pytest.mark.parametrize("fold_level", [0.0, 0.3])
def test_intervals_cover(num_tried, fold_level):
    """All are worth 1; folds may have levels of their own, as different training rows give them."""
    random = np.random.default_rng(1)
    folds = np.repeat(np.arange(5), 20)
    covered = []
    for trial in range(200):
        level = np.repeat(fold_level * random.normal(size=5), 20)
        losses = 1 + level + random.normal(size=100) + random.normal(size=(num_tried, 100))
        score = corrected_score(losses, naive=losses.mean(axis=1).min(), folds=folds, num_draws=200, seed=trial)
        covered.append(score.low <= 1 <= score.high)
    assert 0.85 <= np.mean(covered) <= 0.98


def test_what_cannot_be_told_is_not_a_number():
    losses = np.random.default_rng(0).random((4, 20))
    score = corrected_score(losses, naive=np.nan, values=np.full((4, 20), np.nan))
    assert np.isnan([score.estimate, score.low, score.high]).all()


def test_groups_are_drawn_whole():
    """Rows that repeat each other tell no more than one of them does."""
    random = np.random.default_rng(0)
    once = random.exponential(size=(20, 40))
    repeated, groups = np.repeat(once, 5, axis=1), np.repeat(np.arange(40), 5)
    plain, whole = corrected_score(repeated, naive=0.0), corrected_score(repeated, naive=0.0, units=groups)
    alone = corrected_score(once, naive=0.0)
    assert (whole.estimate, whole.low, whole.high) == pytest.approx((alone.estimate, alone.low, alone.high))
    assert plain.high - plain.low < 0.7 * (whole.high - whole.low)


def test_blocks_change_nothing(monkeypatch):
    losses = np.random.default_rng(1).random((5, 40))
    whole = corrected_score(losses, naive=0.0)
    monkeypatch.setattr("meden.study.selection.BLOCK_SIZE", 41)
    assert corrected_score(losses, naive=0.0).estimate == pytest.approx(whole.estimate)


def test_a_choice_among_noise_is_corrected():
    """All configurations are worth 1; the best of 50 looks better, the corrected score does not."""
    random = np.random.default_rng(0)
    naive, estimates, covered = [], [], []
    for trial in range(60):
        losses = random.exponential(size=(50, 150))
        score = corrected_score(losses, naive=losses.mean(axis=1).min(), num_draws=200, seed=trial)
        naive.append(score.naive)
        estimates.append(score.estimate)
        covered.append(score.low <= 1 <= score.high)
    assert np.mean(naive) < 0.85 and max(naive) < 1, "the naive score should flatter"
    assert abs(np.mean(estimates) - 1) < 0.03
    assert np.mean(covered) >= 0.9


def test_a_clear_winner_needs_little_correction():
    random = np.random.default_rng(0)
    losses = random.normal(1.0, 0.1, size=(10, 200))
    losses[4] -= 0.5
    score = corrected_score(losses, naive=losses[4].mean())
    assert score.estimate == pytest.approx(score.naive, abs=0.005)


def test_diverged_rows_never_win_and_few_rows_do_not_fail():
    losses = np.array([[np.nan, 0.0, 0.0], [1.0, 2.0, 3.0]])
    score = corrected_score(losses, naive=2.0)
    assert 1 <= score.low <= score.estimate <= score.high <= 3


def test_many_rows_need_little_memory():
    losses = np.random.default_rng(0).random((24, 100_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    corrected_score(losses, naive=0.0, num_draws=60)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 8 * 8 * BLOCK_SIZE + 3 * losses.nbytes  # which is copied for those that are finite, and by folds
