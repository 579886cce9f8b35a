"""Weights of a mixture: against brute force over a grid, and what must not change them."""

import itertools

import numpy as np
import pytest

from meden import InputError
from meden.study.ensemble_selection import PRIOR_ROWS, deviations, mixed, select_ensemble
from meden.study.metrics import Truth

GRID = np.array([w for w in itertools.product(np.arange(0, 1.001, 0.04), repeat=3) if abs(sum(w) - 1) < 1e-9])
"""Weights of three candidates."""


def numbers_of(seed, num_rows, num_answers=None, scale=1.0):
    """Three candidates: one with little noise, one with more, and one that is half off."""
    random = np.random.default_rng(seed)
    shape = (num_rows,) if num_answers is None else (num_rows, num_answers)
    truth = random.standard_t(5, size=shape) * scale
    noises = random.normal(size=(3, *shape)) * scale
    return np.stack([truth + noises[0], truth + 1.3 * noises[1], 0.5 * truth + 0.5 * noises[2]]), Truth(truth)


def classes_of(seed, num_rows, num_classes=3, rare=0.0):
    """Three candidates that know the log odds with different noise."""
    random = np.random.default_rng(seed)
    odds = 1.5 * random.normal(size=(num_rows, num_classes))
    odds[:, -1] -= rare
    noisy = odds + random.normal(size=(3, num_rows, num_classes)) * np.array([0.7, 1.0, 2.0])[:, None, None]
    p, told = (np.exp(part) / np.exp(part).sum(axis=-1, keepdims=True) for part in (odds, noisy))
    labels = (random.random(num_rows)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    return told, Truth(labels, num_classes)


def log_losses(mean, truth):
    return -np.log(mean[np.arange(len(mean)), truth.labels])


def by_classes(mean, truth):
    losses = log_losses(mean, truth)
    return np.mean([losses[truth.labels == c].mean() for c in range(truth.num_classes)])


def in_variances(mean, truth):
    return np.square((mean - truth.labels) / truth.labels.std(axis=0)).mean()


SCALES = np.array([1.0, 100.0])
KINDS = {
    "loss": (classes_of(0, 5000), lambda mean, truth: log_losses(mean, truth).mean()),
    "accuracy": (classes_of(1, 5000, 2), lambda mean, truth: log_losses(mean, truth).mean()),
    "roc_auc": (classes_of(2, 5000, 2), lambda mean, truth: log_losses(mean, truth).mean()),
    "balanced_accuracy": (classes_of(3, 5000, 3, rare=3.0), by_classes),
    "f1": (classes_of(4, 5000, 2, rare=3.0), by_classes),
    "rmse": (numbers_of(5, 5000), lambda mean, truth: np.square(mean - truth.labels).mean()),
    "r2": (numbers_of(6, 5000), lambda mean, truth: np.square(mean - truth.labels).mean()),
    "mae": (numbers_of(7, 5000), lambda mean, truth: np.abs(mean - truth.labels).mean()),
    "loss of several": (numbers_of(8, 5000, 2, SCALES), in_variances),
    "mse of several": (numbers_of(9, 5000, 2), lambda mean, truth: np.square(mean - truth.labels).mean()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_of_many_rows_is_near_the_least_of_a_grid(kind):
    (outputs, truth), loss = KINDS[kind]
    weights = select_ensemble(outputs, truth, kind.split()[0], folds=np.arange(5000) % 5)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    of_grid = [loss(np.tensordot(w, outputs, axes=1), truth) for w in GRID]
    alone = min(loss(one, truth) for one in outputs)
    assert min(of_grid) < 0.99 * alone  # there is something to mix
    assert loss(mixed(weights, outputs), truth) < min(of_grid) + 0.1 * (alone - min(of_grid))


def test_classes_that_count_alike_have_other_weights():
    """One candidate is best for the many rows of one class, the other for the few of the other."""
    labels = np.repeat([0, 1], [1900, 100])
    said = np.where(labels == 0, np.array([[0.9], [0.6]]), np.array([[0.8], [0.2]]))
    outputs = np.stack([said, 1 - said], axis=-1)
    told = {metric: select_ensemble(outputs, Truth(labels, 2), metric) for metric in ("loss", "balanced_accuracy")}
    assert told["loss"][0] > 0.8 > 0.5 > told["balanced_accuracy"][0]


def test_few_rows_have_the_mean_of_the_good_ones():
    random = np.random.default_rng(0)
    numbers = random.normal(size=10)
    outputs = np.concatenate([numbers + 0.1 * random.normal(size=(3, 10)), [numbers + 5]])
    weights = select_ensemble(outputs, Truth(numbers), "mse")
    share = PRIOR_ROWS / (PRIOR_ROWS + 10)
    assert weights[3] == 0
    assert (weights[:3] >= share / 3 - 1e-12).all() and weights.sum() == pytest.approx(1)


def test_at_most_a_dozen_are_as_good_and_these_are_the_best():
    random = np.random.default_rng(1)
    numbers = random.normal(size=40)
    outputs = numbers + random.normal(size=(30, 40))
    weights = select_ensemble(outputs, Truth(numbers), "mse", rounds=1)
    order = np.square(outputs - numbers).mean(axis=1).argsort()
    assert np.count_nonzero(weights) == 12 and set(np.flatnonzero(weights)) == set(order[:12])


def test_a_candidate_with_nan_has_no_weight_and_changes_none():
    outputs, truth = classes_of(0, 300)
    lost = outputs[:1].copy()
    lost[0, 7, 1] = np.nan
    weights = select_ensemble(np.concatenate([lost, outputs]), truth, "loss")
    assert weights[0] == 0 and np.array_equal(weights[1:], select_ensemble(outputs, truth, "loss"))
    assert np.isfinite(mixed(weights, np.concatenate([lost, outputs]))).all()


@pytest.mark.parametrize("metric", ["loss", "balanced_accuracy", "mae", "r2"])
def test_a_row_of_weight_two_is_there_twice_and_one_of_none_is_not_there(metric):
    random = np.random.default_rng(2)
    outputs, truth = numbers_of(3, 200) if metric in ("mae", "r2") else classes_of(3, 200)
    counts, folds = random.integers(3, size=200), random.integers(5, size=200)
    rows = np.repeat(np.arange(200), counts)
    weighted = Truth(truth.labels, truth.num_classes, counts.astype(float))
    repeated = Truth(truth.labels[rows], truth.num_classes)
    found = select_ensemble(outputs, weighted, metric, folds=folds)
    assert found == pytest.approx(select_ensemble(outputs[:, rows], repeated, metric, folds=folds[rows]), abs=1e-9)


@pytest.mark.parametrize("metric", ["loss", "f1", "mse"])
def test_candidates_in_another_order_have_the_same_weights(metric):
    outputs, truth = numbers_of(4, 150) if metric == "mse" else classes_of(4, 150)
    order, folds = [2, 0, 1], np.arange(150) % 5
    found = select_ensemble(outputs, truth, metric, folds=folds)
    assert select_ensemble(outputs[order], truth, metric, folds=folds) == pytest.approx(found[order], abs=1e-12)


def test_the_first_of_equal_candidates_is_added():
    outputs, truth = numbers_of(5, 2000)
    weights = select_ensemble(np.stack([outputs[0]] * 3), truth, "mse")
    others = PRIOR_ROWS / (PRIOR_ROWS + 2000) / 3
    assert weights[1:] == pytest.approx([others, others])


def test_probabilities_of_zero_are_not_worth_infinity():
    labels = np.arange(40) % 2
    sure = np.eye(2)[labels]
    sure[0] = sure[0, ::-1]  # wrong in one row
    weights = select_ensemble(np.stack([sure, np.full((40, 2), 0.5)]), Truth(labels, 2), "loss")
    assert weights.sum() == pytest.approx(1) and weights[0] > 0.5


def test_a_constant_answer_is_measured_in_one():
    truth = Truth(np.stack([np.full(30, 2.0), np.arange(30.0)], axis=1))
    assert deviations(truth) == pytest.approx([1.0, np.arange(30).std()])
    assert np.isfinite(select_ensemble(truth.labels[None] + np.ones((2, 30, 2)), truth, "loss")).all()


LABELS = Truth(np.arange(6) % 2, 2)


@pytest.mark.parametrize(
    ("outputs", "truth", "metric", "options", "told"),
    [
        (np.ones((2, 6, 3)), LABELS, "loss", {}, r"outputs must be \(candidates, 6, 2\), got \(2, 6, 3\)"),
        (np.ones((6, 2)), LABELS, "loss", {}, r"outputs must be \(candidates, 6, 2\), got \(6, 2\)"),
        (np.ones((0, 6)), Truth(np.ones(6)), "mse", {}, r"outputs must be \(candidates, 6\), got \(0, 6\)"),
        (np.ones((2, 6, 2)), LABELS, "mse", {}, "metric must be one of loss, accuracy.*got 'mse'"),
        (np.ones((2, 6)), Truth(np.ones(6)), "f1", {}, "metric must be one of loss, mse.*got 'f1'"),
        (np.ones((2, 6, 3)), Truth(np.ones((6, 3))), "r2", {}, "metric must be one of loss, mse.*got 'r2'"),
        (np.full((2, 6, 2), np.nan), LABELS, "loss", {}, "outputs must be finite .*, got none of 2"),
        (
            np.ones((2, 6, 2)),
            LABELS,
            "loss",
            {"folds": np.arange(5)},
            r"folds must have one .* 6 rows, got shape \(5,\)",
        ),
        (np.ones((2, 6, 2)), LABELS, "loss", {"rounds": 0}, "rounds must be .*, got 0"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(outputs, truth, metric, options, told):
    with pytest.raises(InputError, match=told) as error:
        select_ensemble(outputs, truth, metric, **options)
    assert "\n" not in str(error.value)
