"""Work and speed: products counted by hand, and nothing of the model touched."""

import pytest
import torch
from torch import nn

from meden.models import MLP, Decoder
from meden.speed import matmul_rate, peak_memory, row_flops, work_of


@pytest.mark.parametrize("rows", [1, 7])
def test_products_are_those_counted_by_hand(rows):
    width, depth, tokens, vocabulary = 32, 2, 6, 11
    model = Decoder(tokens, vocabulary, width=width, depth=depth, num_heads=2, num_mixed=2)
    weights = sum(
        p.numel() for name, p in model.named_parameters() if p.ndim == 2 and name.split(".")[0] in ("blocks", "out")
    )
    attention = depth * 2 * 2 * tokens * width  # scores, and the mean of values, per token
    forward = tokens * (2 * weights + attention)
    found = row_flops(model, torch.zeros(rows, tokens, dtype=torch.int64))
    assert 3 * forward <= found <= 3 * forward + tokens * attention  # some kernels compute scores again


def test_the_model_is_left_as_it_is():
    model = MLP(5, 3, batch_norm=True, dropout=0.5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    assert row_flops(model, torch.randn(4, 5, generator=torch.Generator().manual_seed(0))) > 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters()) and model.training


def test_a_model_that_looks_at_numbers_is_not_counted():
    class Looks(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(3, 1)

        def forward(self, x):
            return self.out(x) if float(x.sum()) > 0 else self.out(-x)

    assert row_flops(Looks(), torch.ones(2, 3)) is None and work_of(Looks(), torch.ones(2, 3)) is None


def test_the_share_is_of_what_is_measured():
    model, x = MLP(50, 3), torch.zeros(4, 50)
    found = work_of(model, x)
    assert found.row_flops == row_flops(model, x)
    assert 0.2 < found.rate / matmul_rate() < 5  # the machine may be busy
    assert found.share(found.rate / found.row_flops) == pytest.approx(1)


def test_memory_that_was_in_use_is_seen():
    most = peak_memory()
    if most is None:
        pytest.skip("nobody knows here")
    held = torch.ones(2**24)  # 64 MiB
    assert 2**26 <= most <= peak_memory() < 2**44 and len(held)
