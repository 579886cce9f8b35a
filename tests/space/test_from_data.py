"""The upper ends of strengths: where answers become a constant, for linear models and deep ones alike."""

import math

import pytest
import torch
from torch import nn

import meden
from meden import FromData, InputError, Member, Regularizer
from meden.data import as_dataset, make_folds
from meden.models import MLP, Linear, TabularNet
from meden.penalties import L1, L2
from meden.space.degree import degree
from meden.space.from_data import highest, l1_max, l2_max, resolve
from meden.tabular.defaults import DEFAULTS
from meden.tabular.network import network, scaled_for
from tests.optim.test_parametrised import KINDS
from tests.training.many.architectures import MultiHead, Residual, convolutional, encoder, images, tokens

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))


class Skip(nn.Module):
    """A deep way and a shallow one: x -> out(h + mix(h))."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.mix, self.out = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.into(x)
        return self.out(h + torch.tanh(self.mix(h)))


DEGREES = [
    (Linear(5, 3), 1),
    (MLP(5, 3, depth=1), 2),
    (MLP(5, 3, depth=4, activation="gelu"), 5),
    (MLP(5, 3, depth=3, dropout=0.5, activation="tanh"), 4),
    (MLP(5, 3, depth=3, batch_norm=True), 1),
    (Skip(), 2),
    (TabularNet(5, 3, num_numbers=5), 4),
    (TabularNet(5, 3, depth=0), 1),
    (nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3)), 1),
    (nn.Sequential(nn.Flatten()), 1),
    (nn.Sequential(nn.Linear(5, 6).requires_grad_(False), nn.ReLU(), nn.Linear(6, 3)), 1),
    (nn.Sequential(KINDS["weight_norm"](nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 3)), 2),
    (nn.Sequential(KINDS["spectral_norm"](nn.Linear(5, 6)), nn.ReLU(), nn.Linear(6, 3)), 1),
]


@pytest.mark.parametrize(("model", "expected"), DEGREES, ids=lambda value: type(value).__name__)
def test_degrees_are_the_layers_on_the_shortest_way(model, expected):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    assert degree(model.train(), X) == expected
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training and torch.equal(state, torch.get_rng_state())


def test_degrees_of_other_inputs():
    assert degree(convolutional(), torch.as_tensor(images()[0])[:9]) >= 1
    assert degree(Residual(), X) == 2  # batch norm only within the blocks, which end in a layer that starts at zero
    for model in (MultiHead(), encoder()):
        assert degree(model, torch.as_tensor(tokens()[0])[:9]) == 1  # behind a norm


def test_ends_by_their_formulas():
    x, y = X.double(), X[:, :1].double()
    loss = float(y.var(correction=0)) / 2
    g1, g2 = l1_max(x, y), float((x.T @ (y.mean(0) - y) / len(y)).norm())
    assert highest("l1", x, y, "regression", 1) == pytest.approx(g1)
    assert highest("l2", x, y, "regression", 1) == pytest.approx(l2_max(x, y))
    assert highest("l2", x, y, "regression", 2) == pytest.approx(g2)
    assert highest("l1", x, y, "regression", 3) == pytest.approx((g1 * loss * loss) ** (1 / 3) / 3)
    assert highest("l2", x, y, "regression", 4) == pytest.approx(math.sqrt(g2 * loss) / 2)
    classes = torch.eye(3).double().repeat(8, 1)
    assert highest("l1", x, classes, "classification", 10**6) == pytest.approx(math.log(3) / 1e6, rel=1e-3)


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_no_chain_of_layers_beats_the_constant_beyond_the_end(layers):
    """One number a layer, y = x: the best product of weights, found by brute force."""
    x = torch.tensor([[1.0], [-1.0]]).double()
    product = torch.linspace(0, 2, 200001, dtype=torch.float64)
    loss = (1 - product).square() / 2
    for name, each in (("l1", lambda w: w), ("l2", lambda w: w.square() / 2)):
        if (name, layers) == ("l2", 1):
            continue
        end = highest(name, x, x, "regression", layers)
        penalty = layers * each(product ** (1 / layers))
        assert float((loss + 1.001 * end * penalty).argmin()) == 0
        assert float((loss + 0.3 * end * penalty).argmin()) > 0


@pytest.mark.parametrize("model", ["linear", "mlp", "tabular"])
@pytest.mark.parametrize("name", ["l1", "l2"])
def test_training_accuracy_falls_to_a_constant_answer_at_the_end(model, name):
    """Over the range that the data give: a constant model at its end, and much learned in half of it."""
    iris = scaled_for(model, as_dataset("iris"))
    make_model = network(model, iris)
    space = resolve({name: FromData(decades=3)}, iris, make_folds(iris, 3, seed=0), make_model)
    strengths = [*space[name].grid(10), 10 * space[name].high]
    penalty = {"l1": L1, "l2": L2}[name]
    recipe = DEFAULTS[model].recipe.replace(early_stopping=None, schedule="cosine", epochs=128)
    recipe = recipe.replace(lr=0.04 if model == "tabular" else 0.01)
    members = [Member(recipe.replace(regularizers=[Regularizer(penalty(s), coupling="proximal")])) for s in strengths]
    scores = [run.history[-1].train for run in meden.fit_many(make_model, members, iris)]
    assert min(score["accuracy"] for score in scores[:5]) > 0.85  # half of the range is of use
    *_, end, beyond = scores
    if (model, name) == ("linear", "l2"):  # which is never constant
        assert 0.8 * math.log(3) < end["loss"] < beyond["loss"]
    elif (model, name) == ("tabular", "l2"):  # whose scales, which have no penalty, carry the answer for a while
        assert end["loss"] > 3 * scores[0]["loss"] and beyond["loss"] > 0.98 * math.log(3)
    else:
        assert end["loss"] > 0.98 * math.log(3)


def test_a_space_of_depths_has_the_end_of_the_shallowest():
    iris = as_dataset("iris")
    folds = make_folds(iris, 3, seed=0)
    found = resolve({"l2": FromData(), "depth": meden.Choice(3, 1)}, iris, folds, MLP)["l2"]
    wanted = resolve(
        {"l2": FromData()}, iris, folds, lambda num_inputs, num_outputs: MLP(num_inputs, num_outputs, depth=1)
    )
    assert found == wanted["l2"]


def test_names_whose_ends_the_data_do_not_decide():
    iris = as_dataset("iris")
    with pytest.raises(InputError, match="FromData must be used only for l1 and l2"):
        resolve({"lr": FromData()}, iris, make_folds(iris, 3, seed=0), MLP)
