"""The convolutional network: shapes, a witness in functions, fitting, stacking."""

import pytest
import torch
import torch.nn.functional as F

from meden import InputError
from meden.models import ConvNet
from tests.models.witness import assert_fits, assert_stacks, random
from tests.training.many.architectures import images


@pytest.mark.parametrize("sides", [(28, 28), (40, 63), (1, 1), (2, 9)])
@pytest.mark.parametrize("num_channels", [1, 3])
def test_shapes(sides, num_channels):
    model = ConvNet(7, num_channels=num_channels, width=4, dropout=0.5)
    assert model(random(2, num_channels, *sides)).shape == (2, 7)


def test_equals_its_formula():
    model = ConvNet(3, width=2, depth=2, batch_norm=False, dropout=0.5).double().eval()
    (w1, b1, w2, b2, w3, b3), x = model.parameters(), random(5, 1, 7, 6).double()
    for weight, bias in ((w1, b1), (w2, b2)):
        x = F.conv2d(F.pad(x, [1, 1, 1, 1]), weight, bias).clamp(min=0)
        x = F.max_pool2d(F.pad(x, [0, x.shape[3] % 2, 0, x.shape[2] % 2]), 2)  # zeros never win: all are positive
    assert torch.allclose(model(random(5, 1, 7, 6).double()), x.mean((2, 3)) @ w3.T + b3, rtol=0, atol=1e-12)


def test_batch_norm_takes_the_place_of_the_bias():
    model = ConvNet(3, width=2)
    assert not any(name.startswith("0.bias") for name in model.state_dict())
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in model) == 3


@pytest.mark.parametrize("batch_norm", [False, True])
def test_learns_twenty_rows(batch_norm):
    assert_fits(ConvNet(4, width=8, depth=2, batch_norm=batch_norm), random(20, 1, 8, 8), torch.arange(20) % 4, lr=0.02)


def test_alone_or_together():
    assert_stacks(lambda num_outputs: ConvNet(num_outputs, width=3, depth=2, dropout=0.2).double(), images())


@pytest.mark.parametrize(("name", "value"), [("width", 1.5), ("num_channels", -1), ("num_outputs", 0)])
def test_bad_counts(name, value):
    with pytest.raises(InputError, match=rf"^{name} must be a whole number of at least 1, got {value}"):
        ConvNet(**{"num_outputs": 3} | {name: value})


def test_bad_dropout():
    with pytest.raises(InputError, match=r"^dropout must be a finite number in \[0, 1\), got 1"):
        ConvNet(3, dropout=1.0)
