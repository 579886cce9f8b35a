"""How much work a member is: products, not weights."""

import numpy as np
import pytest
import torch
from torch import nn

from meden.models import MLP
from meden.recipe import Recipe
from meden.training.many.batches import Entrant
from meden.training.many.chunks import row_work, steady_chunk


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


@pytest.mark.parametrize(
    ("model", "shape", "chunk"),
    [
        (nn.Sequential(nn.Conv1d(1, 64, 5), nn.Flatten(), nn.Linear(64 * 60, 2)), (1, 64), 32),
        (nn.Sequential(nn.Conv1d(1, 64, 33), nn.Conv1d(64, 64, 2), nn.Flatten(), nn.Linear(64 * 31, 2)), (1, 64), 1),
        (MLP(64, 2, width=320), (64,), 16),
        (MLP(64, 2, width=1024), (64,), 1),
    ],
)
def test_larger_convolutions_and_large_models_are_not_stacked(model, shape, chunk):
    entrant = Entrant(model, Recipe(), (), 0, np.arange(4), np.arange(0))
    data = torch.zeros(4, *shape), torch.zeros(4, dtype=torch.long)
    assert steady_chunk(entrant, *data, "classification") == chunk
