"""Trees beside networks: honest outputs, columns, rare classes, weights, deadlines."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from meden.data import Dataset, Fold, as_dataset, make_folds
from meden.data.targets import Target
from meden.deadline import Deadline
from meden.tabular import trees
from meden.tabular.scored import Scored
from meden.tabular.trees import Columns, random_trees, tree_candidates


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(trees, "NUM_TREES", 15)
    monkeypatch.setattr(trees, "MOST", 40)


def table(n=80, seed=0):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": random.normal(size=n), "pet": random.choice(["x", "y", "z"], n)})
    y = 3 * (np.abs(frame["a"]) > 0.7) + 2 * (frame["pet"] == "y") + 0.1 * random.normal(size=n)
    frame.loc[::9, "a"] = np.nan
    return frame, y


def classes():
    frame, y = table()
    return frame, as_dataset(frame.assign(y=np.where(y > 3.5, "high", np.where(y > 1, "some", "low"))), target="y")


def numbers():
    frame, y = table()
    return frame, as_dataset(frame.assign(y=y), target="y", task="regression")


def several():
    frame, dataset = numbers()
    y = np.column_stack([dataset.labels, -2 * dataset.labels])
    return frame, Dataset(dataset.inputs, Target("y", "regression", (), y))


@pytest.mark.parametrize("made", [classes, numbers, several])
def test_outputs_are_what_the_models_of_the_folds_answer_to_the_frame_itself(made):
    frame, dataset = made()
    folds = make_folds(dataset, 3, seed=0)
    found = tree_candidates(dataset, folds, seed=1)
    again = tree_candidates(dataset, folds, seed=1)
    assert [candidate.name for candidate in found] == ["extra trees", "boosted trees"]
    scored = Scored.of(dataset, folds)
    constant = 1.0 if dataset.task == "regression" else 1.0986
    for candidate, same in zip(found, again, strict=True):
        models = pickle.loads(pickle.dumps(copy.deepcopy(candidate))).models
        answered = [model.answers(frame.iloc[fold.score]) for model, fold in zip(models, folds, strict=True)]
        np.testing.assert_allclose(np.concatenate(answered), candidate.outputs, atol=1e-9)
        np.testing.assert_array_equal(candidate.outputs, same.outputs)
        assert candidate.family == "trees" and scored.loss(candidate.outputs) < 0.6 * constant
        if dataset.task == "classification":
            np.testing.assert_allclose(candidate.outputs.sum(axis=1), 1.0)
            assert candidate.name != "extra trees" or candidate.outputs.min() > 0


def test_texts_are_categories_and_unknown_ones_are_missing():
    _, dataset = classes()
    model = tree_candidates(dataset, make_folds(dataset, 2, seed=0), seed=0)[1].models[0]
    assert model.columns.are_levels == [False, True]
    (boosted,) = model.estimators
    assert boosted.is_categorical_.tolist() == [False, True]
    new = pd.DataFrame({"a": [np.nan, 0.0], "pet": ["never", None]})
    assert np.isfinite(model.answers(new)).all()


def test_columns_that_were_chosen_have_trees_of_their_own():
    """A fold's trees see the fold's own columns, whatever the others hold."""
    frame, y = table()
    frame["noise"] = np.arange(80.0)
    dataset = as_dataset(frame.assign(y=y), target="y", task="regression")
    folds = make_folds(dataset, 2, seed=0)
    found = tree_candidates(dataset, folds, seed=0, few={"lasso 0.1": [frozenset({"pet"}), frozenset({"a", "pet"})]})
    kinds = ["extra trees", "boosted trees"]
    assert [candidate.name for candidate in found] == [*(f"{kind} of lasso 0.1" for kind in kinds), *kinds]
    rows = frame.iloc[folds[0].score]
    for candidate in found[:2]:
        first, second = candidate.models
        np.testing.assert_allclose(first.answers(rows), candidate.outputs[: len(rows)])
        np.testing.assert_array_equal(first.answers(rows.assign(a=0.0, noise=7.0)), first.answers(rows))
        assert len(np.unique(first.answers(rows))) <= 3, "levels of pet"
        assert (second.answers(rows.assign(a=0.0)) != second.answers(rows)).any()
        assert np.isfinite(first.answers(rows.assign(pet=None))).all(), "others still hold something"


def test_a_class_that_a_fold_does_not_train_on_has_no_probability():
    frame, dataset = classes()
    rows = np.arange(dataset.num_rows)
    folds = [Fold(rows[dataset.labels != gone], rows[:0], rows[dataset.labels == gone]) for gone in range(3)]
    folds.append(Fold(rows[dataset.labels == 1], rows[:0], rows[dataset.labels != 1]))
    for candidate in tree_candidates(dataset, folds, seed=0):
        for gone, model in enumerate(candidate.models[:3]):
            assert (model.answers(frame)[:, gone] == 0).all()
        assert (candidate.models[3].answers(frame) == [0.0, 1.0, 0.0]).all()


def test_rows_of_the_stop_split_say_how_many_are_boosted(monkeypatch):
    _, dataset = numbers()
    folds = make_folds(dataset, 2, seed=0)
    found = tree_candidates(dataset, folds, seed=0)[1]
    assert all(trees.FEWEST <= model.estimators[0].n_iter_ <= 40 for model in found.models)
    monkeypatch.setattr(trees, "USUAL", 7)
    without = [Fold(fold.fit, fold.stop[:0], fold.score) for fold in folds]
    found = tree_candidates(dataset, without, seed=0)[1]
    assert [model.estimators[0].n_iter_ for model in found.models] == [7, 7]


@pytest.mark.parametrize("unit", [2.0**-100, 2.0**60])
def test_the_unit_of_a_number_changes_nothing(unit):
    _, dataset = several()
    folds = make_folds(dataset, 2, seed=0)
    units = np.array([1.0, unit])
    other = Dataset(dataset.inputs, Target("y", "regression", (), dataset.labels * units))
    for plain, scaled in zip(
        tree_candidates(dataset, folds, seed=0), tree_candidates(other, folds, seed=0), strict=True
    ):
        np.testing.assert_allclose(plain.outputs * units, scaled.outputs, rtol=1e-6)


def test_numbers_far_from_0_are_told_apart():
    _, dataset = numbers()
    folds = make_folds(dataset, 2, seed=0)
    far = Dataset(dataset.inputs, Target("y", "regression", (), dataset.labels + 1.7e9))
    for plain, moved in zip(tree_candidates(dataset, folds, seed=0), tree_candidates(far, folds, seed=0), strict=True):
        assert Scored.of(far, folds).loss(moved.outputs) < Scored.of(dataset, folds).loss(plain.outputs) + 0.02 < 0.6


def test_rows_of_no_weight_change_nothing():
    _, dataset = classes()
    folds = make_folds(dataset, 2, seed=0)
    weights = np.ones(80)
    dropped = np.concatenate([fold.fit[:5] for fold in folds])
    weights[dropped] = 0.0
    turned = dataset.labels.copy()
    turned[dropped] = (turned[dropped] + 1) % 3
    y = Target("y", "classification", dataset.classes, turned)
    one, other = (
        tree_candidates(Dataset(dataset.inputs, target, None, weights), folds, seed=0) for target in (dataset.y, y)
    )
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine.outputs, theirs.outputs)


def test_what_is_not_for_trees_has_no_candidates(monkeypatch):
    _, dataset = classes()
    folds = make_folds(dataset, 2, seed=0)
    labels = Target("y", "classification", (0, 1), np.zeros((80, 2), dtype=np.int64))
    assert tree_candidates(Dataset(dataset.inputs, labels), folds, seed=0) == []
    assert tree_candidates(dataset, folds, seed=0, deadline=Deadline(0.0)) == []
    monkeypatch.setattr(trees, "MOST_ROWS_FOR_MANY", 79)
    assert [candidate.name for candidate in tree_candidates(dataset, folds, seed=0)] == ["boosted trees"]


def test_little_time_is_for_fewer_trees_that_count_more(monkeypatch):
    _, dataset = numbers()
    monkeypatch.setattr(trees, "affordable", lambda *_: 0.5)
    folds = make_folds(dataset, 2, seed=0, stop_fraction=0.0)
    extra, boosted = tree_candidates(dataset, folds, seed=0, deadline=Deadline.after(600))
    for models in (extra.models, boosted.models):
        assert [len(models), *(len(model.estimators) for model in models)] == [2, 1, 1]
    assert [len(model.estimators[0].estimators_) for model in extra.models] == [8, 8]
    assert [model.estimators[0].n_iter_ for model in boosted.models] == [20, 20]
    assert [model.estimators[0].learning_rate for model in boosted.models] == [0.1, 0.1]
    monkeypatch.setattr(trees, "affordable", lambda *_: 0.2)
    assert tree_candidates(dataset, folds, seed=0, deadline=Deadline.after(600)) == []


@pytest.mark.parametrize(("left", "share"), [(6.6, 0.5), (1000.0, 1.0), (1.76, 0.06), (1.0, 0.0043)])
def test_some_trees_tell_how_many_there_is_time_for(monkeypatch, left, share):
    clock, last = [0.0], [0.0]

    def grow(dataset, fold, columns, seed, share):
        assert last[0] <= left  # none is tried after one that took all the time
        last[0] = 1 + 10 * share  # a second for the rows, ten for all trees
        clock[0] += last[0]

    monkeypatch.setattr(trees, "now", lambda: clock[0])
    assert trees.affordable(grow, None, None, None, lambda: left) == pytest.approx(share, abs=0.001)


def test_a_class_of_few_rows_keeps_leaves_of_its_own_among_many():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30_000, 3))
    y = (x[:, 0] > 0).astype(int)
    rare = rng.choice(len(x), 9, replace=False)
    x[rare], y[rare] = 9 + 0.1 * x[rare], 2
    dataset = as_dataset(pd.DataFrame(x, columns=list("abc")).assign(y=y), target="y", task="classification")
    [fold] = make_folds(dataset, 3, seed=0, stop_fraction=0)[:1]
    model = random_trees(dataset, fold, Columns(dataset.fit_encoder(fold.fit), coded=False), 0, 1.0)
    scored = fold.score[y[fold.score] == 2]
    told = model.answers_of(model.columns.of(dataset.inputs.take(scored)))
    assert len(scored) == 3
    assert told.argmax(axis=1).tolist() == [2, 2, 2]


def test_leaves_hold_more_rows_where_trees_would_be_too_large(monkeypatch):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(2_000, 3)), columns=list("abc")).assign(y=rng.normal(size=2_000))
    dataset = as_dataset(frame, target="y")
    [fold] = make_folds(dataset, 2, seed=0, stop_fraction=0)[:1]
    columns = Columns(dataset.fit_encoder(fold.fit), coded=False)

    def num_nodes():
        [forest] = random_trees(dataset, fold, columns, 0, 1.0).estimators
        return np.mean([tree.tree_.node_count for tree in forest.estimators_])

    usual = num_nodes()
    most = usual * trees.NUM_TREES * (trees.NODE_BYTES + 8) / 4
    monkeypatch.setattr(trees, "MOST_BYTES", most)
    assert usual / 10 < num_nodes() < usual / 3
