"""What a point of a space stands for, and what is refused before anything trains."""

import math

import pytest
import torch
from torch import nn

import meden
from meden import Choice, InputError, IntUniform, LogUniform, Recipe, Uniform
from meden.augment import Affine, CutMix, Elastic, Jitter, LabelSmoothing, Mixup, augmented
from meden.data import as_dataset, make_folds
from meden.models import MLP
from meden.noise import stream
from meden.penalties import L1, L2
from meden.space.dimensions import FromData, Maybe
from meden.space.from_data import l1_max, l2_max, resolve
from meden.space.names import configure, simplicity

PLAIN = Recipe(epochs=2)


def refused(space, *, make_model=MLP, recipe=PLAIN, data="iris", **options):
    with pytest.raises(InputError) as caught:
        meden.tune(make_model, data, space, recipe=recipe, folds=2, budget=2, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_point_becomes_a_recipe_and_arguments_of_the_model():
    start = Recipe(regularizers=[meden.Regularizer(L2(0.5), on="biases")])
    recipe, model_args = configure(
        start, {"weight_decay": 2, "l1": 0.1, "l2": 0.2, "lr": 0.3, "dropout": 0.4, "width": 5}
    )
    assert (recipe.lr, recipe.dropout, model_args) == (0.3, 0.4, {"width": 5})
    told = [(r.penalty, r.on, r.coupling) for r in recipe.regularizers]
    assert told[:3] == [(L2(0.5), "biases", "auto"), (L1(0.1), "weights", "proximal"), (L2(0.2), "weights", "proximal")]
    assert told[3:] == [(L2(2), "weights", "decoupled")]


@pytest.mark.parametrize("dimension", [LogUniform(1e-4, 1.0), Uniform(0.0, 2.0), IntUniform(1, 9), Choice(3, 1, 2)])
def test_grids_hold_both_ends_and_positions_are_even(dimension):
    grid = dimension.grid(3)
    places = [dimension.position(value) for value in grid]
    assert places == pytest.approx([0, 0.5, 1])
    assert {grid[0], grid[-1]} <= set(dimension.edges())


@pytest.mark.parametrize(
    "dimension", [LogUniform(1e-4, 1.0), Uniform(0.0, 2.0), IntUniform(1, 9), Choice(3, 1, 2), Maybe(Uniform(1, 2))]
)
def test_places_lead_to_values_in_order_and_equally_often(dimension):
    values = [dimension.at((i + 0.5) / 9000) for i in range(9000)]
    positions = [dimension.position(value) for value in values]
    assert positions == sorted(positions)
    assert dimension.at(0.0) == dimension.grid(2)[0] and dimension.at(1.0) == dimension.edges()[-1]
    if isinstance(dimension, IntUniform | Choice):
        counts = {value: values.count(value) for value in values}
        assert set(counts) == set(dimension.grid(9)) and len(set(counts.values())) == 1


def test_what_is_off_is_none_and_trained_at_strength_0():
    maybe = Maybe(LogUniform(1e-4, 1e-2))
    assert maybe.grid(3) == [None, 1e-4, 1e-2] and maybe.edges()[0] is None
    assert [maybe.at(place) is None for place in (0.0, 0.49, 0.5, 1.0)] == [True, True, False, False]
    recipe, model_args = configure(PLAIN, {"mixup": None, "l1": None, "l2": 0.1, "jitter": 0.5, "dropout": None})
    assert [r.penalty for r in recipe.regularizers] == [L1(0.0), L2(0.1)], "strength 0 changes nothing, and stacks"
    assert recipe.augment == (Jitter(0.5), Mixup(0.0)) and recipe.dropout is None and not model_args
    space = {"l1": maybe, "l2": LogUniform(1e-4, 1.0)}
    assert simplicity(space, {"l1": None, "l2": 0.1}) < simplicity(space, {"l1": 1e-3, "l2": 0.1})
    assert eval(repr(maybe), {"Maybe": Maybe, "LogUniform": LogUniform}) == maybe, "the ledger knows it by its repr"


def test_short_names_join_what_the_recipe_has():
    start = PLAIN.replace(augment=[LabelSmoothing(0.1)])
    recipe, _ = configure(start, {"mixup": 0.3, "swap_noise": 0.2})
    assert [type(part).__name__ for part in recipe.augment] == ["LabelSmoothing", "SwapNoise", "Mixup"]


def test_images_are_warped_by_strengths_before_they_are_mixed():
    recipe, _ = configure(PLAIN, {"cutmix": 0.5, "elastic": 0.3, "affine": 2.0})
    assert recipe.augment == (Affine(20.0, 0.2, 0.2), Elastic(0.3), CutMix(0.5))
    assert configure(PLAIN, {"affine": 1.0})[0].augment == (Affine(),), "1 is what it does by default"
    off, _ = configure(PLAIN, {"affine": None, "elastic": None})
    x, y = torch.rand(4, 1, 8, 8), torch.arange(4)
    warped, _ = augmented(off.augment, x, y, stream(0), torch.tensor(0))
    assert torch.allclose(warped, x, atol=1e-6)


def test_l1_from_data_is_where_the_last_weight_of_scikit_learn_goes():
    from sklearn.linear_model import Lasso, LogisticRegression

    iris = as_dataset("iris")
    encoder = iris.fit_encoder(range(150))
    x, labels = iris.features(encoder, range(150)).double(), iris.labels
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=x.dtype)
    edge = l1_max(x, y[:, None])
    norms = [abs(Lasso(alpha=edge * factor, tol=1e-12).fit(x, y).coef_).max() for factor in (0.99, 1.01)]
    assert norms[0] > 1e-4 and norms[1] == 0
    edge = l1_max(x, torch.nn.functional.one_hot(torch.from_numpy(labels)).double())
    made = [
        LogisticRegression(l1_ratio=1.0, C=1 / (150 * edge * factor), solver="saga", tol=1e-6, max_iter=5000)
        for factor in (0.98, 1.02)
    ]
    norms = [abs(model.fit(x, labels).coef_).max() for model in made]
    assert norms[0] > 1e-4 and norms[1] == 0


