"""Baselines: the same numbers as scikit-learn by hand, and as the plain network alone."""

import dataclasses
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import StratifiedKFold

import meden
from meden.data import Dataset, as_dataset, make_folds
from meden.models import MLP
from meden.noise import derive
from meden.optim import Regularizer
from meden.penalties import L2
from meden.search import plain, simple_models
from meden.search.simple_models import SimpleModels, fit_simple_models
from meden.space.names import OFF
from meden.study.ledger import Ledger

SPACE = {"l2": meden.LogUniform(1e-4, 1.0), "lr": meden.LogUniform(1e-3, 1e-2)}
RECIPE = meden.Recipe(epochs=6, early_stopping=meden.EarlyStopping(patience=2))


def tuned(data: Any = "wine", **settings: Any) -> meden.Study:
    return meden.tune(MLP, data, SPACE, **{"budget": 3, "folds": 3, "recipe": RECIPE, "strategy": "sobol"} | settings)


@pytest.fixture(scope="module")
def wine() -> meden.Study:
    return tuned()


def rows_of(dataset: Dataset, fold: Any) -> tuple[np.ndarray, ...]:
    """Return inputs and labels of a fold's training part and of its scored rows."""
    training = np.sort(np.concatenate([fold.fit, fold.stop]))
    encoder = dataset.fit_encoder(training)
    x, scored = (dataset.features(encoder, rows).double().numpy() for rows in (training, fold.score))
    return x, dataset.labels[training], scored, dataset.labels[fold.score]


def test_every_table_has_all_five(wine):
    assert [trial.baseline for trial in wine.baselines] == ["constant", "linear", "trees", "plain", "plain_stopped"]
    assert all(trial.status == "ok" for trial in wine.baselines)


def test_simple_classifiers_have_the_log_loss_and_accuracy_of_scikit_learn(wine):
    dataset = as_dataset("wine")
    for number, fold in enumerate(wine.folds):
        x, y, scored, truth = rows_of(dataset, fold)
        shares = np.bincount(y) / len(y)
        constant = np.tile(shares, (len(truth), 1))
        trees = HistGradientBoostingClassifier(random_state=derive(0, "baselines") % 2**32).fit(x, y)
        for name, told in (("constant", constant), ("trees", trees.predict_proba(scored))):
            trial = wine.baseline(name)
            assert trial.fold_losses[number] == pytest.approx(log_loss(truth, told, labels=range(3)), rel=1e-6)
            assert trial.fold_scores[number] == pytest.approx(np.mean(told.argmax(1) == truth))
            np.testing.assert_allclose(trial.rows[number].outputs, told, atol=1e-7)


def test_the_linear_classifier_has_the_strength_that_cross_validation_likes_best():
    dataset = as_dataset("wine")
    models = SimpleModels(dataset, 0)
    x = models._inputs(np.arange(dataset.num_rows))[0]
    model = models._logistic(x, dataset.labels, None, np.arange(dataset.num_rows))
    few = np.random.default_rng(0).permutation(dataset.num_rows)
    splits = StratifiedKFold(3, shuffle=True, random_state=0).split(few, dataset.labels[few])
    parts = [(few[train], few[test]) for train, test in splits]
    losses = [
        np.mean(
            [
                log_loss(
                    dataset.labels[test],
                    LogisticRegression(C=c, max_iter=300).fit(x[train], dataset.labels[train]).predict_proba(x[test]),
                )
                for train, test in parts
            ]
        )
        for c in simple_models.INVERSE_STRENGTHS
    ]
    assert model.C == simple_models.INVERSE_STRENGTHS[int(np.argmin(losses))]


def test_more_rows_than_choose_get_the_same_strength(monkeypatch):
    monkeypatch.setattr(simple_models, "FEWEST_TO_CHOOSE", 90)
    monkeypatch.setattr(simple_models, "MOST_TO_CHOOSE", 90)
    dataset = as_dataset("wine")
    rows = np.arange(dataset.num_rows)
    models = SimpleModels(dataset, 0)
    model = models._logistic(models._inputs(rows)[0], dataset.labels, None, rows)
    assert np.isclose(model.C * dataset.num_rows / 90, simple_models.INVERSE_STRENGTHS).any()


