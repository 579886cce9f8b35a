"""Weights of rows and classes: targets bring them along, and losses, scores and choices heed them."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression, Ridge

import meden
from meden.augment.mixing import label_smoothing
from meden.data import Dataset, make_folds
from meden.data.tables import read_columns
from meden.data.targets import ClassCodec, NumberCodec, NumbersCodec, read_target
from meden.integrations.sklearn import MLPClassifierCV, MLPRegressorCV
from meden.objective import row_loss, row_score
from meden.penalties import L2
from meden.training.fit_many import fit_many
from tests.integrations.test_sklearn import RECIPE, SETTINGS

WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 3.0])


def test_losses_and_scores_of_classes_are_weighted_cross_entropy_and_accuracy():
    torch.manual_seed(0)
    logits, y = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    weighted = ClassCodec((0, 1, 2)).weigh(y, WEIGHTS)
    plain = F.cross_entropy(logits, y, reduction="none")
    assert torch.allclose(row_loss("classification", logits, weighted), WEIGHTS * plain)
    assert torch.equal(row_score("classification", logits, weighted), WEIGHTS * (logits.argmax(1) == y))
    smoothed = F.cross_entropy(logits, y, reduction="none", label_smoothing=0.1)
    told = row_loss("classification", logits, label_smoothing(weighted, epsilon=0.1))
    assert torch.allclose(told, WEIGHTS * smoothed)


def test_losses_of_several_labels_are_weighted():
    torch.manual_seed(0)
    logits, y = torch.randn(4, 2, 3), torch.tensor([[0, 1], [2, 2], [1, 0], [1, 1]])
    plain = F.cross_entropy(logits.mT, y, reduction="none").mean(1)
    told = row_loss("classification", logits, ClassCodec((0, 1, 2)).weigh(y, WEIGHTS))
    assert torch.allclose(told, WEIGHTS * plain)


@pytest.mark.parametrize("codec", [NumberCodec(0.0, 1.0), NumbersCodec((0.0, 1.0), (1.0, 2.0))])
def test_losses_of_numbers_are_weighted(codec):
    torch.manual_seed(0)
    outputs = torch.randn(4, 2 if isinstance(codec, NumbersCodec) else 1)
    y = torch.randn(4, 2) if isinstance(codec, NumbersCodec) else torch.randn(4)
    weighted = codec.weigh(y, WEIGHTS)
    plain = (outputs - y.reshape(4, -1)).square().sum(1)
    assert torch.allclose(row_loss("regression", outputs, weighted), WEIGHTS * plain / 2)
    assert torch.allclose(row_score("regression", outputs, weighted), WEIGHTS * plain)


def weighted_table(task):
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    rows = np.arange(200)
    frame = X.iloc[rows, :4]
    weights = np.random.default_rng(0).exponential(size=200)
    column = y.iloc[rows] if task == "classification" else X.iloc[rows, 5].rename("y")
    return frame, column, weights / weights.mean()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_linear_model_is_scikit_learns(task):
    """At the minimum the weighted objective is that of scikit-learn's, whose C is 1 / (strength * total weight)."""
    frame, y, weights = weighted_table(task)
    data = Dataset(read_columns(frame.reset_index(drop=True)), read_target(y, "y", task=task), None, weights)
    penalty = [meden.Regularizer(L2(0.01), coupling="gradient")]
    recipe = meden.Recipe(optimizer="sgd", lr=0.3, momentum=0.9, epochs=400, batch_size="full", regularizers=penalty)
    make = lambda num_inputs, num_outputs: torch.nn.Linear(num_inputs, num_outputs)  # noqa: E731
    run = fit_many(make, [meden.Member(recipe)], data)[0]
    x = data.features(run.encoder, np.arange(200)).double().numpy()
    told = run.predict(frame)
    if task == "regression":
        assert np.allclose(told.values, Ridge(0.01 * 200).fit(x, y, weights).predict(x), rtol=1e-3)
    else:
        # two logits under half the penalty each are one logit under a quarter of both
        peer = LogisticRegression(C=2 / (0.01 * 200), tol=1e-8).fit(x, y, weights)
        assert np.allclose(told.probabilities, peer.predict_proba(x), atol=2e-3)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_weighted_members_are_the_same_alone_and_together(task):
    frame, y, weights = weighted_table(task)
    data = Dataset(read_columns(frame.reset_index(drop=True)), read_target(y, "y", task=task), None, weights)
    augment = [meden.augment.LabelSmoothing(0.1)] if task == "classification" else []
    recipe = meden.Recipe(optimizer="adam", lr=0.01, epochs=3, batch_size=64, augment=augment)
    members = [meden.Member(recipe.replace(lr=lr), fold) for fold in make_folds(data, 2, seed=0) for lr in (0.01, 0.02)]
    make = lambda num_inputs, num_outputs: meden.models.MLP(num_inputs, num_outputs, width=8)  # noqa: E731
    alone, together = (fit_many(make, members, data, chunk=chunk) for chunk in (1, None))
    for one, other in zip(alone, together, strict=True):
        assert np.allclose(one.held_out.losses, other.held_out.losses, rtol=1e-4, atol=1e-6)
        assert np.isclose(one.history[-1].train["loss"], other.history[-1].train["loss"], rtol=1e-4)


