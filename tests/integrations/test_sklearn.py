"""The estimators behave as scikit-learn's own, and know nothing of the rows that score them."""

import copy
import math

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_linnerud, load_wine
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import meden
from meden.integrations.sklearn import MLPClassifierCV, MLPRegressorCV
from meden.tabular.defaults import DEFAULTS

SMALL_SPACE = {"width": meden.Choice(16), "depth": meden.Choice(1)}
RECIPE = meden.Recipe(optimizer="adam", lr=0.1, betas=(0.9, 0.95), epochs=10, batch_size=32, schedule="cosine")
SETTINGS = {"budget": 1, "cv": 2, "space": SMALL_SPACE, "recipe": RECIPE, "random_state": 0, "families": ("network",)}


TINY = SETTINGS | {"recipe": RECIPE.replace(epochs=6, eval_rows=1), "refit": "all", "families": ("network",)}


pytestmark = pytest.mark.usefixtures("one_by_one")
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "repeated rows are other batches, and other quartiles for scaling",
}


@pytest.mark.filterwarnings("ignore:classes with only one row cannot be both trained on and held out")
@pytest.mark.filterwarnings("ignore:classes with fewer rows than")
@parametrize_with_checks(
    [MLPClassifierCV(**TINY), MLPRegressorCV(**TINY)],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_scikit_learn_is_content(estimator, check):
    check(estimator)


def pets(n=120):
    """A table with strings, booleans, dates and missing values, whose classes follow from two columns."""
    rng = np.random.default_rng(0)
    pet, age = rng.choice(["cat", "dog", "emu"], n), rng.normal(5, 2, n)
    y = np.where((pet == "cat") | (age > 6), "old friend", "stranger")
    frame = pd.DataFrame({"pet": pet, "age": age, "shy": rng.random(n) < 0.5, "seen": pd.Timestamp("2024-01-31")})
    frame.loc[::7, "pet"] = None
    frame.loc[3::5, "age"] = np.nan
    return frame, y


def test_a_raw_table_with_strings_and_missing_values():
    X, y = pets()
    model = MLPClassifierCV(**SETTINGS | {"recipe": RECIPE.replace(epochs=40)}).fit(X, y)
    assert model.classes_.tolist() == ["old friend", "stranger"]
    assert model.feature_names_in_.tolist() == ["pet", "age", "shy", "seen"] and model.n_features_in_ == 4
    assert set(model.predict(X)) <= set(y) and model.score(X, y) > 0.75
    assert np.allclose(model.predict_proba(X).sum(axis=1), 1)


def test_missing_values_of_an_array_are_those_of_a_table():
    X, y = load_wine(return_X_y=True)
    X[::3, 0] = np.nan
    names = [f"x{i}" for i in range(X.shape[1])]
    array = MLPClassifierCV(**SETTINGS).fit(X, y).predict_proba(X)
    table = (
        MLPClassifierCV(**SETTINGS).fit(pd.DataFrame(X, columns=names), y).predict_proba(pd.DataFrame(X, columns=names))
    )
    assert np.array_equal(array, table)


def test_a_column_without_values_is_left_out():
    X, y = load_iris(return_X_y=True, as_frame=True)
    told = MLPClassifierCV(**SETTINGS).fit(X.assign(empty=np.nan), y).predict_proba(X.assign(empty=1.0))
    assert np.array_equal(told, MLPClassifierCV(**SETTINGS).fit(X, y).predict_proba(X))


def test_regression_reaches_ridge():
    X, y = load_diabetes(return_X_y=True)
    model = MLPRegressorCV(**TINY | {"recipe": RECIPE.replace(epochs=12)})
    peer = cross_val_score(make_pipeline(StandardScaler(), Ridge()), X, y, cv=2).mean()
    assert cross_val_score(model, X, y, cv=2).mean() > peer - 0.05


def test_several_numbers_are_each_in_their_own_units():
    X, y = load_linnerud(return_X_y=True)
    model = MLPRegressorCV(**SETTINGS | {"recipe": RECIPE.replace(epochs=1, lr=1e-6)}).fit(X, y)
    assert np.allclose(model.predict(X), y.mean(axis=0), rtol=0.1)  # the last layer starts at zero: the means
    codec = model.runs_[0].encoder.target
    assert np.std(codec.std) > 1  # 25, 3 and 7


def test_tags_and_several_answers():
    X, _ = load_breast_cancer(return_X_y=True)
    tags = np.stack([X[:, 0] > 13, X[:, 1] > 19], axis=1).astype(int)
    model = MLPClassifierCV(**SETTINGS).fit(X, tags)
    probabilities = model.predict_proba(X)
    assert [p.shape for p in probabilities] == [(len(X), 2)] * 2
    assert (model.predict(X) == tags).mean() > 0.9
    assert np.array_equal(model.predict(X)[:, 1], probabilities[1].argmax(axis=1))


def test_answers_with_different_classes():
    X, y = load_iris(return_X_y=True)
    both = np.stack([y, X[:, 0] > 5.8], axis=1).astype(int)
    model = MLPClassifierCV(**SETTINGS).fit(X, both)
    assert [p.shape[1] for p in model.predict_proba(X)] == [3, 2] == [len(c) for c in model.classes_]
    assert all(np.allclose(p.sum(axis=1), 1) for p in model.predict_proba(X))
    assert (model.predict(X) == both).mean() > 0.8


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_verbose_says_how_far_it_is_on_standard_error(verbose, capsys, monkeypatch):
    monkeypatch.setattr("meden.search.progress.FIRST_LINE", math.inf)
    X, y = load_iris(return_X_y=True)
    MLPClassifierCV(**SETTINGS | {"budget": 2}, verbose=verbose).fit(X, y)
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert not told.out and len(lines) in {0: [0], 1: [1], 2: [2, 3]}[verbose]
    assert not verbose or (lines[-1].startswith("epochs: ") and "4 of 4 fits done" in lines[-1])


def test_in_a_pipeline_under_cross_validation():
    X, y = pets()
    numbers = make_column_transformer((SimpleImputer(), ["age"]), remainder="passthrough")
    model = make_pipeline(numbers.set_output(transform="pandas"), MLPClassifierCV(**SETTINGS))
    assert cross_val_score(model, X, y, cv=2).mean() > 0.6


def test_clones_fit_alike_and_joblib_brings_them_back(tmp_path):
    X, y = load_iris(return_X_y=True)
    model = MLPClassifierCV(**SETTINGS).fit(X, y)
    again = clone(model).fit(X, y)
    assert np.array_equal(model.predict_proba(X), again.predict_proba(X))
    joblib.dump(model, tmp_path / "model.joblib")
    assert np.array_equal(joblib.load(tmp_path / "model.joblib").predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("refit", ["folds", "all"])
def test_what_predicts(refit):
    X, y = load_iris(return_X_y=True)
    model = MLPClassifierCV(**SETTINGS | {"refit": refit, "cv": 3}).fit(X, y)
    assert len(model.runs_) == {"folds": 3, "all": 1}[refit]
    assert model.score(X, y) > 0.85


def test_results_have_the_shape_of_scikit_learns_searches():
    X, y = load_iris(return_X_y=True)
    space = SMALL_SPACE | {"lr": meden.Choice(1e-9, 0.1)}
    model = MLPClassifierCV(**SETTINGS | {"space": space, "budget": 8}).fit(X, y)
    told = model.cv_results_
    splits = np.stack([told["split0_test_score"], told["split1_test_score"]])
    assert np.allclose(told["mean_test_score"], splits.mean(axis=0))
    assert np.allclose(told["std_test_score"], splits.std(axis=0))
    assert told["rank_test_score"][model.best_index_] == 1 == told["rank_test_score"].min()
    assert model.best_params_ == told["params"][model.best_index_]
    assert model.best_params_["lr"] == 0.1 == model.best_recipe_.lr
    assert told["param_lr"].tolist() == [params["lr"] for params in told["params"]]
    low, high = model.score_interval_
    assert 0.5 < low < told["mean_test_accuracy"][model.best_index_] < high <= 1


def test_a_group_stays_in_one_part_of_each_fold():
    X, y = load_iris(return_X_y=True)
    groups = np.arange(150) // 5
    model = MLPClassifierCV(**SETTINGS).fit(X, y, groups=groups)
    for fold in model.study_.folds:
        parts = [set(groups[rows]) for rows in (fold.fit, fold.stop, fold.score)]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_a_constant_target_is_predicted():
    X, _ = load_iris(return_X_y=True)
    assert np.allclose(MLPRegressorCV(**SETTINGS).fit(X, np.full(150, 7.5)).predict(X), 7.5, atol=0.1)


def test_rare_classes_do_not_decide_the_number_of_folds():
    """Thirteen classes in 316 rows, two of them with one row and with two."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(13), [1, 2] + [28] * 8 + [29] * 2 + [31])
    assert len(y) == 316
    with pytest.warns(UserWarning) as said:
        model = MLPClassifierCV(**SETTINGS | {"cv": 5}).fit(rng.normal(size=(316, 4)) + y[:, None], y)
    assert len(model.study_.folds) == len(model.runs_) == 5
    assert sorted(str(one.message).split(":")[0] for one in said) == [
        "classes with fewer rows than 5 folds are not scored in all of them",
        "classes with only one row cannot be both trained on and held out; left out",
    ]
    assert min(len(fold.fit) + len(fold.stop) for fold in model.study_.folds) >= 251


def test_nothing_stays_of_a_fit_before():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifierCV(**SETTINGS).fit(X, y)
    model.set_params(families=("linear",)).fit(X[:, :2], y)
    assert not any(hasattr(model, name) for name in ("study_", "best_params_", "cv_results_")) and not model.runs_
    assert model.predict_proba(X[:, :2]).shape == (150, 3)


def test_fewer_groups_than_folds():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifierCV(**SETTINGS | {"cv": 5}).fit(X, y, groups=np.arange(150) % 4)
    assert len(model.study_.folds) == 4


def test_a_class_with_one_row_is_never_predicted():
    X, y = load_iris(return_X_y=True)
    with pytest.warns(UserWarning, match=r"left out: \[2\]"):
        model = MLPClassifierCV(**SETTINGS).fit(X[:101], y[:101])
    assert model.classes_.tolist() == [0, 1, 2] and (model.predict_proba(X)[:, 2] == 0).all()
    assert model.score(X[:100], y[:100]) > 0.95


def test_the_usual_configuration_is_the_first_of_one_search():
    X, y = load_iris(return_X_y=True)
    model = MLPClassifierCV(budget=3, cv=2, recipe=RECIPE.replace(epochs=2), random_state=0).fit(X, y)
    first, *others = model.cv_results_["params"]
    assert first == DEFAULTS["tabular"].first[0] and len(others) == 2 and first not in others
    assert [trial.number for trial in model.study_.trials] == [0, 1, 2]


X, Y = load_iris(return_X_y=True)
FRAME = pd.DataFrame(X, columns=list("abcd"))


@pytest.mark.parametrize(
    ("estimator", "data", "message"),
    [
        (MLPClassifierCV(budget=0), (X, Y), "budget must be a whole number of at least 1, got 0"),
        (MLPClassifierCV(cv=1), (X, Y), "cv must be a whole number of at least 2, got 1"),
        (
            MLPClassifierCV(refit="fold"),
            (X, Y),
            "refit must be one of folds, all, seeds, got 'fold'; did you mean 'folds'",
        ),
        (MLPClassifierCV(time_limit=0), (X, Y), "time_limit must be a finite number above 0, got 0"),
        (MLPClassifierCV(time_limit=1e-6), (X, Y), "time_limit must be at least about .* s"),
        (MLPClassifierCV(preset="quick"), (X, Y), "preset must be one of fast, good, best, got 'quick'"),
        (
            MLPClassifierCV(preset="fast", time_limit=5),
            (X, Y),
            "time_limit must be None: preset='fast' already means 10 s",
        ),
        (MLPClassifierCV(metric="r2"), (X, Y), "metric must be one of loss, accuracy, .*, got 'r2'"),
        (MLPClassifierCV(families="linear"), (X, Y), "families must be a list of some of network, linear, trees"),
        (MLPClassifierCV(costs=[[0, 1], [1, 0]]), (X, Y), "costs must have a row and a column for each of 3 classes"),
        (MLPClassifierCV(costs=-np.eye(3)), (X, Y), "costs must be finite numbers of at least 0, got -1"),
        (MLPClassifierCV(verbose=-1), (X, Y), "verbose must be a whole number of at least 0, got -1"),
        (MLPClassifierCV(recipe={"lr": 1}), (X, Y), "recipe must be a meden.Recipe or None, got {'lr': 1}"),
        (MLPClassifierCV(space={}, budget=1), (X, Y), "space must name at least one thing to search"),
        (MLPClassifierCV(), (X, Y[:-1]), "inconsistent numbers of samples"),
        (
            MLPClassifierCV(),
            (X, np.ones(150)),
            "y must hold at least two classes with at least two rows each, got 150 of 1.0",
        ),
        (MLPClassifierCV(), (X, X[:, 0] + 0.123), "Unknown label type: continuous"),
        (MLPClassifierCV(), (FRAME.assign(a=[[1]] * 150), Y), "column 'a' must hold numbers, strings, booleans or"),
        (MLPClassifierCV(), (FRAME * np.nan, Y), "X must have a column with values, got none"),
        (MLPRegressorCV(), (np.where(X > 7, np.inf, X), Y), "X contains infinity"),
        (MLPRegressorCV(), (X, np.where(Y, np.nan, 1.0)), "y contains NaN"),
    ],
)
def test_bad_input_costs_no_compute(estimator, data, message, monkeypatch):
    monkeypatch.setattr("meden.search.engine.train", None)
    with pytest.raises(ValueError, match=message):
        estimator.fit(*data)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (FRAME.drop(columns="b"), "feature names"),
        (FRAME[list("bacd")], "feature names"),
        (FRAME.astype({"b": str}).replace("3.5", "wide"), "column 'b' must hold numbers, got 'wide'"),
    ],
)
def test_other_columns_at_prediction(new, message):
    model = MLPClassifierCV(**SETTINGS).fit(FRAME, Y)
    with pytest.raises(ValueError, match=message):
        model.predict(new)


def planted(n=150):
    """A table in which a number and a colour say what the class is, and three columns nothing."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({f"noise {i}": rng.normal(size=n) for i in range(3)})
    X["size"], X["colour"] = rng.normal(size=n), rng.choice(["red", "blue"], n)
    X.loc[::9, "size"] = np.nan
    return X, np.where(X["size"].fillna(0) + 1.5 * (X["colour"] == "red") > 0.7, "yes", "no")


@pytest.fixture(scope="module")
def selecting():
    return MLPClassifierCV(**TINY | {"select": "inputs", "cv": 4}).fit(*planted())


def test_a_selector_as_scikit_learns(selecting):
    X, y = planted()
    support = selecting.support_
    assert support.tolist() == selecting.get_support().tolist() and support[3:].all() and not support.all()
    assert selecting.get_support(indices=True).tolist() == np.flatnonzero(support).tolist()
    kept = X.columns[support].tolist()
    assert selecting.get_feature_names_out().tolist() == kept == list(selecting.selection_.kept)
    assert selecting.transform(X).shape == (150, support.sum())
    assert clone(selecting).get_params() == selecting.get_params()
    assert copy.deepcopy(selecting).set_output(transform="pandas").transform(X).columns.tolist() == kept
    assert selecting.score(X, y) > 0.8 and selecting.n_features_in_ == 5
    low, high = selecting.score_interval_
    assert 0 <= low < high <= 1


def test_the_models_see_the_kept_columns_only(selecting):
    X, _ = planted()
    assert {run.encoder.inputs.read(X).feature_names for run in selecting.runs_} == {selecting.selection_.kept}
    others = X.columns[~selecting.support_]
    told = selecting.predict_proba(X.assign(**dict.fromkeys(others, -3.0)))
    assert np.array_equal(told, selecting.predict_proba(X))


def test_arrays_and_numbers_are_selected_in_a_pipeline():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5))
    y = 3 * X[:, 1] + 0.1 * rng.normal(size=120)
    model = make_pipeline(StandardScaler(), MLPRegressorCV(**TINY | {"select": "inputs"}), Ridge()).fit(X, y)
    assert model[1].support_[1] and model.score(X, y) > 0.9
    assert model[:-1].get_feature_names_out().tolist() == [f"x{place}" for place in model[1].get_support(indices=True)]


def test_noise_leaves_no_column_and_one_answer():
    X, _ = planted()
    y = np.random.default_rng(3).choice(["yes", "no"], len(X))
    with pytest.warns(UserWarning, match="no column survives"):
        model = MLPClassifierCV(**TINY | {"select": "inputs"}).fit(X[["noise 0", "noise 1"]], y)
    assert not model.support_.any() and np.ptp(model.predict_proba(X[["noise 0", "noise 1"]])[:, 0]) < 1e-12


def test_without_select_there_is_no_selector():
    model = MLPClassifierCV()
    assert not any(hasattr(model, name) for name in ("transform", "fit_transform", "get_support", "inverse_transform"))
    assert model.__sklearn_tags__().transformer_tags is None and model.get_params()["select"] is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"select": "inputs", "costs": np.ones((2, 2))}, "costs must be None when columns are selected"),
        ({"select": "units"}, "select must be"),
        ({"select": "inputs", "time_limit": 5.0}, "time_limit must be None"),
    ],
)
def test_what_cannot_be_selected(settings, said):
    with pytest.raises(ValueError, match=said):
        MLPClassifierCV(**TINY | settings).fit(*planted())