def test_simple_regressions_have_the_squared_errors_of_scikit_learn():
    dataset = as_dataset("diabetes")
    folds = make_folds(dataset, 2, seed=0)
    models = SimpleModels(dataset, 7)
    for fold in folds:
        x, y, scored, truth = rows_of(dataset, fold)
        std = np.std(dataset.labels[fold.fit])
        ridge = RidgeCV(alphas=simple_models.ALPHAS).fit(x, (y - y.mean()) / std).predict(scored) * std + y.mean()
        trees = HistGradientBoostingRegressor(random_state=7).fit(x, y).predict(scored)
        for name, told in (("constant", np.full(len(truth), y.mean())), ("linear", ridge), ("trees", trees)):
            found = models.held_out(name, fold)
            np.testing.assert_allclose(found.outputs[:, 0], told, rtol=1e-4)
            assert found.scores.mean() == pytest.approx(mean_squared_error(truth, told), rel=1e-4)
            assert found.losses.mean() == pytest.approx(mean_squared_error(truth, told) / std**2 / 2, rel=1e-4)


def test_the_plain_network_is_that_network_trained_alone(wine):
    recipe, model_args = wine.recipe_of(wine.choice)
    plain = recipe.replace(**OFF)
    stopped = plain.replace(early_stopping=meden.EarlyStopping(patience=6))
    for name, wanted in (("plain", plain), ("plain_stopped", stopped)):
        members = [meden.Member(wanted, fold, derive(0, "seed", 0), model_args) for fold in wine.folds]
        runs = meden.fit_many(MLP, members, "wine")
        for run, row in zip(runs, wine.baseline(name).rows, strict=True):
            np.testing.assert_allclose(row.losses, run.held_out.losses, rtol=1e-4, atol=1e-6)
            assert row.best_epoch == run.best_epoch


def test_one_by_one_the_newest_state_is_the_same():
    fold = make_folds(as_dataset("wine"), 2, seed=0)[0]
    member = meden.Member(RECIPE.replace(lr=0.1, early_stopping=meden.EarlyStopping(patience=6)), fold, 0, newest=True)
    alone, stacked = (meden.fit_many(MLP, [member, member], "wine", chunk=chunk)[0] for chunk in (1, 2))
    assert alone.best_epoch < 6, "the newest state is the one that is kept: nothing is compared"
    for name in ("losses", "outputs"):
        np.testing.assert_allclose(getattr(alone.newest, name), getattr(stacked.newest, name), rtol=1e-3, atol=1e-5)
    assert not np.allclose(alone.newest.losses, alone.held_out.losses)


def test_every_field_of_a_recipe_that_regularises_is_off():
    trains = {"optimizer", "lr", "momentum", "nesterov", "betas", "alpha", "eps", "epochs", "eval_rows", "stop_after"}
    trains |= {"batch_size", "steps_per_epoch", "schedule", "clip_norm", "lr_factors"}
    assert set(meden.Recipe.model_fields) == trains | set(OFF)


def test_a_recipe_and_a_space_that_regularise_are_plain_in_the_baseline():
    recipe = meden.Recipe(epochs=3, dropout=0.5, regularizers=[Regularizer(L2(10.0))], averaging="ema")
    study = tuned(recipe=recipe, stop_fraction=0.0)
    assert [trial.baseline for trial in study.baselines] == ["constant", "linear", "trees", "plain"]
    bare = meden.Recipe(epochs=3, lr=study.choice.params["lr"], dropout=0.0)
    run = meden.fit_many(MLP, [meden.Member(bare, study.folds[0], derive(0, "seed", 0))], "wine")[0]
    np.testing.assert_allclose(study.baseline("plain").rows[0].losses, run.held_out.losses, rtol=1e-4, atol=1e-6)
    assert study.baseline("plain").params == {"lr": study.choice.params["lr"]}


def test_none_is_ever_chosen_though_it_be_the_best(wine):
    table = wine.table()
    named = table[table["baseline"] != ""]
    assert len(named) == 5 and named["configuration"].isna().all() and set(named["chosen"]) == {""}
    assert table["loss"].iloc[0] == min(table["loss"]) < wine.best.loss  # the linear model wins on wine
    assert not wine.best.baseline and not wine.choice.baseline
    assert [trial.number for trial in wine.trials] == [0, 1, 2]


