"""Metrics of rows, against scikit-learn; choosing by one, and being told another."""

import numpy as np
import pytest
from sklearn import metrics as sk

import meden
from meden import Choice, InputError, Recipe
from meden.data import Fold, as_dataset
from meden.models import MLP
from meden.run import HeldOut
from meden.search import nested
from meden.study.metrics import OF_NUMBERS, Truth, of_rows, truths_of

RECIPE = Recipe(epochs=3, batch_size="full")


@pytest.fixture(autouse=True, scope="module")
def one_by_one():
    """Trainings of three steps are done before a stack of them is traced; the results are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("meden.training.fit_many.LARGEST_CHUNK", 1)
        patch.setattr("meden.training.many.chunks.LARGEST_WORK", 0)
        yield


OF_SKLEARN = {
    "accuracy": lambda y, p, w: sk.accuracy_score(y, p.argmax(1), sample_weight=w),
    "balanced_accuracy": lambda y, p, w: sk.balanced_accuracy_score(y, p.argmax(1), sample_weight=w),
    "f1": lambda y, p, w: sk.f1_score(y, p.argmax(1), average="macro", sample_weight=w),
    "roc_auc": lambda y, p, w: (
        sk.roc_auc_score(y, p[:, 1], sample_weight=w)
        if p.shape[1] == 2
        else sk.roc_auc_score(one_hot(y, p), p, average="macro", sample_weight=w)
    ),
    "average_precision": lambda y, p, w: (
        sk.average_precision_score(y, p[:, 1], sample_weight=w)
        if p.shape[1] == 2
        else sk.average_precision_score(one_hot(y, p), p, average="macro", sample_weight=w)
    ),
    "mse": lambda y, p, w: sk.mean_squared_error(y, p[:, 0], sample_weight=w),
    "rmse": lambda y, p, w: sk.root_mean_squared_error(y, p[:, 0], sample_weight=w),
    "mae": lambda y, p, w: sk.mean_absolute_error(y, p[:, 0], sample_weight=w),
}
"""Labels (n,), outputs (n, C) and weights (n,) to scikit-learn's number."""


def one_hot(y, p):
    return y[:, None] == np.arange(p.shape[1])


def drawn(metric, num_classes, n=200, seed=0):
    """Return labels (n,), and outputs (n, C) that often tie."""
    random = np.random.default_rng(seed)
    if metric in OF_NUMBERS:
        y, predicted = random.normal(3, 2, size=(2, n))
        return y, predicted[:, None]
    p = random.dirichlet(np.ones(num_classes), size=n).round(1) + 1e-3
    y = np.array([random.choice(num_classes, p=row / row.sum()) for row in p])
    return y, p


def told_by(y, p, w, num_classes):
    """Return what a model would have been found to say of these rows."""
    scores = (p.argmax(1) == y) if num_classes else (p[:, 0] - y) ** 2
    return HeldOut(np.zeros(len(y), np.float32), scores * (1.0 if w is None else w), p)


def of_all(metric, y, p, w, num_classes, variance=0.0):
    return of_rows(metric, told_by(y, p, w, num_classes), Truth(y, num_classes, w, variance))


