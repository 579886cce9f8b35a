"""A group that is shrunk away is exactly zero, at every strength."""

import pytest
import torch

from meden.penalties import GroupLasso, SparseGroupLasso


@pytest.mark.parametrize("penalty", [GroupLasso, lambda s: SparseGroupLasso(s, 0.3)], ids=["group", "sparse group"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_groups_below_the_threshold_are_zero(penalty, dtype):
    w = 1e-3 * torch.randn(50, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    for strength in torch.linspace(0.01, 1.0, 100).tolist():
        assert not penalty(strength).prox(w, 0.7).any(), strength
