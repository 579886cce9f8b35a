"""Which biases are idle: known by mathematics for each model, and by a loop of plain torch for what training does."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import meden
from meden.member import Member
from meden.penalties import L2
from meden.training.idle import idle_numbers
from tests.training.many.architectures import Between, MultiHead, Residual, encoder, images, tokens
from tests.training.many.witness import blobs
from tests.training.test_fit_many import FOLDS, RECIPE, assert_as_alone


def rows(n=16, d=5):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def perceptron(*middle, width=6):
    return nn.Sequential(nn.Linear(5, width), *middle, nn.ReLU(), nn.Linear(width, 3))


def convolutional(norm):
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), norm, nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


class Positioned(nn.Module):
    """Adds a vector of its own to its input."""

    def __init__(self, norm):
        super().__init__()
        self.position, self.norm, self.out = nn.Parameter(torch.randn(5)), norm, nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.norm(x + self.position).tanh())


class LevelBias(nn.Module):
    """Has a bias for each level of the first column."""

    def __init__(self):
        super().__init__()
        self.bias, self.out = nn.Parameter(torch.zeros(30, 1)), nn.Linear(5, 1)

    def forward(self, x):
        return self.out(x[:, 1:]) + self.bias[x[:, 0].long()]


class Experts(nn.Module):
    """Asks one expert for each row."""

    def __init__(self):
        super().__init__()
        self.gate, self.experts = nn.Linear(5, 32), nn.ModuleList(perceptron() for _ in range(32))

    def forward(self, x):
        share, chosen = self.gate(x).softmax(1).max(1)
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        return outputs[torch.arange(len(x)), chosen] * share[:, None]


class HalfNormed(nn.Module):
    """Normalises three of six units."""

    def __init__(self):
        super().__init__()
        self.into, self.norm, self.out = nn.Linear(5, 6), nn.BatchNorm1d(3), nn.Linear(6, 3)

    def forward(self, x):
        first, last = self.into(x).split(3, 1)
        return self.out(torch.cat([self.norm(first), last], 1).relu())


IMAGES, TOKENS = torch.from_numpy(images(16)[0]), torch.from_numpy(tokens(16)[0])
CASES = {
    "nothing": (perceptron, rows(), {}),
    "batch norm": (lambda: perceptron(nn.BatchNorm1d(6)), rows(), {"0.bias": 6}),
    "batch norm twice": (lambda: perceptron(nn.BatchNorm1d(6), nn.BatchNorm1d(6)), rows(), {"0.bias": 6, "1.bias": 6}),
    "layer norm": (lambda: perceptron(nn.LayerNorm(6)), rows(), {}),
    "an activation between": (lambda: perceptron(nn.ReLU(), nn.BatchNorm1d(6)), rows(), {}),
    "dropout between": (lambda: perceptron(meden.noise.Dropout(0.0), nn.BatchNorm1d(6)), rows(), {}),
    "pooling between": (lambda: convolutional(nn.BatchNorm2d(4)), IMAGES, {"0.bias": 4}),
    "instance norm": (lambda: convolutional(nn.InstanceNorm2d(4)), IMAGES, {"0.bias": 4}),
    "group norm of one": (lambda: convolutional(nn.GroupNorm(4, 4)), IMAGES, {"0.bias": 4}),
    "group norm of two": (lambda: convolutional(nn.GroupNorm(2, 4)), IMAGES, {}),
    "keys of attention": (MultiHead, TOKENS, {"attention.in_proj_bias": 8}),
    "keys of an encoder": (encoder, TOKENS, {"1.self_attn.in_proj_bias": 8}),
    "a last layer of zeros": (Residual, rows(), {}),
    "a centred batch by hand": (lambda: Between(lambda _, h: (h - h.mean(0)).tanh()), rows(), {"into.bias": 6}),
    "a position before a batch norm": (lambda: Positioned(nn.BatchNorm1d(5)), rows(), {"position": 5}),
    "a position before none": (lambda: Positioned(nn.Identity()), rows(), {}),
    "units that no row wakes, too": (
        lambda: nn.Sequential(nn.Linear(5, 200), nn.ReLU(), nn.Linear(200, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)),
        rows(),
        {"2.bias": 6},
    ),
    "a pass that changes its model": (
        lambda: nn.Sequential(spectral_norm(nn.Linear(5, 6)), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)),
        rows(),
        {"0.bias": 6},
    ),
    "levels that no row has": (LevelBias, torch.cat([torch.arange(16)[:, None] % 3, rows()], 1), {}),
    "experts that no row asks for": (Experts, rows(), {}),
    "half of a layer before a batch norm": (HalfNormed, rows(), {"into.bias": 3}),
    "softmax": (lambda: Between(lambda _, h: h.softmax(1)), rows(), {}),
}


@pytest.mark.parametrize(("make", "x", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("seed", range(3))
def test_idle_biases(make, x, expected, seed):
    torch.manual_seed(seed)
    found = idle_numbers(make(), x)
    assert {name: int(where.sum()) for name, where in found.items()} == expected


def test_only_the_keys_of_attention_are_idle():
    where = idle_numbers(MultiHead(), TOKENS)["attention.in_proj_bias"]
    assert where.tolist() == [False] * 8 + [True] * 8 + [False] * 8


@pytest.mark.parametrize("width", [1, 2, 4, 32])
def test_silent_units_are_not_idle(width):
    for seed in range(20):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        model[0].bias.data.fill_(-1.0)
        assert idle_numbers(model, rows()) == {}


def test_code_that_insists_on_single_precision_is_tried_in_it():
    model = Between(lambda _, h: (h.float() + torch.ones(6) @ torch.ones(6, 6)) - h.mean(0)).float()
    model.function = lambda _, h: torch.mm(h - h.mean(0), torch.eye(6))
    assert {name: int(where.sum()) for name, where in idle_numbers(model, rows()).items()} == {"into.bias": 6}


def test_few_rows_show_nothing():
    assert idle_numbers(perceptron(nn.BatchNorm1d(6)), rows(3)) == {}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
@pytest.mark.parametrize("coupling", ["loss", "gradient"])
def test_an_idle_bias_is_moved_by_its_penalty_alone(optimizer, coupling):
    """The same bias without data: its own optimizer, its own penalty."""
    torch.manual_seed(0)
    model = perceptron(nn.BatchNorm1d(6))
    bias = nn.Parameter(model[0].bias.detach().clone())
    penalty = meden.Regularizer(L2(0.1), on="0.bias", coupling=coupling)
    recipe = meden.Recipe(optimizer=optimizer, lr=0.01, epochs=3, batch_size=20, regularizers=[penalty])
    x, y = blobs()
    run = meden.fit(model, (x, y), recipe=recipe)
    own = meden.recipe.make_optimizer(recipe, [bias])
    for _ in range(run.history[-1].step):
        bias.grad = 0.1 * bias.detach()
        own.step()
    assert torch.allclose(run.model[0].bias, bias, rtol=1e-5, atol=1e-7)


def test_levels_that_only_later_rows_have_are_trained():
    x, y = torch.cat([torch.arange(600)[:, None] // 20, rows(600)], 1), (torch.arange(600)[:, None] // 20 - 15) / 9
    run = meden.fit(LevelBias(), (x, y), recipe=meden.Recipe(lr=0.05, epochs=30, batch_size=50))
    assert bool((run.model.bias != 0).all()) and run.history[-1].train["loss"] < 1e-3


def test_a_model_that_insists_on_its_precision_in_its_own_words_is_trained():
    class Insists(nn.Sequential):
        def forward(self, x):
            assert x.dtype == torch.float32
            return super().forward(x)

    run = meden.fit(Insists(nn.Linear(5, 3), nn.BatchNorm1d(3)), blobs(), recipe=meden.Recipe(epochs=1))
    assert run.status != "diverged" and not run.model[0].bias.isnan().any()


class Masked(nn.Module):
    """Normalises the units that a mask says, which is drawn."""

    def __init__(self):
        super().__init__()
        self.into, self.norm, self.out = nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Linear(16, 3)
        self.register_buffer("mask", torch.rand(16) < 0.5)

    def forward(self, x):
        h = self.into(x)
        return self.out(torch.where(self.mask, self.norm(h), h).tanh())


@pytest.mark.parametrize("chunk", [None, 3, 1])
def test_members_whose_buffers_differ_have_idle_numbers_of_their_own(chunk):
    assert_as_alone(Masked, [Member(RECIPE, FOLDS[0], seed=seed) for seed in (2, 0, 1)], chunk=chunk)
