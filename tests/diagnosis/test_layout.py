"""Dropout that goes straight into batch norm, and layouts that are no trouble."""

import pytest
import torch
from torch import nn

from meden.diagnosis.layout import dropout_before_norm
from meden.edits import own_dropouts, set_dropout
from meden.models import MLP
from meden.noise import Dropout, attach

BAD = {
    "straight": [nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)],
    "an activation between": [nn.Linear(4, 4), nn.Dropout(0.5), nn.ReLU(), nn.BatchNorm1d(4)],
    "in a block": [nn.Linear(4, 4), nn.Sequential(nn.Dropout(0.5)), nn.BatchNorm1d(4)],
    "ours": [nn.Linear(4, 4), Dropout(0.5), nn.BatchNorm1d(4)],
    "on a layer's output": [attach(nn.Linear(4, 4), Dropout(0.5), "output"), nn.BatchNorm1d(4)],
    "on the norm's input": [nn.Linear(4, 4), attach(nn.BatchNorm1d(4), Dropout(0.5), "input")],
}
GOOD = {
    "behind": [nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)],
    "off": [nn.Linear(4, 4), nn.Dropout(0.0), nn.BatchNorm1d(4)],
    "a layer between": [nn.Dropout(0.5), nn.Linear(4, 4), nn.BatchNorm1d(4)],
    "layer norm": [nn.Linear(4, 4), nn.Dropout(0.5), nn.LayerNorm(4)],
    "on a layer's input": [attach(nn.Linear(4, 4), Dropout(0.5), "input"), nn.BatchNorm1d(4)],
}


@pytest.mark.parametrize("layers", BAD.values(), ids=BAD)
def test_the_bad_layout_is_found(layers):
    found = dropout_before_norm(nn.Sequential(*layers))
    assert found is not None and found.code == "dropout_before_norm"


@pytest.mark.parametrize("layers", GOOD.values(), ids=GOOD)
def test_other_layouts_are_left_alone(layers):
    assert dropout_before_norm(nn.Sequential(*layers)) is None


def test_what_is_called_bad_shifts_the_variance():
    """The reason, measured: in evaluation the norm divides by a spread that its inputs do not have."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4, momentum=None))
    own_dropouts(model)
    x, (first, _, norm) = torch.randn(4000, 4), model
    with torch.no_grad():
        for _ in range(10):
            model.train()(x)
        assert (norm.running_var > 1.5 * first(x).var(0)).all()


def test_our_own_networks_have_no_such_layout():
    model = MLP(4, 2, depth=3, batch_norm=True, dropout=0.5)
    assert dropout_before_norm(model) is None
    set_dropout(model, 0.3)
    assert dropout_before_norm(model) is None


def test_many_places_are_named_and_counted():
    blocks = [nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1), nn.BatchNorm1d(4)) for _ in range(6)]
    found = dropout_before_norm(nn.Sequential(*blocks))
    assert "0.1 before 0.2" in found.message and "and more" in found.message
