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
    assert np.isposinf(differences_from_best(scores[:, :1])[1]).all()


def test_the_simplest_wins_and_the_better_of_equally_simple_ones():
    scores = np.array([[1.0, 2, 3], [1.1, 2.3, 2.9], [1.0, 2.3, 2.9], [1.1, 2.4, 2.8]])
    assert one_standard_error(scores, [0, 1, 1, 0.5]) == 2
    assert one_standard_error(scores, [9, 1, 1, 0.5]) == 0


def test_corrected_score_equals_a_plain_loop():
    random = np.random.default_rng(1)
    losses = random.random((5, 30))
    found = corrected_score(losses, naive=0.0, num_draws=50, seed=3)
    draws, estimates = np.random.default_rng(3), []
    for _ in range(50):
        drawn = draws.integers(30, size=30)
        winner = losses[np.argmin(losses[:, drawn].sum(axis=1))]
        estimates.append(winner[np.setdiff1d(np.arange(30), drawn)].mean())
    assert found.estimate == pytest.approx(np.mean(estimates))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(estimates, [0.05, 0.95])))


@pytest.mark.parametrize("rule", ["best", "one_se"])
def test_draws_choose_by_the_rule_that_chose_on_all_rows(rule):
    """Fold by fold, by the public rules; told in another number than the one that decides."""
    random = np.random.default_rng(2)
    losses, values, folds = random.random((6, 12)), random.random((6, 12)), np.repeat([0, 1, 2], 4)
    simplicity = [3.0, 1.0, 2.0, 3.0, 0.0, 5.0]
    losses[0], losses[5] = losses[0] + 10, np.nan
    found = corrected_score(
        losses,
        naive=0.0,
        values=values,
        folds=folds,
        simplicity=simplicity if rule == "one_se" else None,
        num_draws=200,
        seed=3,
    )
    draws, estimates = np.random.default_rng(3), []
    for _ in range(200):
        drawn = draws.integers(12, size=12)
        parts = [drawn[folds[drawn] == fold] for fold in range(3)]
        means = np.stack([losses[:, part].mean(axis=1) for part in parts if len(part)], axis=1)
        winner = best(means) if rule == "best" else one_standard_error(means, simplicity)
        estimates.append(values[winner, np.setdiff1d(np.arange(12), drawn)].mean())
    assert found.estimate == pytest.approx(np.mean(estimates))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(estimates, [0.05, 0.95])))


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
