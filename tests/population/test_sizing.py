"""How much work a member is: products, not weights."""

import numpy as np
import pytest
import torch
from torch import nn

from meden.models import MLP
from meden.population.feed import Entrant
from meden.population.sizing import row_work
from meden.recipe import Recipe


def convolution():
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(3 * 4 * 5, 7))


@pytest.mark.parametrize(
    ("model", "shape", "work"),
    [
        (convolution(), (2, 4, 5), 2 * 3 * 9 * 20 + 60 * 7),
        (MLP(6, 3, width=8, depth=1), (6,), 6 * 8 + 8 * 3 + 11),  # the biases count as weights only
    ],
)
def test_work_counts_each_use_of_a_weight(model, shape, work):
    model.train()
    entrant = Entrant(model, Recipe(), (), 0, np.arange(4), np.arange(0))
    assert row_work(entrant, torch.zeros(4, *shape)) == work
    assert model.training