CASES = [(metric, num) for metric in OF_SKLEARN for num in ((0,) if metric in OF_NUMBERS else (2, 4))]
WEIGHTS = {"alike": None, "weighted": np.random.default_rng(1).uniform(0, 3, 200)}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize(("metric", "num_classes"), CASES)
def test_means_over_rows_equal_scikit_learn(metric, num_classes, weights):
    for seed in range(3):
        y, p = drawn(metric, num_classes, seed=seed)
        found = of_all(metric, y, p, weights, num_classes).mean()
        assert found == pytest.approx(OF_SKLEARN[metric](y, p, weights), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize(("metric", "num_classes"), CASES)
def test_what_a_row_adds_is_how_scikit_learn_moves_with_its_weight(metric, num_classes, weights):
    """Beside the metric itself: n times the derivative by the row's weight, times the weight."""
    y, p = drawn(metric, num_classes)
    w = np.ones(200) if weights is None else weights
    added = of_all(metric, y, p, weights, num_classes)
    for row in range(0, 200, 11):
        step = np.zeros(200)
        step[row] = 1e-5
        up, down = (OF_SKLEARN[metric](y, p, w + sign * step) for sign in (1, -1))
        assert added[row] - added.mean() == pytest.approx(200 * w[row] * (up - down) / 2e-5, abs=1e-5)


def test_the_variance_of_what_rows_add_to_the_auc_is_that_of_delong():
    y, p = drawn("roc_auc", 2)
    first, second = p[y == 1, 1], p[y == 0, 1]
    wins = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    variance = wins.mean(1).var() / len(first) + wins.mean(0).var() / len(second)
    assert of_all("roc_auc", y, p, None, 2).var() / 200 == pytest.approx(variance, rel=1e-12)


def test_r2_is_told_in_the_variance_of_all_folds():
    y, p = drawn("r2", 0)
    folds = [Fold(np.arange(0), np.arange(0), part) for part in (np.arange(90), np.arange(90, 200))]
    data = as_dataset((np.zeros((200, 1), np.float32) + y[:, None], y))
    told = [
        of_rows("r2", told_by(t.labels, p[f.score], None, 0), t)
        for f, t in zip(folds, truths_of(data, folds), strict=True)
    ]
    assert np.concatenate(told).mean() == pytest.approx(sk.r2_score(y, p), rel=1e-12)


def test_classes_that_a_fold_lacks_do_not_count():
    y, p = drawn("f1", 4)
    y = np.where(y == 2, 3, y)
    kept = [0, 1, 3]
    for metric, witness in (("roc_auc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)):
        expected = np.mean([witness(y == c, p[:, c]) for c in kept])
        assert of_all(metric, y, p, None, 4).mean() == pytest.approx(expected, rel=1e-12)
    balanced = np.mean([(p.argmax(1) == y)[y == c].mean() for c in kept])
    assert of_all("balanced_accuracy", y, p, None, 4).mean() == pytest.approx(balanced, rel=1e-12)
    assert of_all("f1", y, p, None, 4).mean() == pytest.approx(OF_SKLEARN["f1"](y, p, None), rel=1e-12)


def test_a_class_without_weight_does_not_count():
    y, w = np.array([0, 0, 1, 1, 2]), np.array([1.0, 1, 1, 1, 0])
    p = np.eye(3)[[0, 1, 1, 1, 0]]
    told = of_all("balanced_accuracy", y, p, w, 3).mean()
    assert told == pytest.approx(sk.balanced_accuracy_score(y[:4], p[:4].argmax(1)))


def test_extremes_are_numbers():
    perfect = np.eye(2)[[0, 1, 1]]
    for metric in ("roc_auc", "average_precision", "f1", "balanced_accuracy"):
        np.testing.assert_allclose(of_all(metric, np.array([0, 1, 1]), perfect, None, 2), 1.0)
    y = np.array([1.0, 2.0])
    for metric in ("rmse", "mae"):
        assert of_all(metric, y, y[:, None], None, 0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_of_a_single_class_some_metrics_cannot_be_told(metric):
    for only in (0, 1):
        assert np.isnan(of_all(metric, np.full(5, only), drawn(metric, 2, n=5)[1], None, 2)).all()


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
    table = by_accuracy.table().query("baseline == ''").reset_index(drop=True)
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
        ("iris", "r2", "must be one of loss, accuracy, balanced_accuracy, .*, f1 for classification, got 'r2'"),
        ("diabetes", "accuracy", "must be one of loss, mse, rmse, mae, r2 for regression, got 'accuracy'"),
        (
            (np.ones((20, 2)), np.random.default_rng(0).random((20, 2))),
            "r2",
            "one of loss, mse for regression with several",
        ),
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


def rare(num_rare=2):
    """Return rows of a class that some of the folds lack."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 3)).astype(np.float32), np.zeros(60, dtype=np.int64)
    y[:num_rare] = 1
    return x, y


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_folds_in_which_a_metric_cannot_be_told_do_not_count(metric):
    with pytest.warns(UserWarning, match="not scored in all of them"):
        study = search(rare(), metric=metric, folds=3)
    lacking = [k for k, fold in enumerate(study.folds) if not study.data.labels[fold.score].any()]
    assert len(lacking) == 1 and study.status == "ok"
    values = study.values(metric)
    fold = np.repeat(np.arange(3), [len(fold.score) for fold in study.folds])
    assert (np.isnan(values).all(axis=0) == np.isin(fold, lacking)).all()
    expected = []
    for row in study.best.rows:
        y = study.data.labels[study.folds[row.fold].score]
        if row.fold not in lacking:
            expected.append(OF_SKLEARN[metric](y, row.outputs, None))
    assert study.decided_by(study.best) == pytest.approx(np.mean(expected), rel=1e-12)
    found = study.score_of()
    assert found.metric == metric and found.naive == study.decided_by(study.one_se) and np.isfinite(found.low)
    assert np.isfinite(study.score_of("loss").estimate) and np.isfinite(study.table()[metric]).all()


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_a_metric_that_no_fold_can_tell_is_refused_before_any_training(metric):
    x, y = rare(4)
    moments = np.where(y, 0, np.arange(60))  # the rare class is in the past of all scored rows
    with pytest.raises(InputError, match=f"'{metric}' must have rows of two classes .* got none in 2 folds"):
        search((x, y), metric=metric, order=moments, on_start=lambda: pytest.fail("started"))


@pytest.mark.parametrize(
    ("data", "metric"),
    [(d, m) for d, ms in (("iris", ("roc_auc", "average_precision", "f1")), ("diabetes", ("rmse", "mae"))) for m in ms],
)
def test_searches_go_by_each_metric_and_tell_what_scikit_learn_does(data, metric):
    study = search(data, metric=metric, seeds=2)
    folds = [study.data.labels[fold.score] for fold in study.folds]
    means = [np.mean([OF_SKLEARN[metric](folds[r.fold], r.outputs, None) for r in t.rows]) for t in study.trials]
    assert [study.decided_by(trial) for trial in study.trials] == pytest.approx(means, rel=1e-6)
    best = np.argmin(means) if metric in OF_NUMBERS else np.argmax(means)
    assert study.best is study.trials[int(best)]
    assert study.score_of().metric == metric and study.score_of(None, "best").naive == pytest.approx(means[best])


def test_an_outer_fold_that_cannot_tell_the_metric_does_not_count():
    x, y = rare(9)
    groups = np.where(y, 50 + np.arange(60) % 3, np.arange(60) // 2)
    options = {"outer_folds": 4, "folds": 2, "budget": 1, "strategy": "grid", "recipe": RECIPE, "groups": groups}
    found = nested(MLP, (x, y), {"lr": Choice(1e-2)}, metric="roc_auc", **options)
    assert len(found.fold_scores) == 3 and np.isfinite(found.fold_scores).all() and np.isfinite(found.estimate)
