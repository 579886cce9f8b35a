"""Units and inputs: the same penalty means the same thing in every layer."""

import pytest
import torch
from torch import nn
from torch.optim import SGD

import meden
from meden import InputError
from meden.optim import Regularizer, regularize
from meden.penalties import GroupLasso, MaxNorm, PullTo, Scaled, SparseGroupLasso, Sum, UnitNorm

LAYERS: dict[str, tuple[nn.Module, str, int | None, int | None]] = {
    "Linear": (nn.Linear(3, 5), "weight", 0, 1),
    "Conv2d": (nn.Conv2d(3, 5, 2), "weight", 0, 1),
    "Conv1d in groups": (nn.Conv1d(4, 6, 2, groups=2), "weight", 0, None),
    "ConvTranspose1d": (nn.ConvTranspose1d(3, 5, 2), "weight", 1, 0),
    "ConvTranspose2d in groups": (nn.ConvTranspose2d(4, 6, 2, groups=2), "weight", None, 0),
    "Bilinear": (nn.Bilinear(2, 3, 4), "weight", 0, None),
    "Embedding": (nn.Embedding(7, 3), "weight", 1, 0),
    "LSTM": (nn.LSTM(3, 4, proj_size=2), "weight_ih_l0", 0, 1),
    "LSTM, hidden": (nn.LSTM(3, 4), "weight_hh_l0", 0, 1),
    "LSTM, projection": (nn.LSTM(3, 4, proj_size=2), "weight_hr_l0", 0, 1),
    "GRUCell": (nn.GRUCell(3, 4), "weight_ih", 0, 1),
    "attention": (nn.MultiheadAttention(4, 2), "in_proj_weight", 0, 1),
    "attention, apart": (nn.MultiheadAttention(4, 2, kdim=3, vdim=3), "k_proj_weight", 0, 1),
    "attention, out": (nn.MultiheadAttention(4, 2), "out_proj.weight", 0, 1),
    "bias": (nn.Linear(3, 5), "bias", 0, None),
}


@pytest.mark.parametrize("name", LAYERS)
def test_axes_of_torchs_layers(name) -> None:
    layer, weight, units, inputs = LAYERS[name]
    for dim, axis in (("units", units), ("inputs", inputs)):
        optimizer, regularizer = SGD(layer.parameters(), lr=0.1), Regularizer(GroupLasso(0.1, dim=dim), on=weight)
        if axis is None:
            with pytest.raises(InputError, match=rf"dim of GroupLasso.* {weight}.* {type(layer).__name__}.*'{dim}'"):
                regularize(optimizer, layer, [regularizer])
        else:
            (bound,) = regularize(optimizer, layer, [regularizer]).bound
            assert bound.penalties[weight].dim == axis


def test_defaults_mean_incoming_weights() -> None:
    for layer, axis in ((nn.Linear(3, 5), 0), (nn.ConvTranspose2d(3, 5, 2), 1)):
        optimizer = SGD(layer.parameters(), lr=0.1)
        regularize(optimizer, layer, [Regularizer(MaxNorm(0.1))])
        for param in layer.parameters():
            param.grad = torch.zeros_like(param)
        optimizer.step()
        norms = layer.weight.detach().transpose(0, axis).flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.full((5,), 0.1))


@pytest.mark.parametrize(
    "penalty",
    [
        SparseGroupLasso(0.1),
        UnitNorm(),
        Scaled(GroupLasso(0.1), 2.0),
        PullTo(GroupLasso(0.1)),
        Sum((GroupLasso(0.1), SparseGroupLasso(0.1, dim="inputs"))),
    ],
    ids=lambda p: type(p).__name__,
)
def test_penalties_of_penalties_are_resolved(penalty) -> None:
    layer = nn.ConvTranspose1d(3, 5, 2)
    (bound,) = regularize(SGD(layer.parameters(), lr=0.1), layer, [Regularizer(penalty)]).bound
    found = repr(bound.penalties["weight"])
    assert "dim=1" in found and "units" not in found and "inputs" not in found
    assert not isinstance(penalty, Sum) or "dim=0" in found


def test_numbers_stay_numbers() -> None:
    layer = nn.ConvTranspose1d(3, 5, 2)
    (bound,) = regularize(SGD(layer.parameters(), lr=0.1), layer, [Regularizer(GroupLasso(0.1, dim=2))]).bound
    assert bound.penalties["weight"] is bound.regularizer.penalty


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 5))


def test_a_layer_of_ones_own() -> None:
    layer = Own()
    optimizer = SGD(layer.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"dim of MaxNorm\(weights\) must be a number for weight of Own.*weight_axes"):
        regularize(optimizer, layer, [Regularizer(MaxNorm(1.0))])
    regularize(optimizer, layer, [Regularizer(MaxNorm(1.0, dim=1))])
    layer.weight_axes = {"units": 1, "inputs": 0}
    (bound,) = regularize(optimizer, layer, [Regularizer(MaxNorm(2.0))]).bound
    assert bound.penalties["weight"].dim == 1


def test_a_tied_tensor_of_two_layouts() -> None:
    model = nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 7, bias=False))
    model[1].weight = model[0].weight
    optimizer = SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"0\.weight.*1\.weight"):
        regularize(optimizer, model, [Regularizer(MaxNorm(1.0), on="*.weight")])


def test_what_is_no_axis() -> None:
    for make in (GroupLasso, MaxNorm, SparseGroupLasso):
        with pytest.raises(InputError, match="dim must be an integer, 'units' or 'inputs', got 'rows'"):
            make(1.0, dim="rows")


def test_recipes_keep_words_and_numbers() -> None:
    for dim in ("units", "inputs", 1):
        recipe = meden.Recipe(regularizers=[Regularizer(SparseGroupLasso(0.1, dim=dim))])
        assert meden.Recipe.from_dict(recipe.to_dict()).regularizers[0].penalty.dim == dim


def test_alone_and_together() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(40, 3, 4), torch.randn(40, 1)

    def make_model() -> nn.Module:
        return nn.Sequential(nn.ConvTranspose1d(3, 5, 2), nn.Flatten(), nn.Linear(25, 1))

    recipes = [
        meden.Recipe(
            optimizer="sgd", lr=0.01, epochs=3, regularizers=[Regularizer(GroupLasso(s)), Regularizer(MaxNorm(0.4))]
        )
        for s in (0.01, 0.1)
    ]
    runs = meden.fit_many(make_model, [meden.Member(recipe) for recipe in recipes], data=(x, y))
    for run in runs:
        weight = run.model[0].weight.detach()
        assert float(weight.transpose(0, 1).flatten(1).norm(dim=1).max()) <= 0.4 * (1 + 1e-5)


def test_transformers_conv1d() -> None:
    pytorch_utils = pytest.importorskip("transformers.pytorch_utils")
    layer = pytorch_utils.Conv1D(5, 3)
    (bound,) = regularize(SGD(layer.parameters(), lr=0.1), layer, [Regularizer(MaxNorm(1.0))]).bound
    assert tuple(layer.weight.shape) == (3, 5) and bound.penalties["weight"].dim == 1
