"""One answer of networks, linear models and trees: what is mixed, how labels are named, what it is worth, how long."""

import copy
import pickle
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error

import meden
from meden import InputError
from meden.data import as_dataset
from meden.tabular import trees
from meden.tabular.answer import Question
from meden.tabular.network_search import MOST_TIMED, NetworkSearch
from meden.tabular.networks import Networks, out_of_fold

RECIPE = meden.Recipe(optimizer="adam", lr=0.05, epochs=8, batch_size=64, schedule="cosine")
SPACE = {"lr": meden.Choice(0.02, 0.05), "width": meden.Choice(8), "depth": meden.Choice(1)}
QUICK = NetworkSearch(space=SPACE, recipe=RECIPE, budget=2)


@pytest.fixture(scope="module", autouse=True)
def fewer_trees() -> Iterator[None]:
    """Few rows are told as well by a third of the trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "NUM_TREES", 100)
        patch.setattr(trees, "MOST", 150)
        patch.setattr(trees, "USUAL", 100)
        yield


def linear_numbers(n=120, columns=60):
    """More columns than the rows of a network could tell; three of them make the number."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(n, columns)), columns=[f"x{i}" for i in range(columns)])
    return frame, 2 * frame["x0"] - frame["x1"] + frame["x2"] + 0.3 * random.normal(size=n)


def rings(n=300, seed=0):
    """Two classes, a fifth of the rows in one, that no line divides."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(n, 2)), columns=["a", "b"])
    far = (frame**2).sum(axis=1) + 0.3 * random.normal(size=n)
    return frame, np.where(far > np.quantile(far, 0.8), "far", "near")


def asked(frame, target, **settings):
    return Question(
        dataset=as_dataset(frame.assign(target=target), target="target"), folds=3, **{"search": QUICK} | settings
    )


@pytest.fixture(scope="module")
def of_numbers():
    return asked(*linear_numbers()).answer()


@pytest.fixture(scope="module")
def of_classes():
    return asked(*rings(), metric="balanced_accuracy").answer()


def test_a_linear_model_answers_what_is_linear_and_trees_what_is_not(of_numbers, of_classes):
    assert sum(part.weight for part in of_numbers.mixture.parts if part.family == "linear") > 0.8
    assert sum(part.weight for part in of_classes.mixture.parts if part.family == "linear") < 0.2
    for found in (of_numbers, of_classes):
        weights = [part.weight for part in found.mixture.parts]
        assert weights == sorted(weights, reverse=True) and sum(weights) == pytest.approx(1.0)
        assert sum(found.mixture.weights) == pytest.approx(1.0)


def test_what_is_mixed_is_the_weighted_mean_of_the_folds_models(of_numbers):
    frame, _ = linear_numbers()
    each = [model.answers(frame) for model in of_numbers.mixture.models]
    by_hand = sum(w * one for w, one in zip(of_numbers.mixture.weights, each, strict=True))
    assert np.allclose(of_numbers.mixture.answers(frame), by_hand)


def test_the_networks_of_the_folds_said_what_is_mixed(of_classes):
    """Each model of a fold, asked again, says of the fold's scored rows what the weights were chosen by."""
    frame, target = rings()
    answer = asked(frame, target, families=("network",)).answer()
    (networks,) = answer.mixture.models
    assert isinstance(networks, Networks) and answer.study is not None
    folds, numbers = answer.study.folds, [int(part.name.split()[1]) for part in answer.mixture.parts]
    per_network = [networks.runs[place : place + 3] for place in range(0, len(networks.runs), 3)]
    by_number = dict(zip([t.number for t in answer.study.trials if t.number in numbers], per_network, strict=True))
    for trial in answer.study.trials:
        if trial.number in numbers:
            told = [
                Networks((run,), (1.0,)).answers(frame.iloc[fold.score])
                for run, fold in zip(by_number[trial.number], folds, strict=True)
            ]
            assert np.allclose(np.concatenate(told), out_of_fold(trial), atol=1e-5)
    assert answer.study.ends is None, "the models of the others went with their folder"


def test_the_score_is_of_new_rows(of_numbers, of_classes):
    frame, numbers = linear_numbers(2000)
    error = mean_squared_error(numbers, of_numbers.mixture.answers(frame)) ** 0.5
    assert of_numbers.score.metric == "rmse" and of_numbers.score.low < error < of_numbers.score.high
    frame, classes = rings(4000, seed=1)
    named = np.array(["far", "near"])[of_classes.mixture.decision.labels(of_classes.mixture.answers(frame))]
    recalls = [np.mean(named[classes == c] == c) for c in ("far", "near")]
    assert of_classes.score.metric == "balanced_accuracy"
    assert of_classes.score.low < np.mean(recalls) < of_classes.score.high


