"""Learning rates of some tensors' own: what counts for which, against loops written by hand, in files, after a kill."""

import copy

import pytest
import torch
from torch import nn

import meden
from meden import InputError, Recipe, Regularizer
from meden.checkpoint import model_tensors
from meden.data import batches
from meden.models import MLP, CausalTransformer
from meden.optim import Sharpness
from meden.penalties import L1, L2, GroupLasso
from meden.recipe import layerwise_factors, selectors_of
from tests.training.many.witness import alone, assert_same_run, blobs, crossed, folds_of

FACTORS = {"biases": 3.0, "0.*": 0.25}
RECIPE = Recipe(lr=0.02, epochs=4, batch_size=16, lr_factors=FACTORS)


def rows():
    x, y = blobs()
    return torch.from_numpy(x).double(), torch.as_tensor(y)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def by_hand(model, optimizer, recipe, *, rate=lambda _: 1.0, seed=7):
    x, y = rows()
    start = [group["lr"] for group in optimizer.param_groups]
    step = 0
    for epoch in range(recipe.epochs):
        for chosen in batches(len(y), recipe.batch_size, seed=seed, epoch=epoch):
            for group, lr in zip(optimizer.param_groups, start, strict=True):
                group["lr"] = lr * rate(step)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
            optimizer.step()
            step += 1
    return model


def groups_of(model, lr):
    """Return parameter groups, each with its rate, as somebody would write them down for `FACTORS`."""
    first, _, last = model
    return [
        {"params": [first.bias, last.bias], "lr": 3.0 * lr},
        {"params": [first.weight], "lr": 0.25 * lr},
        {"params": [last.weight], "lr": lr},
    ]


def assert_equal_models(model, other, *, rtol=1e-10):
    for name, tensor in model_tensors(model).items():
        torch.testing.assert_close(tensor, model_tensors(other)[name], rtol=rtol, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "make"),
    [
        ({"optimizer": "sgd", "momentum": 0.9}, lambda groups: torch.optim.SGD(groups, momentum=0.9)),
        (
            {"optimizer": "adamw", "regularizers": [Regularizer(L2(0.1), on="all", coupling="decoupled")]},
            lambda groups: torch.optim.AdamW(groups, weight_decay=0.1),
        ),
        ({"optimizer": "rmsprop"}, lambda groups: torch.optim.RMSprop(groups)),
    ],
    ids=["sgd", "adamw with decay", "rmsprop"],
)
def test_equals_torch_with_groups_of_their_own_rates(fields, make):
    recipe = RECIPE.replace(**fields, schedule="cosine")
    run = meden.fit(net(), rows(), recipe=recipe, seed=7)
    shape = meden.optim.schedules.factors(recipe.schedule, epochs=4, steps_per_epoch=4)
    model = net()
    theirs = by_hand(model, make(groups_of(model, recipe.lr)), recipe, rate=lambda step: float(shape[step]))
    assert_equal_models(run.model, theirs)
    assert run.history[-1].lr == pytest.approx(recipe.lr * shape[-1])


def test_a_proximal_penalty_acts_at_each_tensors_own_rate():
    penalties = [Regularizer(L1(0.05), on="weights", coupling="proximal")]
    recipe = RECIPE.replace(optimizer="sgd", lr=0.2, regularizers=penalties)
    run = meden.fit(net(), rows(), recipe=recipe, seed=7)
    model = net()

    class Shrinking(torch.optim.SGD):
        def step(self):
            super().step()
            with torch.no_grad():
                for group in self.param_groups:
                    for w in (p for p in group["params"] if p.ndim == 2):
                        w.copy_(w.sign() * (w.abs() - group["lr"] * 0.05).clamp(min=0))

    theirs = by_hand(model, Shrinking(groups_of(model, recipe.lr)), recipe)
    assert_equal_models(run.model, theirs)
    assert 0 < run.history[-1].num_zeros == sum(int((p == 0).sum()) for p in theirs.parameters())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
@pytest.mark.parametrize(
    "penalties",
    [
        lambda s: [Regularizer(L1(s)), Regularizer(L2(s), on="all", coupling="decoupled")],
        lambda s: [Regularizer(GroupLasso(s), on="*.weight"), Regularizer(L2(s), on="biases", coupling="gradient")],
    ],
    ids=["L1 and decay", "groups"],
)
@pytest.mark.filterwarnings("error:models are trained one by one")
def test_members_of_a_stack_have_factors_of_their_own(optimizer, penalties):
    def make_model(num_inputs, num_outputs):
        return MLP(num_inputs, num_outputs, width=6, activation="tanh").double()

    factors = [{"biases": b, "1.weight": w, "*.weight": 0.7} for b, w in ((0.5, 2.0), (1.0, 0.1), (3.0, 1.0))]
    shared = {"optimizer": optimizer, "epochs": 10, "batch_size": 8, "schedule": "cosine", "lr": 0.01}
    recipes = [
        Recipe(**shared, lr_factors=f, regularizers=penalties(s))
        for f, s in zip(factors, (0.001, 0.01, 0.1), strict=True)
    ]
    data = blobs()
    members = crossed(recipes, data)
    runs = meden.fit_many(make_model, members, data)
    for run, member in zip(runs, members, strict=True):
        assert_same_run(run, alone(make_model, member, data))
    plain = alone(make_model, crossed([recipes[0].replace(lr_factors={})], data)[0], data)
    assert not torch.allclose(next(runs[0].model.parameters()), next(plain.model.parameters()), rtol=1e-3)


