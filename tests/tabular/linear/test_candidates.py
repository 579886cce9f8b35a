"""Linear candidates: honest outputs, rare classes, texts and gaps, weights, deadlines."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from meden.data import Dataset, Fold, as_dataset, make_folds
from meden.data.targets import Target
from meden.deadline import Deadline
from meden.tabular.candidate import RowsToAnswer, all_answers
from meden.tabular.linear import candidates as module
from meden.tabular.linear import few_columns, linear_candidates
from meden.tabular.scored import Scored


def table(n=60, seed=0):
    """Numbers with gaps, texts, a constant; and what depends on them."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": random.normal(size=n), "b": random.normal(size=n), "pet": random.choice(["x", "y"], n)})
    y = 2 * frame["a"] + (frame["pet"] == "x") + 0.3 * random.normal(size=n)
    frame.loc[::7, "b"] = np.nan
    return frame.assign(same=1.0), y


def classes(n=60, num=3, seed=0):
    frame, y = table(n, seed)
    labels = pd.cut(y, num, labels=False)
    return frame, as_dataset(frame.assign(target=[f"c{label}" for label in labels]), target="target")


def numbers(n=60):
    frame, y = table(n)
    return frame, as_dataset(frame.assign(target=y), target="target", task="regression")


@pytest.mark.parametrize("made", [classes, numbers])
def test_outputs_are_what_the_models_of_the_folds_answer_to_the_frame_itself(made):
    frame, dataset = made()
    folds = make_folds(dataset, 3, seed=0)
    found = linear_candidates(dataset, folds)
    kinds = {"few", "logistic"} if dataset.task == "classification" else {"ridge", "lasso"}
    assert {candidate.name.split()[0] for candidate in found} == kinds and 2 <= len(found) <= 6
    for candidate in found:
        models = pickle.loads(pickle.dumps(copy.deepcopy(candidate))).models
        answered = [model.answers(frame.iloc[fold.score]) for model, fold in zip(models, folds, strict=True)]
        np.testing.assert_allclose(np.concatenate(answered), candidate.outputs, atol=1e-9)
        assert candidate.family == "linear" and len(models) == 3
        if dataset.task == "classification":
            np.testing.assert_allclose(candidate.outputs.sum(axis=1), 1.0)
    together = all_answers([candidate.models[0] for candidate in found], RowsToAnswer(frame))
    for candidate, answers in zip(found, together, strict=True):
        np.testing.assert_array_equal(answers, candidate.models[0].answers(frame))


@pytest.mark.parametrize("made", [classes, numbers])
def test_the_best_is_better_than_a_constant_answer_and_not_worse_than_its_neighbours(made):
    _, dataset = made()
    folds = make_folds(dataset, 3, seed=0)
    scored = Scored.of(dataset, folds)
    found = linear_candidates(dataset, folds)
    constant = 1.0 if dataset.task == "regression" else np.log(3)
    for kind in {candidate.name.rsplit(" ", 1)[0] for candidate in found}:
        losses = [scored.loss(candidate.outputs) for candidate in found if candidate.name.startswith(kind)]
        assert losses[0] == min(losses) < 0.7 * constant


def test_a_ridge_is_that_of_scikit_learn_on_standardised_inputs_with_weights():
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(40, 4)).astype(np.float32).astype(float)
    y = x[:, :2] @ np.array([[1.0, 2.0], [0.0, -1.0]]) + np.random.default_rng(1).normal(size=(40, 2))
    weights = np.random.default_rng(2).uniform(0.0, 2.0, 40)
    weights[:3] = 0.0
    frame = pd.DataFrame(x, columns=list("abcd"))
    read = as_dataset(frame.assign(y=y[:, 0]), target="y", task="regression")
    dataset = Dataset(read.inputs, Target("y", "regression", (), y), None, weights)
    folds = make_folds(dataset, 2, seed=0)
    found = linear_candidates(dataset, folds)
    assert all(candidate.name.startswith("ridge") for candidate in found) and found[0].outputs.shape == (40, 2)
    strength = float(found[0].name.split()[1])
    for model, fold in zip(found[0].models, folds, strict=True):
        rows = np.concatenate([fold.fit, fold.stop])
        scaler = StandardScaler().fit(x[rows], sample_weight=weights[rows])
        theirs = Ridge(strength * weights[rows].sum()).fit(scaler.transform(x[rows]), y[rows], weights[rows])
        expected = theirs.predict(scaler.transform(x[fold.score]))
        np.testing.assert_allclose(model.answers(frame.iloc[fold.score]), expected, atol=2e-3)  # the name is rounded


