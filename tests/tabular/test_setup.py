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
from meden.tabular.setup import FINAL_COST, REPORT_SHARE, set_up

SPACE = {"lr": meden.Choice(0.01)}


@pytest.mark.parametrize(("model", "made"), [("tabular", TabularNet), ("mlp", MLP), ("linear", Linear)])
def test_each_network_has_its_own_defaults_and_a_name_for_files(model, made):
    setup = set_up(as_dataset("wine"), model=model)
    network = setup.make_model(num_inputs=13, num_outputs=3)
    assert type(network) is made and model_name(setup.make_model) == made.__name__
    assert setup.data.inputs.robust == (model == "tabular")
    assert setup.space == DEFAULTS[model].space and setup.recipe.epochs == DEFAULTS[model].recipe.epochs
    assert ("label_smoothing" in setup.space) == (model == "tabular")
    assert "label_smoothing" not in set_up(as_dataset("diabetes"), model=model).space
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


def test_a_time_limit_makes_room_for_a_longer_schedule_and_leaves_time_for_what_follows(monkeypatch):
    for module in ("meden.tabular.setup", "meden.deadline"):
        monkeypatch.setattr(f"{module}.now", lambda: 1010.0)
    iris = as_dataset("iris")
    setup = set_up(iris, time_limit=100.0, since=1000.0)
    assert setup.recipe.epochs == DEFAULTS["tabular"].most_epochs and setup.time_limit == 100.0
    assert setup.until.deadline.at == 1100.0 - 10.0 * REPORT_SHARE
    assert setup.until.after == FINAL_COST["all"]
    assert set_up(iris, refit="folds", time_limit=100.0).until.after == FINAL_COST["folds"]
    assert set_up(iris, recipe=Recipe(epochs=7), time_limit=100.0).recipe.epochs == 7
    with pytest.raises(InputError, match="time_limit must be at least about 30 s, since reading the data took 10 s"):
        set_up(iris, time_limit=11.0, since=1000.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "tabulr"}, "model must be one of tabular, mlp, linear, got 'tabulr'; did you mean 'tabular'"),
        ({"time_limit": 0}, "time_limit must be a finite number above 0, got 0"),
        ({"time_limit": -3}, "time_limit must be a finite number above 0, got -3"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        set_up(as_dataset("iris"), **options)


@pytest.mark.filterwarnings("ignore:dropout=.* has no effect")
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
    with pytest.warns(UserWarning, match="dropout=0.3 has no effect on a Linear"):
        meden.fit_many(Linear, [meden.Member(Recipe(epochs=1, dropout=0.3))], "wine")