def test_the_same_configurations_without_them(wine):
    without = tuned(baselines=False)
    assert not without.baselines
    with pytest.raises(meden.InputError, match="baseline must be one that the study has, got 'plain', but it has none"):
        without.gain_over("plain")
    mine = wine.table()
    pd.testing.assert_frame_equal(without.table(), mine[mine["baseline"] == ""].reset_index(drop=True))


def test_a_study_that_is_opened_again_trains_nothing_and_may_add_or_leave_them(tmp_path, monkeypatch):
    tuned(study_dir=tmp_path, baselines=False)
    both = tuned(study_dir=tmp_path)
    assert len(both.baselines) == 5
    monkeypatch.setattr(plain, "train", None)
    monkeypatch.setattr(SimpleModels, "held_out", None)
    again = tuned(study_dir=tmp_path)
    pd.testing.assert_frame_equal(again.table(), both.table())
    pd.testing.assert_frame_equal(meden.load_study(tmp_path).table(), both.table())


def test_the_plain_network_follows_the_choice(tmp_path):
    study = tuned(study_dir=tmp_path)
    other = next(trial for trial in study.trials if trial is not study.choice)
    before = study.baseline("plain").params
    chosen = {"recipe": RECIPE, "choice": other, "seeds": 1, "seed": 0}
    with Ledger(tmp_path / "ledger.jsonl", _identity(tmp_path)) as ledger:
        plain.fit_plain(MLP, as_dataset("wine"), study.folds, ledger, meden.search.Workers(), **chosen)
    names = [trial.baseline for trial in meden.load_study(tmp_path).baselines]
    assert names == ["constant", "linear", "trees"], "that of another configuration is none of the choice"
    after = tuned(study_dir=tmp_path).baseline("plain")
    assert after.params == before and len(after.rows) == 3


def test_a_plain_network_that_trained_for_less_is_trained_again(tmp_path):
    space = {"l2": meden.LogUniform(1e-4, 1.0)}
    options = {"folds": 3, "strategy": "sobol", "budget": 2}
    small = meden.tune(MLP, "wine", space, recipe=RECIPE, study_dir=tmp_path, **options)
    rows = list(meden.study.load.read_rows(tmp_path / "ledger.jsonl").rows.values())
    shorter = [dataclasses.replace(row, num_epochs=1, best_epoch=1, train_loss=[1.0], stop_loss=[1.0]) for row in rows]
    with Ledger(tmp_path / "ledger.jsonl", _identity(tmp_path)) as ledger:
        for row in shorter:
            if row.baseline.startswith("plain"):
                ledger.append(row)
    again = meden.tune(MLP, "wine", space, recipe=RECIPE, study_dir=tmp_path, **options)
    assert {row.num_epochs for row in again.baseline("plain").rows} == {6}
    pd.testing.assert_frame_equal(again.table(), small.table())


def _identity(folder: Any) -> dict[str, Any]:
    from meden.study.ledger import read_rows

    found = read_rows(folder / "ledger.jsonl").identity
    assert found is not None
    return found


def names(x: Any, y: Any, **settings: Any) -> tuple[str, ...]:
    return SimpleModels(as_dataset((x, y), **settings), 0).names


def test_what_the_data_cannot_be_given_to_is_left_out():
    random = np.random.default_rng(0)
    y = np.arange(40) % 2
    assert names(random.normal(size=(40, 3)), y) == ("constant", "linear")
    assert names(random.normal(size=(40, 3, 4, 4)), y) == ("constant", "linear")
    assert names(random.integers(9, size=(40, 3)), y) == ("constant",)  # tokens
    assert names(random.normal(size=(40, 3)), random.normal(size=(40, 2))) == ("constant", "linear")
    frame = pd.DataFrame(random.normal(size=(40, 2)), columns=["a", "b"])
    assert names(frame, y) == ("constant", "linear", "trees")


def test_arrays_have_the_four(wine):
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3)).astype(np.float32)
    study = tuned((x, x @ [1.0, 2.0, 3.0] + 0.1 * random.normal(size=60)))
    assert [trial.baseline for trial in study.baselines] == ["constant", "linear", "plain", "plain_stopped"]
    assert study.baseline("linear").score < 0.03


