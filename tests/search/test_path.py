"""Strengths from large to small: the lasso's own path, and zeros that a network cannot leave."""

import numpy as np
import pytest
from sklearn.linear_model import Lasso

import meden
from meden import InputError, Recipe
from meden.data import as_dataset, holdout
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
    return as_dataset((x, y)), strength_path(linear, (x, y), "l1", num=5, recipe=recipe)


def test_a_linear_path_is_that_of_scikit_learn(made):
    data, steps = made
    rows, aside = holdout(data, 0.2, 0)
    x, y = data.inputs.x.double().numpy(), data.labels
    for step in steps:
        lasso = Lasso(alpha=step.strength, tol=1e-8).fit(x[rows], y[rows])
        weight = step.run.model[-1].weight.detach().numpy()[0]
        np.testing.assert_allclose(weight, lasso.coef_, atol=2e-3)
        wrong = y[aside] - lasso.predict(x[aside])
        assert step.loss == pytest.approx((wrong**2).mean() / 2, rel=1e-2)
    assert steps[0].num_zeros == 6 > steps[-1].num_zeros


def test_where_the_objective_is_convex_the_start_does_not_matter(made):
    _, steps = made
    assert [step.strength for step in steps] == sorted((s.strength for s in steps), reverse=True)
    assert steps[0].started == "cold" and max(step.gap for step in steps) < 1e-3


def test_a_network_that_cannot_leave_zero_starts_afresh():
    recipe = Recipe(optimizer="sgd", lr=0.1, batch_size=32, epochs=10)
    steps = strength_path(MLP, "iris", "l1", strengths=[1e-4, 10.0], recipe=recipe)
    assert steps[0].num_zeros > 4000 and steps[1].num_zeros < 100
    assert steps[1].started == "cold" and steps[1].gap > 0.1
    assert steps[1].loss < steps[0].loss


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("l3", {}, "name must be one of l1, l2"),
        ("l1", {"num": 1}, "num must be a whole number of at least 2"),
        ("l1", {"strengths": [-1.0]}, "L1 strength"),
        ("l1", {"recipe": Recipe(early_stopping=meden.EarlyStopping())}, "early_stopping must be None"),
        ("l1", {"fraction": 0.0}, "fraction must be"),
    ],
)
def test_wrong_input_is_refused(name, options, told):
    with pytest.raises(InputError, match=told):
        strength_path(linear, "iris", name, **options)
