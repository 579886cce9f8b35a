"""Sizes beyond all use are refused before anything is built or laid out."""

import pytest
from torch import nn

from meden import InputError, Recipe
from meden.models import MLP, CausalTransformer, ConvNet, Decoder, TabularNet


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda depth: MLP(2, 2, depth=depth), 1000),
        (lambda depth: TabularNet(2, 2, depth=depth), 1000),
        (lambda depth: ConvNet(2, depth=depth), 30),
        (lambda depth: CausalTransformer(4, 8, width=8, num_heads=2, depth=depth), 1000),
        (lambda depth: Decoder(4, 8, width=8, num_heads=2, depth=depth), 1000),
    ],
    ids=["MLP", "TabularNet", "ConvNet", "CausalTransformer", "Decoder"],
)
@pytest.mark.parametrize("times", [2, 10**9])
def test_depths_without_end(make, most, times):
    with pytest.raises(InputError, match=rf"depth must be a whole number in \[\d, {most}\], got {most * times}"):
        make(most * times)
    assert isinstance(make(2), nn.Module)


def test_epochs_without_end():
    with pytest.raises(InputError, match=r"epochs .*1000000"):
        Recipe(epochs=10**12)
