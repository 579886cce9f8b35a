"""A nested search, against its pieces put together by hand; and what it refuses before any training."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_iris

import meden
from meden import Choice, InputError, Recipe
from meden.data import as_dataset, make_folds
from meden.models import MLP
from meden.noise import derive
from meden.search import nested

SPACE = {"lr": Choice(1e-3, 0.1)}
OPTIONS = {"folds": 2, "budget": 2, "strategy": "grid", "recipe": Recipe(epochs=3, batch_size="full")}


@pytest.fixture(autouse=True, scope="module")
def one_by_one():
    """Trainings of three steps are done before a stack of them is traced; the results are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("meden.training.fit_many.LARGEST_CHUNK", 1)
        patch.setattr("meden.training.many.chunks.LARGEST_WORK", 0)
        yield


@pytest.fixture(scope="module")
def flowers():
    frame = load_iris(as_frame=True).frame
    return frame, as_dataset(frame, target="target")


@pytest.fixture(scope="module")
def found(flowers):
    return nested(MLP, flowers[1], SPACE, outer_folds=2, metric="accuracy", which="best", **OPTIONS)


def test_it_is_a_search_and_a_training_in_each_outer_fold(found, flowers):
    frame, data = flowers
    outer = make_folds(data, 2, seed=derive(0, "outer"), stop_fraction=0.0)
    for number, (fold, study) in enumerate(zip(outer, found.studies, strict=True)):
        assert study.dataset.num_rows == len(fold.fit) and study.seed == derive(0, "outer", number)
        assert study.chosen_by == "accuracy"
        recipe, model_args = study.final("best")
        (run,) = meden.fit_many(MLP, [meden.Member(recipe, fold, study.seed, model_args)], data, chunk=1)
        right = run.predict(frame.iloc[fold.score]).values == frame["target"].to_numpy()[fold.score]
        assert found.fold_scores[number] == pytest.approx(right.mean(), abs=0.021), "one row may be on the edge"


def test_the_interval_is_that_of_the_corrected_variance(found):
    scores = found.fold_scores
    error = scores.std(ddof=1) * math.sqrt(1 / 2 + 75 / 75)
    half = stats.t.ppf(0.95, 1) * error
    assert (found.low, found.high) == pytest.approx((scores.mean() - half, scores.mean() + half))
    assert found.estimate == pytest.approx(scores.mean()) and found.confidence == 0.9 and found.metric == "accuracy"


def test_rows_in_time_stay_in_time(flowers):
    seen = []
    time = np.random.default_rng(0).permutation(150)
    x, y = np.random.default_rng(1).normal(size=(150, 2)), np.random.default_rng(2).normal(size=150)
    options = OPTIONS | {"budget": 1}
    nested(MLP, (x, y), SPACE, outer_folds=2, order=time, on_fold=lambda _, study: seen.append(study), **options)
    outer = make_folds(as_dataset((x, y)), 2, seed=derive(0, "outer"), order=time, stop_fraction=0.0)
    for study, fold in zip(seen, outer, strict=True):
        inner = time[fold.fit]
        assert inner.max() < time[fold.score].min()
        for part in study.folds:
            assert inner[part.fit].max() < inner[part.score].min()


@pytest.mark.parametrize(
    ("data", "changes", "told"),
    [
        ("iris", {"metric": "mse"}, "metric must be one of loss, accuracy, .*got 'mse'"),
        ("iris", {"which": "worst"}, "which must be one of one_se, best, got 'worst'"),
        ("iris", {"fold": 3}, "there is no argument 'fold'; did you mean 'folds'"),
        ("iris", {"outer_folds": 1}, "folds must be a whole number of at least 2"),
        ("iris", {"outer_folds": 30, "folds": 50}, "folds must be at most the number of rows of the largest class"),
        (
            (np.eye(12), np.repeat(["a", "b"], 6)),
            {"folds": 6},
            "folds must be at most the number of rows of the largest class",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_any_training(data, changes, told):
    with pytest.raises(InputError, match=told):
        nested(MLP, data, SPACE, on_fold=lambda *_: pytest.fail("trained"), **OPTIONS | changes)
