"""What a model is worth on new rows, against scikit-learn and a bootstrap that computes everything again."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

import meden
from meden import InputError, Recipe, evaluate
from meden.data.files import bundled_table
from meden.models import MLP
from meden.run import Ensemble
from tests.study.test_metrics import OF_SKLEARN

RECIPE = Recipe(epochs=8, batch_size=32, lr=1e-2)


def trained(data, **changes):
    return meden.fit_many(MLP, [meden.Member(RECIPE.replace(**changes))], meden.as_dataset(data))[0]


def halves(name):
    frame, target = bundled_table(name)
    frame = frame.sample(frac=1, random_state=0, ignore_index=True)
    return frame[: len(frame) // 2], frame[len(frame) // 2 :].reset_index(drop=True), target


@pytest.fixture(scope="module", params=["iris", "breast_cancer"])
def classified(request):
    fit, new, target = halves(request.param)
    data = meden.as_dataset(fit, target=target)
    run = meden.fit_many(MLP, [meden.Member(RECIPE)], data)[0]
    return run, new, target, list(data.classes)


@pytest.fixture(scope="module")
def regressed():
    fit, new, target = halves("diabetes")
    return meden.fit_many(MLP, [meden.Member(RECIPE)], meden.as_dataset(fit, target=target))[0], new, target


def test_scores_of_classes_are_those_of_scikit_learn(classified):
    run, new, target, classes = classified
    found, told = evaluate(run, new), run.predict(new)
    y = np.array([classes.index(label) for label in new[target]])
    assert found.scores["loss"].value == pytest.approx(sk.log_loss(y, told.probabilities), rel=1e-6)
    names = ("accuracy", "balanced_accuracy", "roc_auc", "average_precision", "f1")
    assert tuple(found.scores) == ("loss", *names)
    for name in names:
        assert found.scores[name].value == pytest.approx(OF_SKLEARN[name](y, told.probabilities, None), rel=1e-12)
    expected = sk.confusion_matrix(new[target], told.values, labels=classes)
    assert (found.confusion == expected).all() and found.classes == tuple(classes)
    assert (found.target, found.num_rows, found.num_left_out, found.residuals) == (target, len(new), 0, None)


def test_scores_of_numbers_are_those_of_scikit_learn(regressed):
    run, new, target = regressed
    found, told = evaluate(run, new), run.predict(new).values
    y = new[target].to_numpy()
    for name in ("mse", "rmse", "mae"):
        assert found.scores[name].value == pytest.approx(OF_SKLEARN[name](y, told[:, None], None), rel=1e-12)
    assert found.scores["r2"].value == pytest.approx(sk.r2_score(y, told), rel=1e-12)
    assert found.scores["loss"].value == pytest.approx(found.scores["mse"].value / run.encoder.target.std**2 / 2)
    assert found.residuals.bias.value == pytest.approx((told - y).mean())
    assert found.residuals.quantiles[0.5] == pytest.approx(np.median(told - y))
    assert found.confusion is None and found.calibration is None


def test_calibration_is_by_hand(classified):
    run, new, target, classes = classified
    found, p = evaluate(run, new).calibration, run.predict(new).probabilities
    y = np.array([classes.index(label) for label in new[target]])
    sure, so = (p[:, 1], y == 1) if len(classes) == 2 else (p.max(1), p.argmax(1) == y)
    error, num = 0.0, 0
    for one in found.bins:
        own = (sure >= one.low) & ((sure < one.high) | (one.high == 1))
        assert (one.num_rows, one.said, one.right) == (own.sum(), pytest.approx(sure[own].mean()), so[own].mean())
        error, num = error + own.mean() * abs(sure[own].mean() - so[own].mean()), num + own.sum()
    assert num == len(y) and found.error == pytest.approx(error)


def again(y, p, metric, units, num_draws=600):
    """Quantiles of a metric computed anew on the rows of each draw."""
    random, num = np.random.default_rng(1), units.max() + 1
    rows = [np.flatnonzero(units == unit) for unit in range(num)]
    values = []
    for _ in range(num_draws):
        drawn = np.concatenate([rows[unit] for unit in random.integers(num, size=num)])
        values.append(OF_SKLEARN[metric](y[drawn], p[drawn], None))
    return np.quantile(values, [0.05, 0.95])


@pytest.mark.parametrize("size", [1, 5], ids=["rows", "groups"])
def test_intervals_are_those_of_computing_each_draw_anew(regressed, size):
    run, new, target = regressed
    units = np.arange(len(new)) // size
    found, p = evaluate(run, new, groups=units).scores, run.predict(new).values[:, None]
    for metric in ("rmse", "mae", "mse"):
        low, high = again(new[target].to_numpy(), p, metric, units)
        assert (found[metric].low, found[metric].high) == pytest.approx((low, high), abs=0.12 * (high - low))
    alone = evaluate(run, new, confidence=0.5).scores["rmse"]
    assert found["rmse"].low < alone.low < alone.value < alone.high < found["rmse"].high


def test_intervals_of_classes_are_those_of_computing_each_draw_anew():
    random = np.random.default_rng(0)
    x = random.normal(size=(900, 2)).astype(np.float32)
    y = (x[:, 0] + random.normal(size=900) > 0.8).astype(np.int64)
    run = trained((x[:300], y[:300]))
    found, p = evaluate(run, (x[300:], y[300:])).scores, run.predict(x[300:]).probabilities
    for metric in ("accuracy", "balanced_accuracy", "roc_auc", "average_precision", "f1"):
        low, high = again(y[300:], p, metric, np.arange(600))
        assert (found[metric].low, found[metric].high) == pytest.approx((low, high), abs=0.12 * (high - low))


def test_groups_that_repeat_their_rows_say_no_more_than_their_number(regressed):
    run, new, _ = regressed
    once = evaluate(run, new).scores["rmse"]
    often = pd.concat([new] * 9, ignore_index=True).assign(who=[f"{k:04}" for k in range(len(new))] * 9)
    found = evaluate(run, often, groups="who")
    assert found.num_groups == len(new) and vars(found.scores["rmse"]) == pytest.approx(vars(once))
    alone = evaluate(run, often).scores["rmse"]
    assert 2 < (once.high - once.low) / (alone.high - alone.low) < 4


def test_an_ensemble_is_evaluated_by_its_mean(classified):
    run, new, target, classes = classified
    other = meden.fit_many(MLP, [meden.Member(RECIPE, seed=1)], meden.as_dataset(new, target=target))[0]
    both = Ensemble(runs=(run, other))
    found, p = evaluate(both, new), both.predict(new).probabilities
    y = np.array([classes.index(label) for label in new[target]])
    assert found.scores["roc_auc"].value == pytest.approx(OF_SKLEARN["roc_auc"](y, p, None), rel=1e-12)
    assert found.scores["accuracy"].value == (p.argmax(1) == y).mean()


def test_what_cannot_be_told_is_no_number_and_has_no_interval(classified):
    run, new, target, classes = classified
    found = evaluate(run, new[new[target] == classes[0]].reset_index(drop=True)).scores
    assert np.isnan([found["roc_auc"].value, found["roc_auc"].low]).all() and found["accuracy"].value > 0
    alone = evaluate(run, new[:1]).scores["accuracy"]
    assert alone.value in (0.0, 1.0) and np.isnan([alone.low, alone.high]).all()


def test_rows_without_an_answer_are_left_out_when_asked(regressed):
    run, new, _ = regressed
    broken = new.astype({"bmi": object})
    broken.loc[3, "bmi"] = "?!"
    with pytest.raises(InputError, match=r"column 'bmi' .* \(row 3\)"):
        evaluate(run, broken)
    with pytest.warns(UserWarning, match="left empty"):
        found = evaluate(run, broken, on_missing="empty", groups=np.arange(len(new)))
    assert (found.num_rows, found.num_left_out, found.num_groups) == (len(new) - 1, 1, len(new) - 1)
    assert found.scores["mae"].value == pytest.approx(evaluate(run, new.drop(index=3)).scores["mae"].value, rel=1e-6)


def test_several_numbers_have_the_metrics_of_several():
    random = np.random.default_rng(0)
    x, y = random.random((40, 3), dtype=np.float32), random.random((40, 2))
    run = trained((x, y))
    found = evaluate(run, (x, y))
    assert tuple(found.scores) == ("loss", "mse") and found.residuals is None
    assert found.scores["mse"].value == pytest.approx(((run.predict(x).values - y) ** 2).sum(1).mean())


def test_plain_values_say_all(classified):
    run, new, _, _ = classified
    found = evaluate(run, new)
    told = found.to_dict()
    assert told["scores"]["f1"] == vars(found.scores["f1"]) and told["confusion"] == found.confusion.tolist()
    assert found.frame().loc["accuracy", "value"] == found.scores["accuracy"].value


BAD = [
    ({"data": lambda new, target: new.drop(columns=target)}, "target must be a column of the table .* got '{target}'"),
    ({"data": lambda new, _: new[:0]}, "data must have rows, got none"),
    ({"data": lambda new, _: new.drop(columns=new.columns[0])}, "lacks '{first}'"),
    ({"data": lambda *_: 3}, "data must be a table, or a pair"),
    ({"data": lambda new, target: (new, new[target][:5])}, "one target per row, got 5 targets and"),
    ({"groups": "nobody"}, "groups must be a column of the table .* got 'nobody'"),
    ({"groups": [1, 2]}, "groups must have one label per row"),
    ({"confidence": 1.0}, "confidence must be"),
    ({"on_missing": "guess"}, "on_missing must be one of error, empty"),
]


@pytest.mark.parametrize(("changes", "told"), BAD)
def test_what_cannot_be_evaluated_gets_one_line(classified, changes, told):
    run, new, target, _ = classified
    changes = dict(changes)
    data = changes.pop("data", lambda new, _: new)(new, target)
    with pytest.raises(
        InputError, match=told.format(target=re.escape(target), first=re.escape(new.columns[0]))
    ) as caught:
        evaluate(run, data, **changes)
    assert "\n" not in str(caught.value)
