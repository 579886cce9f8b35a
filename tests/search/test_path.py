"""Strengths from large to small: the lasso's own path, and zeros that a network cannot leave."""

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

import meden
from meden import InputError, Recipe
from meden.data import as_dataset, make_folds
from meden.models import MLP
from meden.search.path import strength_path


def linear(num_inputs, num_outputs):
    return MLP(num_inputs, num_outputs, depth=0)


@pytest.fixture(scope="module")
def made():
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 6)).astype(np.float32)
    y = (x @ np.array([3.0, -2.0, 1.0, 0.3, 0.0, 0.0]) + 0.5 * random.normal(size=80)).astype(np.float32)
    recipe = Recipe(optimizer="sgd", lr=0.3, batch_size="full", epochs=60)
    return as_dataset((x, y)), strength_path(linear, (x, y), "l1", num=5, folds=2, recipe=recipe)


def test_a_linear_path_is_that_of_scikit_learn_in_each_fold(made):
    data, points = made
    folds = make_folds(data, 2, seed=0, stop_fraction=0.0)
    x, y = data.inputs.x.double().numpy(), data.labels
    for point in points:
        for fold, run, loss in zip(folds, point.runs, point.losses, strict=True):
            lasso = Lasso(alpha=point.strength, tol=1e-8).fit(x[fold.fit], y[fold.fit])
            np.testing.assert_allclose(run.model[-1].weight.detach().numpy()[0], lasso.coef_, atol=2e-3)
            wrong = y[fold.score] - lasso.predict(x[fold.score])
            assert loss == pytest.approx((wrong**2).mean() / 2, rel=1e-2)
            left = y[fold.fit] - lasso.predict(x[fold.fit])
            best = left @ left / (2 * len(left)) + point.strength * np.abs(lasso.coef_).sum()
            assert objective(run) == pytest.approx(best, abs=1e-4)
        assert point.objective == pytest.approx(np.mean([objective(run) for run in point.runs]))
        assert point.loss == pytest.approx(point.losses.mean())
        assert point.loss_error == pytest.approx(point.losses.std(ddof=1) / np.sqrt(2))
    assert points[0].num_zeros >= 5 > points[-1].num_zeros  # the first strength is the largest, rounded to two digits


def objective(run):
    return run.history[-1].train["loss"] + sum(run.history[-1].penalties.values())


def test_where_the_objective_is_convex_the_start_does_not_matter(made):
    _, points = made
    strengths = [point.strength for point in points]
    assert strengths == sorted(strengths, reverse=True)
    assert points[0].started == ("cold", "cold") and max(point.gap for point in points) < 1e-3


def test_a_network_that_cannot_leave_zero_starts_afresh():
    recipe = Recipe(optimizer="sgd", lr=0.1, batch_size=32, epochs=10)
    points = strength_path(MLP, "iris", "l1", strengths=[1e-4, 10.0], folds=2, recipe=recipe)
    assert points[0].num_zeros > 4000 and points[1].num_zeros < 100
    assert points[1].started == ("cold", "cold") and points[1].gap > 0.1
    assert points[1].loss < points[0].loss


def test_a_warm_start_is_a_fit_from_the_weights_of_the_strength_before():
    """Three full-batch steps a strength, too few for a cold start: the path goes on from where it was."""
    recipe = Recipe(optimizer="sgd", lr=0.1, batch_size="full", epochs=3)
    data = as_dataset("diabetes")
    first, second = strength_path(linear, data, "l1", strengths=[1e-3, 1e-2], folds=2, recipe=recipe)
    assert second.started == ("warm", "warm")
    for fold, before, run in zip(make_folds(data, 2, seed=0, stop_fraction=0.0), first.runs, second.runs, strict=True):
        encoder = data.fit_encoder(fold.fit)
        pair = data.features(encoder, fold.fit), data.targets(encoder, fold.fit)
        model = copy.deepcopy(before.model)
        lasso = recipe.replace(regularizers=[meden.Regularizer(meden.penalties.L1(1e-3), coupling="proximal")])
        alone = meden.fit(model, pair, recipe=lasso, seed=run.seed)
        for name, tensor in alone.model.state_dict().items():
            torch.testing.assert_close(run.model.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_path_that_diverged_is_told():
    recipe = Recipe(optimizer="sgd", lr=1e20, batch_size="full", epochs=2)
    points = strength_path(linear, "diabetes", "l2", strengths=[0.1, 0.01], folds=2, recipe=recipe)
    assert {run.status for point in points for run in point.runs} == {"diverged"}
    assert all(np.isnan(point.losses).all() and np.isinf(point.objective) for point in points)


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("l3", {}, "name must be one of l1, l2"),
        ("l1", {"num": 1}, "num must be a whole number of at least 2"),
        ("l1", {"strengths": [-1.0]}, "strengths must be a finite number of at least 0, got -1"),
        ("l1", {"strengths": ["big"]}, "strengths must be a number of at least 0, got 'big'"),
        ("l1", {"strengths": []}, "strengths must be one number or more"),
        ("l1", {"recipe": "adam"}, "recipe must be a meden.Recipe or None, got 'adam'"),
        ("l1", {"recipe": Recipe(early_stopping=meden.EarlyStopping())}, "early_stopping must be None"),
        ("l1", {"folds": 1}, "folds must be a whole number of at least 2, got 1"),
        ("l1", {"stop_fraction": 0.2}, "stop_fraction must be 0 on a path"),
        ("l1", {"jobs": 0}, "jobs must be a whole number of at least 1, got 0"),
        ("l1", {"budget": 3}, "there is no argument 'budget'"),
    ],
)
def test_wrong_input_is_refused(name, options, told):
    with pytest.raises(InputError, match=told):
        strength_path(linear, "iris", name, **options)