def test_l2_from_data_leaves_no_weight_a_tenth():
    from sklearn.linear_model import Ridge

    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)).double() * torch.tensor([1.0, 2.0, 5.0, 0.1])
    y = x @ torch.tensor([1.0, 1.0, 1.0, 9.0], dtype=x.dtype)
    shrunk, free = (Ridge(alpha=60 * strength).fit(x, y).coef_ for strength in (l2_max(x, y), 1e-9))
    axes = torch.linalg.svd(x - x.mean(0))[2].numpy()
    assert (abs(axes @ shrunk) < abs(axes @ free) / 10).all()


def test_ends_that_the_data_decide_come_from_the_fitting_rows():
    iris = as_dataset("iris")
    folds = make_folds(iris, 3, seed=0)
    spoiled = as_dataset("iris")
    for fold in folds[:1]:
        spoiled.y.labels[fold.score] = 0
    only = folds[:1]
    asked = {"l1": FromData(), "l2": Maybe(FromData(decades=2)), "lr": Uniform(0.1, 1)}
    found = resolve(asked, iris, only, MLP)
    assert found == resolve(asked, spoiled, only, MLP)
    assert found["l1"].high / found["l1"].low == pytest.approx(1e4, rel=0.1)
    assert found["l2"].inner.high / found["l2"].inner.low == pytest.approx(1e2, rel=0.1)
    assert found["lr"] == asked["lr"]
    whole = resolve(asked, iris, folds, MLP)["l1"]
    assert whole.high == max(resolve(asked, iris, [fold], MLP)["l1"].high for fold in folds)


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
        (lambda: Choice([1]), "at least one number, string"),
        (lambda: Maybe(Choice(1, 2)), "Maybe must hold LogUniform.*a Choice may have None"),
        (lambda: Maybe(0.5), "Maybe must hold LogUniform"),
        (lambda: FromData(decades=0), "FromData decades"),
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
        ({"batch_size": Uniform(8, 64)}, "batch_size must be an integer"),
        ({"epochs": LogUniform(10, 1000)}, "epochs"),
        ({"optimizer": Choice("adam", "adamm")}, "adamm"),
        ({"optimizer": Choice("sgd", "adam"), "momentum": Choice(0.0, 0.9)}, "momentum is for sgd"),
        ({"dropout_shape": Choice("linear", "funnel")}, "dropout_shape 'linear' needs a dropout, got None"),
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