def test_repeating_rows_is_the_same_as_weighing_them():
    _, dataset = classes(num=2)
    fold = make_folds(dataset, 2, seed=0)[0]
    counts = np.where(np.arange(60) % 3 == 0, 2.0, 1.0)
    counts[fold.score] = 1.0
    weighted = Dataset(dataset.inputs, dataset.y, None, counts)
    twice = np.concatenate([fold.fit, fold.stop, *(rows[counts[rows] == 2] for rows in (fold.fit, fold.stop))])
    order = np.concatenate([twice, fold.score])
    places = np.arange(len(order))
    repeated = Fold(places[: len(twice)], places[:0], places[len(twice) :])
    one, other = (linear_candidates(data, [rows]) for data, rows in ((weighted, fold), (dataset.take(order), repeated)))
    assert [candidate.name for candidate in one] == [candidate.name for candidate in other]
    for mine, theirs in zip(one, other, strict=True):  # medians of gaps do not heed weights
        np.testing.assert_allclose(mine.outputs, theirs.outputs, atol=0.02)


def test_a_class_that_a_fold_does_not_train_on_is_impossible_there():
    frame, dataset = classes(num=3)
    rows = np.arange(dataset.num_rows)
    without = rows[(dataset.labels != 2) & (rows % 2 == 0)]
    alone = rows[(dataset.labels == 0) & (rows % 2 == 0)]
    folds = [Fold(np.setdiff1d(rows, rows[::5]), rows[:0], rows[::5])]
    folds += [Fold(part, rows[:0], rows[1::2]) for part in (without, alone)]
    for candidate in linear_candidates(dataset, folds):
        middle, last = (model.answers(frame) for model in candidate.models[1:])
        assert (middle[:, 2] == 0).all() and np.isfinite(candidate.outputs).all()
        assert (last == [1.0, 0.0, 0.0]).all()


def test_what_is_not_for_linear_models_has_no_candidates():
    _, dataset = classes()
    folds = make_folds(dataset, 2, seed=0)
    several = Target("y", "classification", (0, 1), np.zeros((60, 2), dtype=np.int64))
    assert linear_candidates(Dataset(dataset.inputs, several), folds) == []
    assert len(linear_candidates(dataset, folds, deadline=Deadline(0.0))) == 1, "an answer there is in any case"


def test_a_deadline_ends_a_path_with_the_strengths_that_all_folds_have(monkeypatch):
    _, dataset = numbers()
    folds = make_folds(dataset, 2, seed=0)
    whole = linear_candidates(dataset, folds)

    class Soon:
        """Passes when asked for the n-th time: each strength but the first asks for each fold."""

        def __init__(self, times):
            self.left = times

        def passed(self):
            self.left -= 1
            return self.left < 0

    assert len(linear_candidates(dataset, folds, deadline=Soon(1))) == 1, "not both folds have the second strength"
    found = linear_candidates(dataset, folds, deadline=Soon(2 + 1))
    assert len(found) == 2 and {candidate.name for candidate in found} != {candidate.name for candidate in whole[:2]}
    monkeypatch.setattr(module, "MOST_NUMBERS", 10)
    assert linear_candidates(dataset, folds) == []


def test_a_path_ends_where_the_loss_has_turned_or_is_flat():
    assert module.has_turned([2.0, 1.0, 1.1, 1.1, 1.1]) and not module.has_turned([2.0, 1.0, 1.1, 1.1])
    assert not module.has_turned([2.0, 1.0, 1.01, 1.01, 1.01])
    assert module.has_turned([2.0, 1.0, *[0.9999] * 5]) and not module.has_turned([2.0] * 10)


def test_answers_to_rows_that_cannot_be_read_are_refused_in_one_line():
    frame, dataset = numbers()
    model = linear_candidates(dataset, make_folds(dataset, 2, seed=0))[0].models[0]
    frame = frame.astype({"a": object})
    frame.loc[3, "a"] = "much"
    with pytest.raises(ValueError, match="row 3"):
        model.answers(frame)


def test_few_columns_are_those_that_sparse_models_look_at():
    """Of twenty columns, one text of three levels and one number matter."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(150, 19)), columns=[f"x{number}" for number in range(19)])
    frame["pet"] = random.choice(["cat", "dog", "hen"], 150)
    y = 2 * frame["x3"] + 2 * (frame["pet"] == "dog") + random.normal(size=150)
    dataset = as_dataset(frame.assign(y=np.where(y > 0.7, "yes", "no")), target="y")
    folds = make_folds(dataset, 3, seed=0)
    found = linear_candidates(dataset, folds)
    few = few_columns(found, dataset)
    sparse = [candidate for candidate in found if candidate.name.startswith("few inputs")]
    assert few and set(few) <= {candidate.name for candidate in sparse}, "a logistic regression looks at all"
    strongest = max(few, key=lambda name: float(name.split()[-1]))
    assert all({"x3", "pet"} <= columns for columns in few[strongest])
    for candidate in sparse:
        for columns, model in zip(few.get(candidate.name, ()), candidate.models, strict=False):
            rows = frame.iloc[:5]
            others = rows.assign(**{name: 0.0 for name in set(frame) - columns - {"pet"}})
            np.testing.assert_allclose(model.answers(others), model.answers(rows))
