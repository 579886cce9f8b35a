"""Layers whose memory was given without its content are what was asked for, not what happened to be there."""

import copy

import pytest
import torch
from tests.noise.test_layers import LAYERS
from torch import Tensor, nn

from meden.edits import own_dropouts, set_dropout
from meden.noise import DropConnect, Dropout, GaussianNoise, attach, noise_layers, noise_state, seed_noise, stream

table = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture(autouse=True)
def garbage(monkeypatch) -> None:
    """Have memory without content hold large numbers."""
    empty_like = torch.empty_like

    def filled(t: Tensor, **kwargs) -> Tensor:
        return empty_like(t, **kwargs).fill_(7e17)

    monkeypatch.setattr(torch, "empty_like", filled)


def reset(module: nn.Module) -> None:
    if hasattr(module, "reset_parameters"):
        module.reset_parameters()


def same(model: nn.Module, expected: nn.Module) -> bool:
    own, wanted = noise_state(model), noise_state(expected)
    return own.keys() == wanted.keys() and all(torch.equal(own[key], wanted[key]) for key in own)


def made(name: str) -> nn.Module:
    """A layer at two places, one of which has another level since."""
    layer = LAYERS[name][0]
    model = nn.Sequential(type(layer)(0.3), type(layer)(0.2), nn.Linear(2, 2))
    model[1].set_level(0.7)
    return model


@table
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_start_on_the_meta_device(name: str, by_hand: bool) -> None:
    with torch.device("meta"):
        model = made(name)
    assert str(model) == str(made(name))
    model.to_empty(device="cpu")
    if by_hand:
        model.apply(reset)
    assert same(model, made(name))
    assert torch.equal(model[0](torch.ones(2, 2, 2, 2)), made(name)[0](torch.ones(2, 2, 2, 2)))


@table
def test_a_seed_that_was_given_before(name: str) -> None:
    with torch.device("meta"):
        model = made(name)
    seed_noise(model, 5)
    seed_noise(expected := made(name), 5)
    assert same(model.to_empty(device="cpu"), expected)


@table
def test_memory_that_is_emptied_anew(name: str) -> None:
    model = made(name)
    seed_noise(model, 5)
    seed_noise(expected := made(name), 5)
    model[0](torch.ones(2, 2, 2, 2))
    assert same(model.to_empty(device="cpu"), expected)


def test_moving_and_copying_keep_what_a_layer_counted() -> None:
    model = made("Dropout")
    seed_noise(model, 5)
    model[0](torch.ones(2, 2))
    state = noise_state(model)
    for moved in (copy.deepcopy(model), model.to("cpu"), model.double(), model.half(), model.share_memory()):
        assert moved[0].step == 1 and torch.equal(moved[0].key, state["0.key"])
        assert moved[0].p.item() == pytest.approx(0.3, abs=1e-3)


def test_noise_that_edits_put_in() -> None:
    with torch.device("meta"):
        own_dropouts(model := nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.4)))
        set_dropout(perceptron := nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), 0.25)
        attach(perceptron[0], DropConnect(0.1))
    for edited in (model, perceptron):
        edited.to_empty(device="cpu").apply(reset)
    levels = {name: layer.level.item() for part in (model, perceptron) for name, layer in noise_layers(part).items()}
    assert levels == pytest.approx({"1": 0.4, "0.weight_noise": 0.1, "1.input_noise": 0.25})


@pytest.mark.parametrize("with_buffers", [False, True])
def test_empty_weights_of_accelerate(with_buffers: bool) -> None:
    accelerate = pytest.importorskip("accelerate")
    with accelerate.init_empty_weights(include_buffers=with_buffers):
        model = nn.Sequential(nn.Linear(2, 2), Dropout(0.3))
    seed_noise(model, 2)
    model.to_empty(device="cpu")
    assert model[1].p.item() == pytest.approx(0.3) and torch.equal(model[1].key, stream(2, "1"))


def test_pretrained_models_of_transformers(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")

    class Model(transformers.PreTrainedModel):
        config_class = transformers.PretrainedConfig

        def __init__(self, config) -> None:
            super().__init__(config)
            self.layer, self.noise = nn.Linear(2, 2), nn.Sequential(Dropout(0.3), GaussianNoise(0.2))
            self.post_init()

    Model(transformers.PretrainedConfig()).save_pretrained(tmp_path)
    loaded = Model.from_pretrained(tmp_path)
    assert same(loaded.noise, nn.Sequential(Dropout(0.3), GaussianNoise(0.2)))
