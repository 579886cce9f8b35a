"""Dropout that goes straight into batch norm, and layouts that are no trouble."""

import pytest
import torch
from torch import nn

from meden.diagnosis import Curve, Evidence
from meden.diagnosis.layout import dropout_before_norm, dropout_in_one_pass, dropout_on_output, softmax_on_output
from meden.edits import own_dropouts, set_dropout
from meden.models import MLP
from meden.noise import Dropout, GaussianNoise, TokenDropout, attach

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
    found = dropout_before_norm(Evidence((), model=nn.Sequential(*layers)))
    assert found is not None and found.code == "dropout_before_norm"


@pytest.mark.parametrize("layers", GOOD.values(), ids=GOOD)
def test_other_layouts_are_left_alone(layers):
    assert dropout_before_norm(Evidence((), model=nn.Sequential(*layers))) is None


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
    assert dropout_before_norm(Evidence((), model=model)) is None
    set_dropout(model, 0.3)
    assert dropout_before_norm(Evidence((), model=model)) is None


def test_many_places_are_named_and_counted():
    blocks = [nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1), nn.BatchNorm1d(4)) for _ in range(6)]
    found = dropout_before_norm(Evidence((), model=nn.Sequential(*blocks)))
    assert "0.1 before 0.2" in found.message and "and more" in found.message


class Own(nn.Module):
    """Registers its layers in an order in which it does not use them."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.dropout, self.softmax = (
            nn.Linear(4, 4),
            nn.Linear(4, 2),
            nn.Dropout(),
            nn.Softmax(1),
        )


@pytest.mark.parametrize(
    ("rule", "model", "named"),
    [
        (dropout_on_output, nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)), "dropout (1) comes after"),
        (dropout_on_output, nn.Sequential(nn.Sequential(nn.Linear(4, 2)), nn.ReLU(), nn.Dropout(0.5)), "(2)"),
        (dropout_on_output, attach(nn.Linear(4, 2), Dropout(0.5), "output"), "output_noise"),
        (dropout_on_output, nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2), nn.Dropout(0.0)), ""),
        (dropout_on_output, nn.Sequential(attach(nn.Linear(4, 2), Dropout(0.5), "input")), ""),
        (dropout_on_output, Own(), ""),
        (dropout_on_output, MLP(4, 2, dropout=0.5), ""),
        (softmax_on_output, nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), "ends in a Sigmoid (1)"),
        (softmax_on_output, nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 2)), ""),
        (softmax_on_output, Own(), ""),
    ],
)
def test_what_comes_last_is_told_where_the_order_is_known(rule, model, named):
    found = rule(Evidence((), model=model, of_classes=True))
    assert (found is not None) == bool(named) and (found is None or named in found.message)


def test_numbers_may_end_in_a_sigmoid():
    assert softmax_on_output(Evidence((), model=nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()))) is None


LEARNT = Curve(train=[1.0, 0.8], held_out=[1.0, 0.8])
LEARNT_BY_HEART = Curve(train=[1.0, 0.2], held_out=[1.0, 0.8])
DROPS = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2), nn.Linear(4, 1))


@pytest.mark.parametrize("noise", [nn.Dropout(0.2), Dropout(0.2), TokenDropout(0.2)])
def test_dropout_that_meets_no_row_twice_is_found(noise):
    found = dropout_in_one_pass(Evidence((LEARNT,), model=nn.Sequential(nn.Linear(4, 4), noise), passes=0.6))
    assert found is not None and found.value == 0.6 and "dropout is on (1) in a training of 0.6 passes" in found.message


def test_dropout_of_the_recipe_counts_where_the_model_does_not_show_it():
    found = dropout_in_one_pass(Evidence((LEARNT,), model=nn.Linear(4, 1), passes=1.0, dropout=0.2))
    assert found is not None and "(0.2 in the recipe)" in found.message


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence((LEARNT,), model=DROPS, passes=1.5),
        Evidence((LEARNT,), model=DROPS),
        Evidence((LEARNT,), passes=0.6),
        Evidence((LEARNT,), model=DROPS, passes=0.6, searched=True),
        Evidence((LEARNT_BY_HEART,), model=DROPS, passes=0.6),
        Evidence((LEARNT,), model=nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.0)), passes=0.6),
        Evidence((LEARNT,), model=nn.Sequential(nn.Linear(4, 4), GaussianNoise(0.1)), passes=0.6),
    ],
    ids=["rows repeat", "not known", "no model", "chosen by a search", "it overfits", "off", "another noise"],
)
def test_dropout_that_may_pay_is_left_alone(evidence):
    assert dropout_in_one_pass(evidence) is None
