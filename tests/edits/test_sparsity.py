"""What single zeros would give, beside torch's own formats."""

import pytest
import torch
from torch import nn

import meden
from meden.edits import sparsity


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_counts_and_bytes_are_those_of_torch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Conv1d(8, 4, 3), nn.BatchNorm1d(4))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight[torch.rand_like(layer.weight) < 0.7] = 0
    matrices = [model[0].weight.detach(), model[2].weight.detach().flatten(1)]
    sparse = [w.to_sparse_csr() for w in matrices]
    parts = [part for w in sparse for part in (w.values(), w.col_indices(), w.crow_indices())]
    found = sparsity(model)
    assert found.num_weights == 12 * 8 + 8 * 3 * 4
    assert found.num_zeros == found.num_weights - sum(w.values().numel() for w in sparse)
    assert found.csr_bytes == sum(part.numel() * part.element_size() for part in parts)
    assert found.dense_bytes == 4 * found.num_weights


def test_two_of_four() -> None:
    layer = nn.Linear(8, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 1, 0, 0, 0, 0, 1, 1], [0, 1, 0, 1, 1, 0, 0, 0]]))
        assert sparsity(layer).num_two_four == 1
        layer.weight[0, 2] = 1
        assert sparsity(layer).num_two_four == 0
    assert sparsity(nn.Linear(6, 2)).num_two_four == 0  # rows that four does not divide


def test_a_plan_says_what_single_zeros_are_left() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight[0, :3] = 0
        model[2].weight[:, 1] = 0
    text = str(meden.compact(model, torch.randn(5, 4)))
    assert "single zeros: 16.7% of 18 weights; 72 bytes dense" in text
    assert "0 of 2 matrices fit 2:4" in text
    with torch.no_grad():
        model[0].weight[0, :3] = 1
    assert "single zeros: none of 18 weights" in str(meden.compact(model, torch.randn(5, 4)))
