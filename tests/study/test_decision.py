"""Labels from probabilities: against brute force over thresholds, scikit-learn, and Bayes' rule."""

import numpy as np
import pytest
from sklearn import metrics as sk

from meden import InputError
from meden.study.decision import Decision, balancing, check_costs, decision_for


def drawn(seed, num_rows, num_classes=2, odds=-2.0, noise=0.0):
    """Return probabilities (n, C), right but for noise, and labels; the last class is the rarer the lower its odds."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(num_rows, num_classes))
    logits[:, -1] += odds
    noisy = logits + noise * random.normal(size=logits.shape)
    true, told = (np.exp(part) / np.exp(part).sum(axis=1, keepdims=True) for part in (logits, noisy))
    return told, (random.random(num_rows)[:, None] > true.cumsum(axis=1)).sum(axis=1)


def macro_f1(labels, said):
    return sk.f1_score(labels, said, average="macro", zero_division=0)


def best_threshold(score, probabilities, labels):
    """Return the best of all thresholds for the second of two classes."""
    return max(score(labels, (probabilities[:, 1] > cut).astype(int)) for cut in np.linspace(0.01, 0.7, 70))


def test_balanced_accuracy_is_that_of_the_best_threshold():
    probabilities, labels = drawn(0, 8000)
    said = decision_for("balanced_accuracy", probabilities, labels).labels(probabilities)
    best = best_threshold(sk.balanced_accuracy_score, probabilities, labels)
    assert sk.balanced_accuracy_score(labels, said) > best - 0.01
    assert sk.balanced_accuracy_score(labels, probabilities.argmax(axis=1)) < best - 0.1


def test_f1_is_near_that_of_the_best_threshold():
    probabilities, labels = drawn(1, 8000)
    said = decision_for("f1", probabilities, labels).labels(probabilities)
    best = best_threshold(macro_f1, probabilities, labels)
    assert macro_f1(labels, said) > best - 0.01
    assert macro_f1(labels, probabilities.argmax(axis=1)) < best - 0.03


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_f1_is_never_below_that_of_the_most_probable_class(num_classes):
    gains = []
    for seed in range(12):
        probabilities, labels = drawn(seed, 40 + 40 * seed, num_classes, noise=1.0)
        said = decision_for("f1", probabilities, labels).labels(probabilities)
        gains.append(macro_f1(labels, said) - macro_f1(labels, probabilities.argmax(axis=1)))
    assert min(gains) > -1e-12 and max(gains) > 0.02


@pytest.mark.parametrize("metric", ["loss", "accuracy", "roc_auc", "average_precision"])
def test_the_most_probable_class_is_named_where_rows_count_alike(metric):
    probabilities, labels = drawn(2, 50, 3)
    assert decision_for(metric, probabilities, labels) == Decision((1.0, 1.0, 1.0))


@pytest.mark.parametrize("metric", ["balanced_accuracy", "f1"])
def test_a_row_of_weight_two_is_there_twice(metric):
    probabilities, labels = drawn(3, 300, 3, noise=1.0)
    counts = np.random.default_rng(0).integers(1, 3, size=300)
    rows = np.repeat(np.arange(300), counts)
    weighted = decision_for(metric, probabilities, labels, counts.astype(float))
    assert weighted.factors == pytest.approx(decision_for(metric, probabilities[rows], labels[rows]).factors)


def test_a_class_of_two_rows_is_not_named_for_a_great_part_of_all_rows():
    """Models that know nothing, whose log odds err by 1: by plain shares it would be named for about half of them."""
    random = np.random.default_rng(4)
    labels = np.repeat([0, 1], [198, 2])
    second = 1 / (1 + np.exp(-(np.log(2 / 198) + random.normal(size=2000))))
    probabilities = np.stack([1 - second, second], axis=1)
    assert np.mean(Decision((1 / 198, 1 / 2)).labels(probabilities)) > 0.45
    for metric in ("balanced_accuracy", "f1"):
        assert np.mean(decision_for(metric, probabilities[:200], labels).labels(probabilities)) < 0.2


def test_factors_are_one_over_shares_of_many_rows_and_a_class_that_is_missing_has_one():
    labels = np.repeat([0, 1], [90_000, 10_000])
    assert balancing(labels, 2) == pytest.approx([100 / 180, 5.0], rel=1e-3)
    assert balancing(np.zeros(10, dtype=int), 3) == pytest.approx([25 / 45, 25 / 15, 25 / 15])


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_costs_are_bayes_rule(metric):
    random = np.random.default_rng(5)
    probabilities, labels = drawn(5, 200, 3)
    costs = random.uniform(1, 9, size=(3, 3))
    np.fill_diagonal(costs, [0.0, 0.5, 0.0])
    said = decision_for(metric, probabilities, labels, costs=costs).labels(probabilities)
    for row, label in zip(probabilities, said, strict=True):
        expected = [sum(row[true] * costs[true, named] for true in range(3)) for named in range(3)]
        assert expected[label] == min(expected)
    assert len(set(said)) == 3


def test_costs_that_are_alike_name_the_most_probable_class():
    probabilities, labels = drawn(6, 200, 4)
    said = decision_for("f1", probabilities, labels, costs=1 - np.eye(4)).labels(probabilities)
    assert np.array_equal(said, probabilities.argmax(axis=1))


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ("much", "costs must be numbers .*, got 'much'"),
        ([[0, 1], [1]], "costs must be numbers"),
        (None, r"row and a column for each of 2 classes, got shape \(\)"),
        (np.zeros((2, 3)), r"row and a column for each of 2 classes, got shape \(2, 3\)"),
        ([[0, np.inf], [1, 0]], "finite numbers of at least 0, got inf"),
        ([[0, np.nan], [1, 0]], "finite numbers of at least 0, got nan"),
        ([[0, 1], [-2, 0]], "finite numbers of at least 0, got -2"),
        ([[0, 1], [1, 3]], "got 1 for predicting class 0 and 3 for predicting class 1 where class 1 is true"),
    ],
)
def test_costs_that_cannot_be_are_told_in_one_line(costs, told):
    with pytest.raises(InputError, match=told) as error:
        check_costs(costs, 2)
    assert "\n" not in str(error.value)


def test_costs_may_be_lists_and_alike():
    assert check_costs([[0, 0], [5, 0]], 2).tolist() == [[0.0, 0.0], [5.0, 0.0]]


def test_a_metric_of_numbers_is_refused():
    with pytest.raises(InputError, match=r"metric must be one of loss, accuracy.*got 'mse'"):
        decision_for("mse", np.full((2, 2), 0.5), np.array([0, 1]))