def test_other_selectors_are_another_stack():
    recipes = [RECIPE.replace(lr_factors=f) for f in ({"biases": 2.0}, {"weights": 2.0}, {})]
    data = blobs()
    members = [meden.Member(recipe, fold, 0) for recipe in recipes for fold in folds_of(data)[:2]]
    for run, member in zip(meden.fit_many(MLP, members, data), members, strict=True):
        assert_same_run(run, alone(MLP, member, data), rtol=1e-3)


def test_a_kill_changes_nothing(tmp_path):
    recipe = RECIPE.replace(sharpness=Sharpness(), averaging="ema", regularizers=[Regularizer(L1(0.01))])
    whole = meden.fit(net(), rows(), recipe=recipe, seed=7)

    class Killed(Exception):
        pass

    def kill(record):
        if record.epoch == 2:
            raise Killed

    path = tmp_path / "run.safetensors"
    with pytest.raises(Killed):
        meden.fit(net(), rows(), recipe=recipe, seed=7, checkpoint=path, on_epoch=kill)
    resumed = meden.fit(net(), rows(), recipe=recipe, seed=7, checkpoint=path)
    assert_equal_models(resumed.model, whole.model, rtol=0)
    turned = recipe.replace(lr_factors=dict(reversed(FACTORS.items())))
    with pytest.raises(InputError, match="a different recipe"):
        meden.fit(net(), rows(), recipe=turned, seed=7, checkpoint=path)


def test_the_first_selector_counts_and_their_order_survives_a_file(tmp_path):
    overlapping = {"0.bias": 4.0, "biases": 2.0, "all": 0.5}
    assert selectors_of(net(), overlapping) == {
        "0.weight": "all",
        "0.bias": "0.bias",
        "2.weight": "all",
        "2.bias": "biases",
    }
    recipe = Recipe(lr_factors=overlapping)
    recipe.save(tmp_path / "recipe.yaml")
    assert list(Recipe.load(tmp_path / "recipe.yaml").lr_factors.items()) == list(overlapping.items())
    (tmp_path / "own.yaml").write_text("lr_factors: {biases: 2.0, '*.weight': 0.5}\n")
    assert dict(Recipe.load(tmp_path / "own.yaml").lr_factors) == {"biases": 2.0, "*.weight": 0.5}


def test_a_made_weight_stands_for_what_it_is_made_from():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), nn.Linear(2, 1))
    assert list(selectors_of(model, ["0.weight"])) == [f"0.parametrizations.weight.original{i}" for i in (0, 1)]


def test_a_tied_table_has_the_rate_of_either_name():
    model = CausalTransformer(num_inputs=6, num_tokens=7, width=4, depth=1, num_heads=1)
    model.out.weight = model.embed.tokens.weight
    assert selectors_of(model, ["out.weight"]) == {"embed.tokens.weight": "out.weight"}


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan"), "fast"])
def test_a_factor_is_a_positive_number(factor):
    with pytest.raises(InputError, match=r"Recipe lr_factors.biases .*, got"):
        Recipe(lr_factors={"biases": factor})


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ({"blocks.*": 0.5}, r"lr_factors: on must select at least one parameter .* got 'blocks.\*'"),
        ({"all": 0.5, "biases": 2.0}, r"lr_factors must leave tensors for each selector, got 'biases' after 'all'"),
    ],
)
def test_a_selector_without_a_tensor_is_refused_before_any_step(factors, said):
    model = net()
    before = copy.deepcopy(model)
    with pytest.raises(InputError, match=said):
        meden.fit(model, rows(), recipe=RECIPE.replace(lr_factors=factors))
    assert_equal_models(model, before, rtol=0)
    with pytest.raises(InputError, match=said):
        meden.fit_many(MLP, [meden.Member(RECIPE.replace(lr_factors=factors), None, s) for s in (0, 1)], blobs())


class Reader(nn.Module):
    """A model with a stack within its blocks, and layers behind them."""

    def __init__(self):
        super().__init__()
        self.table, self.layers = nn.Embedding(9, 4), nn.ModuleList(self._block() for _ in range(3))
        self.head = nn.Linear(4, 2)

    def _block(self):
        return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))


def test_layers_learn_the_more_slowly_the_deeper_they_are():
    factors = layerwise_factors(Reader(), 0.5)
    assert factors == {"table.weight": 1 / 16, "layers.0.*": 1 / 8, "layers.1.*": 1 / 4, "layers.2.*": 1 / 2}
    rated = selectors_of(Reader(), factors)
    assert set(dict(Reader().named_parameters())) - rated.keys() == {"head.weight", "head.bias"}


def test_layers_to_decay_over_must_be_one_list():
    two = nn.ModuleDict({name: nn.ModuleList(nn.Linear(2, 2) for _ in range(2)) for name in "ab"})
    with pytest.raises(InputError, match=r"blocks must name a list of layers of the same type .*, got None"):
        layerwise_factors(two)
    assert layerwise_factors(two, 0.5, blocks="b") == {
        **dict.fromkeys(("a.0.weight", "a.0.bias", "a.1.weight", "a.1.bias"), 1 / 8),
        "b.0.*": 1 / 4,
        "b.1.*": 1 / 2,
    }
    for model in (nn.Linear(2, 1), nn.Sequential(nn.ReLU(), nn.ReLU())):
        with pytest.raises(InputError, match="the model has none"):
            layerwise_factors(model)
    with pytest.raises(InputError, match="decay must be"):
        layerwise_factors(Reader(), 1.5)
