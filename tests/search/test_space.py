"""What a point of a space stands for, and what is refused before anything trains."""

import math

import pytest
from torch import nn

import meden
from meden import Choice, InputError, IntUniform, LogUniform, Recipe, Uniform
from meden.models import MLP
from meden.penalties import L1, L2
from meden.search.space import configure, simplicity

PLAIN = Recipe(epochs=2)


def refused(space, *, make_model=MLP, recipe=PLAIN, data="iris", **options):
    with pytest.raises(InputError) as caught:
        meden.tune(make_model, data, space, recipe=recipe, folds=2, budget=2, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_point_becomes_a_recipe_and_arguments_of_the_model():
    start = Recipe(regularizers=[meden.Regularizer(L2(0.5), on="biases")])
    recipe, model_args = configure(start, {"l1": 0.1, "l2": 0.2, "lr": 0.3, "dropout": 0.4, "width": 5})
    assert (recipe.lr, recipe.dropout, model_args) == (0.3, 0.4, {"width": 5})
    told = [(r.penalty, r.on, r.coupling) for r in recipe.regularizers]
    assert told == [(L2(0.5), "biases", "auto"), (L1(0.1), "weights", "proximal"), (L2(0.2), "weights", "proximal")]


@pytest.mark.parametrize("dimension", [LogUniform(1e-4, 1.0), Uniform(0.0, 2.0), IntUniform(1, 9), Choice(3, 1, 2)])
def test_grids_hold_both_ends_and_positions_are_even(dimension):
    grid = dimension.grid(3)
    places = [dimension.position(value) for value in grid]
    assert places == pytest.approx([0, 0.5, 1])
    assert {grid[0], grid[-1]} <= set(dimension.edges())


def test_simpler_is_more_shrinkage_more_dropout_and_less_width():
    space = {"l2": LogUniform(1e-4, 1.0), "dropout": Uniform(0, 0.5), "width": IntUniform(10, 110), "lr": Uniform(0, 1)}
    assert simplicity(space, {"l2": 1e-2, "dropout": 0.25, "width": 60, "lr": 0.9}) == pytest.approx(0.5)
    params = {"l2": 1e-2, "dropout": 0.25, "width": 60, "lr": 0.9}
    for change in ({"l2": 0.1}, {"dropout": 0.3}, {"width": 20}):
        assert simplicity(space, params | change) > simplicity(space, params)
    assert simplicity(space, params | {"lr": 0.1}) == simplicity(space, params)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: LogUniform(0, 1), "LogUniform low"),
        (lambda: LogUniform(1, 1), "LogUniform high"),
        (lambda: Uniform(1, 0), "Uniform high"),
        (lambda: Uniform(0, math.inf), "Uniform high"),
        (lambda: IntUniform(1.5, 3), "IntUniform low"),
        (lambda: Choice(), "at least one"),
        (lambda: Choice([1]), "numbers, strings"),
    ],
)
def test_wrong_dimensions_are_refused(make, told):
    with pytest.raises(InputError, match=told):
        make()


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({}, "at least one thing"),
        ({"dropuot": Uniform(0, 0.5)}, "did you mean 'dropout'"),
        ({"widht": Choice(1, 2)}, "did you mean 'width'"),
        ({"l2": (0, 1)}, "LogUniform, Uniform"),
        ({"dropout": Uniform(0, 1.0)}, "dropout should be less than 1, got 1.0"),
        ({"dropout": Choice(0.1, 1.5)}, "got 1.5"),
        ({"l2": Uniform(-1, 1)}, "got -1"),
        ({"l1": Choice(1e-3, float("nan"))}, "got nan"),
        ({"batch_size": Choice(0, 16)}, "batch_size"),
        ({"batch_size": Uniform(8, 64)}, "batch_size must be a whole number"),
        ({"epochs": LogUniform(10, 1000)}, "epochs"),
        ({"optimizer": Choice("adam", "adamm")}, "adamm"),
        ({"optimizer": Choice("sgd", "adam"), "momentum": Choice(0.0, 0.9)}, "momentum is for sgd"),
        ({"schedule": Choice("cosine", "plateau")}, "plateau"),
        ({"width": IntUniform(0, 8)}, "width must be a whole number of at least 1, got 0"),
        ({"activation": Choice("relu", "rleu")}, "did you mean 'relu'"),
    ],
)
def test_what_a_space_could_reach_is_refused_at_the_door(space, told):
    assert told in refused(space)


def failing(size):
    raise RuntimeError("no\nmemory")


def text(size):
    return "a model"


def too_few_outputs(num_inputs, size):
    return nn.Linear(num_inputs, size)


def wrong_inputs(size):
    return nn.Linear(7, size)


@pytest.mark.parametrize(
    ("make_model", "told"),
    [
        (failing, "make_model(size=2) must return a model, but failed: RuntimeError: no memory"),
        (text, "must return a torch.nn.Module, got str"),
        (too_few_outputs, "classes 0 to 1, got 0 to 2"),
        (wrong_inputs, "takes inputs of shape (2, 4), but failed: RuntimeError: mat1"),
    ],
)
def test_models_that_cannot_be_made_or_do_not_fit_are_refused(make_model, told):
    assert told in refused({"size": Choice(2)}, make_model=make_model)


def test_early_stopping_needs_a_stop_split():
    recipe = Recipe(early_stopping=meden.EarlyStopping())
    assert "stop_fraction must be above 0" in refused({"l2": Uniform(0, 1)}, recipe=recipe, stop_fraction=0.0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"strategy": "tpee"}, "did you mean 'tpe'"),
        ({"seeds": 0}, "seeds must be a whole number"),
        ({"stop_fraction": 0.9}, "stop_fraction"),
        ({"seed": -1}, "seed"),
        ({"order": "petal"}, "order must be a column"),
        ({"target": "specie"}, "did you mean 'species'"),
    ],
)
def test_wrong_options_are_refused(options, told):
    assert told in refused({"l2": Uniform(0, 1)}, **options)


def test_the_recipe_must_be_one():
    assert "recipe must be a meden.Recipe" in refused({"l2": Uniform(0, 1)}, recipe={"lr": 0.1})


def test_regularizers_that_select_nothing_are_refused():
    recipe = PLAIN.replace(regularizers=[meden.Regularizer(L1(0.1), on="encoder.*")])
    assert "encoder" in refused({"lr": Uniform(0.1, 1)}, recipe=recipe)