def test_weights_count_in_fitting_and_in_scoring():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": random.normal(size=90), "y": random.normal(size=90)})
    dataset = as_dataset(table, target="y")
    heavy = np.where(np.arange(90) % 3 == 0, 2.5, 0.25)
    weighted = Dataset(dataset.inputs, dataset.y, weights=heavy)
    fold = make_folds(weighted, 3, seed=0)[0]
    found = SimpleModels(weighted, 0).held_out("constant", fold)
    training = np.sort(np.concatenate([fold.fit, fold.stop]))
    mean = np.average(dataset.labels[training], weights=heavy[training])
    np.testing.assert_allclose(found.outputs[:, 0], mean, rtol=1e-5)
    np.testing.assert_allclose(found.scores, heavy[fold.score] * (dataset.labels[fold.score] - mean) ** 2, rtol=1e-5)


def test_a_class_that_is_not_in_the_training_part_costs_what_it_does_in_scikit_learn():
    table = pd.DataFrame({"x": np.arange(30.0), "y": ["a"] * 14 + ["b"] * 14 + ["c"] * 2})
    dataset = as_dataset(table, target="y")
    fold = meden.data.Fold(np.arange(0, 24), np.arange(24, 26), np.arange(26, 30))
    for name in ("constant", "linear", "trees"):
        found = SimpleModels(dataset, 0).held_out(name, fold)
        assert found.outputs.shape == (4, 3) and (found.outputs[:, 2] == 0).all()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = log_loss(dataset.labels[fold.score], found.outputs.astype(np.float64), labels=range(3))
        assert found.losses.mean() == pytest.approx(wanted, rel=0.02)


def test_one_that_cannot_be_fitted_is_left_out_with_a_warning(monkeypatch):
    def fails(*_: Any) -> Any:
        raise ValueError("no\nroom")

    monkeypatch.setattr(SimpleModels, "_trees", fails)
    dataset = as_dataset("wine")
    ledger = Ledger(None, {})
    with pytest.warns(UserWarning, match="baseline 'trees' is left out, since it could not be fitted: no room"):
        fit_simple_models(MLP, dataset, make_folds(dataset, 3, seed=0), ledger, 0)
    assert {row.baseline for row in ledger.rows.values()} == {"constant", "linear"}


def test_a_name_that_is_none_is_refused(wine):
    with pytest.raises(meden.InputError, match="baseline must be one of constant, linear, trees, plain, plain_stopped"):
        wine.gain_over("forest")


def test_all_several_labels_of_a_row_have_a_constant_answer():
    random = np.random.default_rng(0)
    inputs = as_dataset((random.normal(size=(40, 3)), np.arange(40) % 2)).inputs
    labels = np.stack([np.arange(40) % 2, np.arange(40) % 4 == 0], axis=1).astype(np.int64)
    dataset = Dataset(inputs, meden.data.targets.Target("y", "classification", (0, 1), labels))
    fold = meden.data.Fold(np.arange(0, 20), np.arange(20, 30), np.arange(30, 40))
    models = SimpleModels(dataset, 0)
    assert models.names == ("constant",)
    found = models.held_out("constant", fold)
    wanted = [-np.mean([np.log(np.mean(labels[:30, t] == labels[row, t])) for t in range(2)]) for row in fold.score]
    np.testing.assert_allclose(found.losses, wanted, rtol=1e-6)
    assert found.outputs.shape == (10, 0)


def test_a_constant_answer_is_made_and_scored_of_the_tokens_that_count():
    y = np.array([[0, 1, -100], [0, 0, -100], [1, -100, -100], [0, 1, 1], [0, -100, -100], [1, 1, -100]])
    dataset = as_dataset((np.ones((6, 3), dtype=int), y))
    fold = meden.data.Fold(np.array([0, 1]), np.array([2]), np.array([3, 4, 5]))
    found = SimpleModels(dataset, 0).held_out("constant", fold)
    shares = [[2 / 3, 1 / 3], [1 / 2, 1 / 2], [1 / 2, 1 / 2]]  # nothing is known of the third place
    costs = [-np.log(shares[t][y[row, t]]) for row in (3, 4, 5) for t in range(3) if y[row, t] >= 0]
    assert found.loss == pytest.approx(sum(costs) / 6)
