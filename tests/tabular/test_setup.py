"""What a search on a table is run with: the network's own space, scaling and recipe, fitted to the time there is."""

import numpy as np
import pandas as pd
import pytest
import torch

import meden
from meden import InputError, Recipe
from meden.data import as_dataset
from meden.models import MLP, Linear, TabularNet
from meden.models.named import model_name
from meden.tabular.defaults import DEFAULTS
from meden.tabular.network import NETWORKS
from meden.tabular.setup import set_up

SPACE = {"lr": meden.Choice(0.01)}


@pytest.mark.parametrize(("model", "made"), [("tabular", TabularNet), ("mlp", MLP), ("linear", Linear)])
def test_each_network_has_its_own_defaults_and_a_name_for_files(model, made):
    setup = set_up(as_dataset("wine"), model=model)
    network = setup.make_model(num_inputs=13, num_outputs=3)
    assert type(network) is made and model_name(setup.make_model) == made.__name__
    assert setup.data.inputs.robust == (model == "tabular")
    assert setup.space == DEFAULTS[model].space and setup.recipe.epochs == DEFAULTS[model].recipe.epochs
    assert bool(setup.recipe.augment) == (model == "tabular"), "labels are smoothed"
    assert not set_up(as_dataset("diabetes"), model=model).recipe.augment
    assert set(DEFAULTS) == set(NETWORKS)


def test_a_linear_network_has_one_layer():
    assert [type(module).__name__ for module in Linear(4, 3)] == ["Flatten", "Linear"]
    assert torch.allclose(Linear(4, 3)(torch.zeros(2, 2, 2)).diff(dim=0), torch.zeros(1, 3))


@pytest.mark.parametrize(("num_columns", "num_numbers"), [(100, 100), (101, 0)])
def test_wide_tables_are_not_embedded(num_columns, num_numbers):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, num_columns)))
    table = as_dataset(frame.assign(y=[0, 1] * 10), target="y")
    assert set_up(table).make_model.keywords["num_numbers"] == num_numbers


def test_the_usual_configuration_belongs_to_the_default_space():
    assert set_up(as_dataset("wine")).first == DEFAULTS["tabular"].first
    assert set_up(as_dataset("wine"), space=SPACE).first == ()


@pytest.mark.parametrize(
    ("limit", "recipe", "epochs", "left"),
    [
        (None, None, 128, None),
        (1e4, None, 256, 1e4 - 1.5 * 256 * 0.15),
        (43.0, None, 66, 43 - 1.5 * 66 * 0.15),
        (43.0, Recipe(epochs=10, batch_size=256), 10, 43 - 1.5 * 10 * 0.15),
        (43.0, Recipe(epochs=1000, batch_size=256), 1000, 43 - 1.5 * 10),
    ],
)
def test_a_time_limit_is_spent_on_epochs_first_and_leaves_time_for_the_final_models(
    limit, recipe, epochs, left, monkeypatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr("meden.tabular.time_plan._step_seconds", lambda *_: 0.03)  # five folds, one step each: 0.15 s
    setup = set_up(as_dataset("iris"), recipe=recipe, folds=5, time_limit=limit)
    assert setup.recipe.epochs == epochs
    assert setup.time_limit == (None if left is None else pytest.approx(left, abs=1.0))


def test_planning_leaves_the_callers_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    set_up(as_dataset("iris"), model="tabular", time_limit=60.0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "tabulr"}, "model must be one of tabular, mlp, linear, got 'tabulr'; did you mean 'tabular'"),
        ({"time_limit": 1e-6}, r"time_limit must be at least about .* s for 150 rows and 5 folds, got 1e-06 s"),
        ({"time_limit": 0}, "time_limit must be a finite number above 0, got 0"),
        ({"time_limit": 9.0, "folds": 1}, "folds must be a whole number of at least 2, got 1"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        set_up(as_dataset("iris"), **options)


@pytest.mark.filterwarnings("ignore:dropout=.* changes nothing")
@pytest.mark.parametrize("name", ["tabular", "mlp"])
@pytest.mark.parametrize(
    "space",
    [
        {"depth": meden.Choice(0), "l2": meden.Choice(1e-3)},
        {"depth": meden.Choice(0, 2), "dropout": meden.Choice(0.1)},
    ],
)
def test_a_table_with_one_number_to_predict_takes_any_depth(name, space):
    setup = set_up(as_dataset("diabetes"), model=name, space=space, recipe=Recipe(epochs=2))
    study = meden.tune(**setup.arguments(), folds=2, budget=2, strategy="grid")
    assert study.status == "ok" and {trial.params["depth"] for trial in study.trials} == set(space["depth"].edges())


def test_dropout_that_changes_nothing_is_said():
    with pytest.warns(UserWarning, match="dropout=0.3 changes nothing in a Linear"):
        meden.fit_many(Linear, [meden.Member(Recipe(epochs=1, dropout=0.3))], "wine")