@pytest.mark.usefixtures("one_by_one")
def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    X, y = load_iris(return_X_y=True)
    weights = np.ones(150)
    weights[::3] = 0
    kept = weights > 0
    weighted = MLPClassifierCV(**SETTINGS).fit(X, y, sample_weight=weights).predict_proba(X)
    assert np.allclose(weighted, MLPClassifierCV(**SETTINGS).fit(X[kept], y[kept]).predict_proba(X), atol=1e-5)


@pytest.mark.usefixtures("one_by_one")
def test_a_common_factor_of_the_weights_is_nothing():
    X, y = load_iris(return_X_y=True)
    plain = MLPRegressorCV(**SETTINGS).fit(X, y.astype(float)).predict(X)
    weighted = MLPRegressorCV(**SETTINGS).fit(X, y.astype(float), sample_weight=np.full(150, 7.0)).predict(X)
    assert np.allclose(plain, weighted, atol=1e-4)


@pytest.mark.usefixtures("one_by_one")
def test_class_weights_turn_the_balance():
    rng = np.random.default_rng(0)
    y = (rng.random(300) < 0.2).astype(int)
    X = pd.DataFrame({"x": rng.normal(0, 1, 300) + y})
    settings = SETTINGS | {"recipe": RECIPE.replace(epochs=8)}
    plain = MLPClassifierCV(**settings).fit(X, y).predict(X)
    balanced = MLPClassifierCV(**settings, class_weight="balanced").fit(X, y).predict(X)
    assert balanced[y == 1].mean() > plain[y == 1].mean() + 0.2
    by_hand = np.where(y == 1, (y == 0).sum() / (y == 1).sum(), 1.0)
    same = MLPClassifierCV(**settings).fit(X, y, sample_weight=by_hand)
    assert np.allclose(
        same.predict_proba(X),
        MLPClassifierCV(**settings, class_weight="balanced").fit(X, y).predict_proba(X),
        atol=1e-4,
    )


@pytest.mark.usefixtures("one_by_one")
def test_rows_of_no_weight_do_not_count_for_their_class():
    X, y = load_iris(return_X_y=True)
    weights = np.where((y == 0) & (np.arange(150) % 5 > 0), 0.0, 1.0)
    kept = weights > 0
    settings = SETTINGS | {"class_weight": "balanced"}
    weighted = MLPClassifierCV(**settings).fit(X, y, sample_weight=weights).predict_proba(X)
    assert np.allclose(weighted, MLPClassifierCV(**settings).fit(X[kept], y[kept]).predict_proba(X), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "weights", "said"),
    [
        ({}, np.r_[-0.5, np.ones(149)], "sample_weight must be 150 numbers of at least 0, got -0.5"),
        ({}, np.ones(149), r"sample_weight must be 150 numbers of at least 0, got shape \(149,\)"),
        ({}, np.zeros(150), "sample_weight must be above zero in some rows"),
        (
            {"class_weight": {0: -1.0, 1: 1.0, 2: 1.0}},
            None,
            r"class_weight must be numbers of at least 0.*got \{0: -1.0",
        ),
    ],
)
def test_weights_that_are_none_are_refused(settings, weights, said):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match=said):
        MLPClassifierCV(**SETTINGS, **settings).fit(X, y, sample_weight=weights)