def test_a_metric_moves_labels_and_not_probabilities():
    frame, target = rings()
    new, truth = rings(2000, seed=1)
    metrics = ("accuracy", "balanced_accuracy")
    usual, alike = (asked(frame, target, metric=metric, families=("trees",)).answer().mixture for metric in metrics)
    said = [np.array(["far", "near"])[found.decision.labels(found.answers(new))] for found in (usual, alike)]
    found_far = [(told[truth == "far"] == "far").mean() for told in said]
    assert found_far[1] > found_far[0] + 0.02 and (said[1] == truth).mean() < (said[0] == truth).mean() + 0.01


def test_costs_move_labels():
    frame, target = rings()
    dear = asked(frame, target, costs=np.array([[0.0, 50.0], [1.0, 0.0]]), families=("trees",)).answer().mixture
    even = asked(frame, target, costs=np.array([[0.0, 1.0], [1.0, 0.0]]), families=("trees",)).answer().mixture
    far = [(m.decision.labels(m.answers(frame)) == 0).mean() for m in (dear, even)]
    assert far[0] > far[1] + 0.1 and np.array_equal(dear.answers(frame), even.answers(frame))


@pytest.mark.parametrize(("refit", "num"), [("folds", 3), ("all", 1), ("seeds", 5)])
def test_what_predicts_of_a_network(refit, num):
    frame, target = rings()
    answer = asked(frame, target, families=("network",), refit=refit).answer()
    assert len(answer.mixture.models[0].runs) == num * len(answer.mixture.parts)
    assert accuracy_score(target, np.array(["far", "near"])[answer.mixture.answers(frame).argmax(1)]) >= 0.75


def test_answers_are_the_same_again_and_come_back_from_a_pickle(of_classes):
    frame, target = rings()
    again = asked(frame, target, metric="balanced_accuracy").answer()
    told = of_classes.mixture.answers(frame)
    assert np.array_equal(told, again.mixture.answers(frame)) and again.score == of_classes.score
    for copied in (pickle.loads(pickle.dumps(of_classes.mixture)), copy.deepcopy(of_classes.mixture)):
        assert np.array_equal(copied.answers(frame), told)


def test_probabilities_are_calibrated():
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 3))
    y = np.where(random.random(600) < 1 / (1 + np.exp(-2 * x[:, 0])), "yes", "no")
    found = asked(pd.DataFrame(x, columns=list("abc")), y).answer().mixture
    new = random.normal(size=(4000, 3))
    chance = 1 / (1 + np.exp(-2 * new[:, 0]))
    told = found.answers(pd.DataFrame(new, columns=list("abc")))[:, 1]
    truth = random.random(4000) < chance
    assert log_loss(truth, told) < log_loss(truth, chance) + 0.02


def test_a_time_limit_is_answered_by_as_many_networks_as_there_is_time_for():
    frame, target = rings()
    search = NetworkSearch(space=SPACE, recipe=RECIPE)
    answer = asked(frame, target, time_limit=8.0, search=search).answer()
    assert answer.mixture.answers(frame).shape == (300, 2) and answer.score.low < answer.score.high
    assert answer.study is None or 1 <= len(answer.study.trials) < MOST_TIMED


def test_of_more_rows_than_there_is_time_for_a_part_is_used(monkeypatch):
    monkeypatch.setattr("meden.tabular.answer.ROWS_A_SECOND", 50)
    frame, target = rings(1000)
    with pytest.warns(UserWarning, match="time_limit is too short for all 1,000 rows, 8 s: only 400 are used"):
        answer = asked(frame, target, time_limit=8.0, families=("linear", "trees")).answer()
    assert answer.mixture.answers(frame).shape == (1000, 2)


def test_of_a_time_limit_that_no_network_keeps_others_answer(monkeypatch):
    frame, target = rings()
    from meden.search.budget import TimeTooShort

    def too_short(*_, **__):
        raise TimeTooShort("time_limit must be at least about 9 s")

    monkeypatch.setattr("meden.search.tune", too_short)
    answer = asked(frame, target, time_limit=5.0).answer()
    assert answer.study is None and answer.mixture.answers(frame).shape == (300, 2)
    with pytest.raises(InputError, match="time_limit must be at least about 9 s"):
        asked(frame, target, time_limit=5.0, families=("network",)).answer()


@pytest.mark.parametrize("family", ["network", "linear", "trees"])
def test_a_family_alone(family):
    frame, target = rings()
    answer = asked(frame, target, families=(family,)).answer()
    assert {part.family for part in answer.mixture.parts} == {family}
    assert (answer.study is None) == (family != "network")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"families": ()}, "families must name at least one of network, linear, trees, got none"),
        ({"families": ("forest",)}, "families must be one of network, linear, trees, got 'forest'"),
        ({"metric": "r2"}, "metric must be one of loss, accuracy, .* for classification, got 'r2'"),
        ({"refit": "fold"}, "refit must be one of folds, all, seeds, got 'fold'"),
        ({"time_limit": 0.0}, "time_limit must be a finite number above 0, got 0"),
    ],
)
def test_bad_input_costs_no_compute(settings, message, monkeypatch):
    for name in ("linear_candidates", "tree_candidates"):
        monkeypatch.setattr(f"meden.tabular.answer.{name}", None)
    with pytest.raises(InputError, match=message):
        asked(*rings(), **settings).answer()
