"""Metrics of rows, against scikit-learn; choosing by one, and being told another."""

import numpy as np
import pytest
from sklearn import metrics as sk

import meden
from meden import Choice, InputError, Recipe
from meden.models import MLP
from meden.study.metrics import of_rows

RECIPE = Recipe(epochs=3, batch_size="full")


@pytest.fixture(autouse=True, scope="module")
def one_by_one():
    """Trainings of three steps are done before a stack of them is traced; the results are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("meden.training.fit_many.LARGEST_CHUNK", 1)
        patch.setattr("meden.training.many.chunks.LARGEST_WORK", 0)
        yield


@pytest.mark.parametrize("weights", [None, np.random.default_rng(1).uniform(0, 3, 200)], ids=["alike", "weighted"])
def test_means_over_rows_equal_scikit_learn(weights):
    random, w = np.random.default_rng(0), 1.0 if weights is None else weights
    mean = np.mean(w)

    def told(metric, scores):
        return of_rows(metric, w * scores[None], w * scores[None], y, weights).mean()

    y, predicted = random.choice(3, size=200, p=[0.7, 0.2, 0.1]), random.choice(3, size=200)
    right, args = (y == predicted).astype(float), (y, predicted)
    assert told("accuracy", right) / mean == pytest.approx(sk.accuracy_score(*args, sample_weight=weights))
    balanced = sk.balanced_accuracy_score(*args, sample_weight=weights)
    assert told("balanced_accuracy", right) == pytest.approx(balanced)
    y, predicted = args = random.normal(3, 2, size=(2, 200))
    squares = (y - predicted) ** 2
    assert told("mse", squares) / mean == pytest.approx(sk.mean_squared_error(*args, sample_weight=weights))
    assert told("r2", squares) == pytest.approx(sk.r2_score(*args, sample_weight=weights))


def test_a_class_without_weight_does_not_count():
    y, w, right = np.array([0, 0, 1, 1, 2]), np.array([1.0, 1, 1, 1, 0]), np.array([1.0, 0, 1, 1, 0])
    told = of_rows("balanced_accuracy", (w * right)[None], (w * right)[None], y, w).mean()
    assert told == pytest.approx(sk.balanced_accuracy_score(y[:4], right[:4] * y[:4] + (1 - right[:4]) * (1 - y[:4])))


def search(data, metric="loss", **changes):
    space = {"lr": Choice(1e-4, 1e-2, 1e-1)}
    options = {"folds": 2, "budget": 3, "strategy": "grid", "recipe": RECIPE} | changes
    return meden.tune(MLP, data, space, metric=metric, **options)


@pytest.fixture(scope="module")
def flowers():
    return search("iris")


def test_the_metric_decides(flowers):
    """Out-of-fold predictions put together by hand decide the same."""
    by_accuracy = search("iris", metric="accuracy")
    for study, decides in ((flowers, "losses"), (by_accuracy, "scores")):
        means = [np.mean([getattr(row, decides).mean() for row in trial.rows]) for trial in study.trials]
        assert study.best is study.trials[int(np.argmin(means) if decides == "losses" else np.argmax(means))]
        assert [trial.loss for trial in study.trials] == [trial.loss for trial in flowers.trials]
    table = by_accuracy.table()
    assert table["accuracy"].is_monotonic_decreasing and table["chosen"][0].startswith("best")


def test_scores_are_told_in_any_metric_that_fits(flowers):
    found = flowers.score_of("accuracy")
    assert found.metric == "accuracy" and found.naive == pytest.approx(flowers.best.score)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert flowers.score_of() == found and flowers.score_of("loss") == flowers.score
    assert flowers.score.naive == pytest.approx(flowers.best.loss)
    assert flowers.score_of("accuracy", "one_se").naive == pytest.approx(flowers.one_se.score)
    numbers = search("diabetes", metric="r2")
    assert numbers.best.score == min(trial.score for trial in numbers.trials)
    told = numbers.score_of()
    assert told.metric == "r2" and told.naive == pytest.approx(
        1 - numbers.best.score / np.var(numbers.dataset.labels), abs=0.01
    )


def test_values_of_rows_are_out_of_fold_and_averaged_over_seeds():
    study = search("iris", seeds=2)
    values = study.values("loss")
    assert values.shape == (3, 150)
    first = [row.losses for row in study.trials[2].rows if row.fold == 0]
    np.testing.assert_allclose(values[2, : len(first[0])], (first[0] + first[1]) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "metric", "told"),
    [
        ("iris", "acuracy", "must be one of loss, accuracy, .* got 'acuracy'; did you mean 'accuracy'"),
        ("iris", "r2", "must be one of loss, accuracy, balanced_accuracy for classification, got 'r2'"),
        ("diabetes", "accuracy", "must be one of loss, mse, r2 for regression, got 'accuracy'"),
        ((np.ones((20, 2)), np.random.default_rng(0).random((20, 2))), "r2", "a single number as target, got 2"),
    ],
)
def test_metrics_that_do_not_fit_are_refused_before_any_training(data, metric, told):
    with pytest.raises(InputError, match=told):
        search(data, metric=metric, on_start=lambda: pytest.fail("started"))


def test_a_study_tells_no_metric_that_does_not_fit(flowers):
    with pytest.raises(InputError, match="for classification, got 'mse'"):
        flowers.score_of("mse")
    with pytest.raises(InputError, match="one_se, best"):
        flowers.score_of("loss", "worst")
