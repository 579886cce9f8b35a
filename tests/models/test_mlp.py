"""The perceptron: names of its tensors stay, residual connections add."""

import pytest
import torch

from meden import InputError
from meden.models import MLP
from tests.models.witness import assert_fits, assert_stacks, random
from tests.training.many.witness import blobs


def test_names_of_the_plain_layout_are_those_of_a_sequence():
    names = list(MLP(4, 3, width=5, depth=2).state_dict())
    assert names == ["1.weight", "1.bias", "4.weight", "4.bias", "7.weight", "7.bias"]


def test_residual_adds_to_every_hidden_layer_but_the_first():
    model = MLP(4, 3, width=5, depth=3, residual=True).eval()
    first, blocks, last = model[1], (model[4][0], model[5][0]), model[6]
    x = random(6, 4)
    hidden = torch.relu(first(x))
    for block in blocks:
        hidden = hidden + torch.relu(block(hidden))
    assert torch.allclose(model(x), last(hidden))


@pytest.mark.parametrize("depth", [0, 1])
def test_residual_changes_nothing_where_there_is_no_second_hidden_layer(depth):
    plain, residual = (MLP(4, 3, depth=depth, residual=flag) for flag in (False, True))
    assert plain.state_dict().keys() == residual.state_dict().keys()


def test_learns_twenty_rows():
    assert_fits(MLP(4, 3, depth=3, batch_norm=True, residual=True), random(20, 4), torch.arange(20) % 3)


def test_alone_or_together():
    make = lambda num_inputs, num_outputs: MLP(num_inputs, num_outputs, width=6, depth=3, residual=True).double()  # noqa: E731
    assert_stacks(make, blobs())


def test_bad_input():
    with pytest.raises(InputError, match="width must be a whole number of at least 1, got 0"):
        MLP(4, 3, width=0)
