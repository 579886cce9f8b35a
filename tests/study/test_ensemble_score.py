"""What a mixture is worth: where the truth is known, and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk

from meden import InputError
from meden.deadline import Deadline
from meden.study import ensemble_score as module
from meden.study.decision import Decision
from meden.study.ensemble_score import Mixing, ensemble_score, shown_for
from meden.study.metrics import Truth, variance_of


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(module, "MOST_DRAWS", 20)


def classes_of(seed, num_rows, num_candidates=10, num_classes=2, signal=1.0):
    """Candidates that know the log odds with noise."""
    random = np.random.default_rng(seed)
    odds = signal * random.normal(size=(num_rows, num_classes))
    noisy = odds + random.normal(size=(num_candidates, num_rows, num_classes))
    p, told = (np.exp(part) / np.exp(part).sum(axis=-1, keepdims=True) for part in (odds, noisy))
    return told, Truth((random.random(num_rows)[:, None] > p.cumsum(axis=1)).sum(axis=1), num_classes)


def numbers_of(seed, num_rows, num_candidates=10, weights=None):
    random = np.random.default_rng(seed)
    numbers = random.normal(size=num_rows)
    outputs = numbers + random.normal(size=(num_candidates, num_rows))
    return outputs, Truth(numbers, weights=weights, variance=variance_of(numbers, weights))


def covers(score, truth):
    return score.low <= truth <= score.high


def test_on_random_labels_it_is_unbiased_and_its_intervals_cover():
    """Labels are flips of a coin, so that every mixture is right in half of all rows."""
    scores = []
    for seed in range(60):
        outputs, _ = classes_of(seed, 100)
        coin = Truth(np.random.default_rng(1000 + seed).integers(2, size=100), 2)
        scores.append(ensemble_score(outputs, coin, "accuracy", folds=np.arange(100) % 5, seed=seed))
    estimates, naive = (np.array([getattr(score, name) for score in scores]) for name in ("estimate", "naive"))
    noise = estimates.std(ddof=1) / np.sqrt(60)
    assert np.mean([covers(score, 0.5) for score in scores]) >= 0.85
    assert abs(estimates.mean() - 0.5) < 0.01 + 2.5 * noise
    flattered = naive - estimates
    assert flattered.mean() > 2.5 * flattered.std(ddof=1) / np.sqrt(60)


def test_on_numbers_of_chance_it_covers_what_fresh_rows_tell():
    naive, pairs = [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        outputs, fresh = (random.normal(size=(10, num)) for num in (100, 2000))
        truth, fresh_truth = (Truth(random.normal(size=num), variance=1.0) for num in (100, 2000))
        score = ensemble_score(outputs, truth, "rmse", seed=seed)
        pairs.append((score, Mixing.of(outputs, truth, "rmse", None).values(fresh, fresh_truth, "rmse").mean()))
        naive.append(score.naive - pairs[-1][1])
    bias = np.array([score.estimate - worth for score, worth in pairs])
    noise = bias.std(ddof=1) / np.sqrt(60)
    assert np.mean([covers(*pair) for pair in pairs]) >= 0.85
    assert abs(bias.mean()) < 0.02 + 2.5 * noise
    assert np.mean(naive) < -0.02


@pytest.mark.parametrize("metric", ["accuracy", "rmse", "r2", "mae"])
def test_of_a_single_candidate_there_is_nothing_to_correct(metric):
    outputs, truth = classes_of(1, 80, 1) if metric == "accuracy" else numbers_of(1, 80, 1)
    score = ensemble_score(outputs, truth, metric, folds=np.arange(80) % 4)
    assert score.estimate == pytest.approx(score.naive, abs=1e-12)
    assert score.low < score.estimate < score.high


WEIGHTS = {"alike": None, "weighted": np.random.default_rng(1).uniform(0, 2, 150)}
OF_LABELS = {
    "loss": lambda y, p, w: sk.log_loss(y, p, sample_weight=w),
    "accuracy": lambda y, said, w: sk.accuracy_score(y, said, sample_weight=w),
    "balanced_accuracy": lambda y, said, w: sk.balanced_accuracy_score(y, said, sample_weight=w),
    "f1": lambda y, said, w: sk.f1_score(y, said, average="macro", sample_weight=w),
    "roc_auc": lambda y, p, w: sk.roc_auc_score(y, p[:, 1], sample_weight=w),
    "average_precision": lambda y, p, w: sk.average_precision_score(y, p[:, 1], sample_weight=w),
}
OF_NUMBERS = {
    "loss": lambda y, p, w: sk.mean_squared_error(y, p, sample_weight=w) / 2,
    "mse": lambda y, p, w: sk.mean_squared_error(y, p, sample_weight=w),
    "rmse": lambda y, p, w: sk.root_mean_squared_error(y, p, sample_weight=w),
    "mae": lambda y, p, w: sk.mean_absolute_error(y, p, sample_weight=w),
    "r2": lambda y, p, w: sk.r2_score(y, p, sample_weight=w),
}


def of_mean_one(weights):
    return None if weights is None else weights / weights.mean()


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("metric", OF_LABELS)
def test_values_of_labels_have_the_mean_of_scikit_learn(metric, weights):
    outputs, truth = classes_of(2, 150)
    weights = of_mean_one(weights)
    mixing = Mixing(np.array([0.25, 0.75] + [0.0] * 8), 2.0, Decision((1.0, 1.7)))
    found = mixing.values(outputs, Truth(truth.labels, 2, weights), metric)
    p = np.sqrt(0.25 * outputs[0] + 0.75 * outputs[1])
    p /= p.sum(axis=1, keepdims=True)
    told = (p * [1.0, 1.7]).argmax(axis=1) if metric in ("accuracy", "balanced_accuracy", "f1") else p
    assert found.mean() == pytest.approx(OF_LABELS[metric](truth.labels, told, weights), rel=1e-6)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("metric", OF_NUMBERS)
def test_values_of_numbers_have_the_mean_of_scikit_learn(metric, weights):
    weights = of_mean_one(weights)
    outputs, truth = numbers_of(3, 150, 2, weights)
    found = Mixing(np.array([0.5, 0.5]), 1.0, None).values(outputs, truth, metric)
    assert found.mean() == pytest.approx(OF_NUMBERS[metric](truth.labels, outputs.mean(axis=0), weights), rel=1e-6)


def test_several_numbers_a_row_have_their_mean_squared_error():
    random = np.random.default_rng(4)
    numbers = random.normal(size=(90, 3))
    outputs = numbers + random.normal(size=(4, 90, 3))
    score = ensemble_score(outputs, Truth(numbers), "loss")
    mean = np.tensordot(Mixing.of(outputs, Truth(numbers), "loss", None).weights, outputs, axes=1)
    assert score.metric == "mse"
    assert score.naive == pytest.approx(sk.mean_squared_error(numbers, mean))


@pytest.mark.parametrize("metric", ["f1", "balanced_accuracy", "roc_auc", "mae"])
def test_the_score_is_told_in_what_was_asked_for_and_lies_in_its_interval(metric):
    outputs, truth = numbers_of(5, 120) if metric == "mae" else classes_of(5, 120)
    score = ensemble_score(outputs, truth, metric, folds=np.arange(120) % 5, confidence=0.8)
    assert (score.metric, score.confidence) == (metric, 0.8)
    assert 0 <= score.low < score.estimate < score.high and score.naive != score.estimate
    assert metric == "mae" or score.high <= 1


def test_rows_of_a_group_are_drawn_together(monkeypatch):
    """Rows that are all there twice tell as much as they do once; of one candidate, of which nothing is chosen."""
    monkeypatch.setattr(module, "MOST_DRAWS", 100)
    outputs, truth = numbers_of(6, 200, 1)
    twice = Truth(np.tile(truth.labels, 2), variance=truth.variance)
    once = ensemble_score(outputs, truth, "r2")
    grouped, single = (
        ensemble_score(np.tile(outputs, 2), twice, "r2", units=units) for units in (np.tile(np.arange(200), 2), None)
    )
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.2)
    assert single.high - single.low < 0.85 * (grouped.high - grouped.low)


def test_costs_are_what_a_row_costs_in_the_mean():
    outputs, truth = classes_of(7, 150, num_classes=3)
    costs = np.array([[0.0, 1, 9], [2, 0, 1], [1, 4, 0]])
    score = ensemble_score(outputs, truth, "accuracy", costs=costs)
    mixing = Mixing.of(outputs, truth, "accuracy", None, costs)
    mean = np.tensordot(mixing.weights, outputs, axes=1) ** (1 / mixing.temperature)
    said = (mean / mean.sum(axis=1, keepdims=True) @ costs).argmin(axis=1)
    assert score.metric == "cost"
    assert score.naive == pytest.approx(costs[truth.labels, said].mean())
    assert score.low >= 0


def test_weighted_rows_cost_by_their_weights():
    outputs, truth = classes_of(8, 60)
    counts = np.arange(60) % 3
    costs, rows = np.array([[0.0, 1], [3, 0]]), np.repeat(np.arange(60), counts)
    mixing = Mixing.of(outputs, truth, "loss", None, costs)
    weighted = mixing.values(outputs, Truth(truth.labels, 2, counts * 1.0), "loss", costs)
    repeated = mixing.values(outputs[:, rows], Truth(truth.labels[rows], 2), "loss", costs)
    assert weighted.mean() == pytest.approx(repeated.mean())


def test_a_deadline_that_is_over_leaves_ten_draws(monkeypatch):
    outputs, truth = numbers_of(9, 100)
    late = ensemble_score(outputs, truth, "rmse", deadline=Deadline.after(-1.0))
    assert np.isfinite([late.low, late.high]).all() and late != ensemble_score(outputs, truth, "rmse")
    monkeypatch.setattr(module, "MOST_DRAWS", 10)
    assert late == ensemble_score(outputs, truth, "rmse")


def test_a_candidate_with_nan_changes_nothing():
    outputs, truth = classes_of(10, 80)
    with_lost = np.concatenate([outputs, np.full_like(outputs[:1], np.nan)])
    assert ensemble_score(with_lost, truth, "loss") == ensemble_score(outputs, truth, "loss")


def test_rows_of_one_class_tell_nothing_of_others():
    outputs, _ = classes_of(11, 30)
    score = ensemble_score(outputs, Truth(np.zeros(30, dtype=np.int64), 2), "accuracy")
    assert (score.low, score.high, score.metric) == (0.0, 1.0, "accuracy")


def test_the_loss_is_shown_as_what_people_read():
    several = Truth(np.zeros((4, 2)))
    assert [shown_for("loss", truth) for truth in (Truth(np.zeros(4, int), 2), Truth(np.zeros((4, 1))), several)] == [
        "accuracy",
        "rmse",
        "mse",
    ]
    assert shown_for("f1", Truth(np.zeros(4, int), 2)) == "f1"


def test_what_does_not_fit_is_told():
    outputs, truth = classes_of(12, 30)
    with pytest.raises(InputError, match="costs must have a row and a column for each of 2 classes"):
        ensemble_score(outputs, truth, "accuracy", costs=np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"outputs must be \(candidates, 30, 2\), got \(10, 29, 2\)"):
        ensemble_score(outputs[:, 1:], truth, "accuracy")
    with pytest.raises(InputError, match="metric must be one of"):
        ensemble_score(outputs, truth, "accuracy", shown="r2")
