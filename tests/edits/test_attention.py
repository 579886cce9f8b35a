"""Attention that has lost heads: beside ``nn.MultiheadAttention`` with those heads at zero, over its arguments."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

import meden
from meden import InputError
from meden.edits.attention import FewerHeads

N, L, S, E, H = 3, 4, 5, 8, 4


class SelfAttention(nn.Module):
    """Attention of one input to itself, which is not averaged over heads."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(E, H, batch_first=True, **settings)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


def made(**settings: Any) -> tuple[nn.MultiheadAttention, nn.MultiheadAttention]:
    """Return attention whose second head adds nothing, and the same without that head."""
    torch.manual_seed(0)
    model = SelfAttention(**settings).double()
    for param in model.parameters():
        nn.init.normal_(param, std=0.5)
    with torch.no_grad():
        model.attention.out_proj.weight[:, 2:4] = 0
    small = meden.compact(model, torch.randn(N, L, E, dtype=torch.float64)).model.attention
    assert isinstance(small, FewerHeads) and small.num_heads == 3
    return model.attention, small


def inputs(batched: bool = True, batch_first: bool = True) -> list[torch.Tensor]:
    torch.manual_seed(1)
    query, key, value = (torch.randn(N, size, E, dtype=torch.float64) for size in (L, S, S))
    parts = [query, key, value] if batched else [query[0], key[0], value[0]]
    return parts if batch_first or not batched else [x.transpose(0, 1) for x in parts]


PADDING = torch.zeros(N, S, dtype=torch.bool)
PADDING[1, 3:] = True
CAUSAL = torch.ones(L, S, dtype=torch.bool).triu(1)
BY_HEAD = torch.rand(N * H, L, S, generator=torch.Generator().manual_seed(2)) < 0.3
BY_HEAD[..., 0] = False


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"key_padding_mask": PADDING},
        {"attn_mask": CAUSAL},
        {"attn_mask": CAUSAL, "is_causal": True},
        {"attn_mask": torch.randn(L, S, dtype=torch.float64)},
        {"attn_mask": BY_HEAD},
        {"attn_mask": BY_HEAD, "key_padding_mask": PADDING},
    ],
    ids=lambda given: "+".join(given) or "plain",
)
@pytest.mark.parametrize("bias", [True, False])
def test_the_same_output_under_masks(given: dict[str, Any], bias: bool, need_weights: bool) -> None:
    large, small = made(bias=bias)
    results = [layer(*inputs(), need_weights=need_weights, **given) for layer in (large, small)]
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-10, atol=1e-12)
    assert (results[1][1] is None) == (results[0][1] is None)


@pytest.mark.parametrize(("batched", "batch_first"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_same_output_in_all_layouts(batched: bool, batch_first: bool) -> None:
    large, small = made()
    large.batch_first = small.batch_first = batch_first
    given = inputs(batched, batch_first)
    mask = {"key_padding_mask": PADDING if batched else PADDING[1]}
    kept = [0, 2, 3]
    results = [layer(*given, average_attn_weights=False, **mask) for layer in (large, small)]
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-10, atol=1e-12)
    weights = results[0][1][:, kept] if batched else results[0][1][kept]
    torch.testing.assert_close(results[1][1], weights, rtol=1e-10, atol=1e-12)


def test_gradients_are_those_of_what_is_left() -> None:
    large, small = made()
    for layer in (large, small):
        layer(*inputs())[0].square().sum().backward()
    rows = [row for row in range(3 * E) if row % E not in (2, 3)]
    torch.testing.assert_close(small.in_proj_weight.grad, large.in_proj_weight.grad[rows])
    torch.testing.assert_close(small.out_proj.weight.grad, large.out_proj.weight.grad[:, [0, 1, 4, 5, 6, 7]])


def test_dropout_is_of_the_weights_in_training_alone() -> None:
    _, small = made(dropout=0.5)
    query = inputs()
    torch.manual_seed(0)
    assert not torch.equal(small(*query)[0], small(*query)[0])
    small.eval()
    assert torch.equal(small(*query)[0], small(*query)[0])


def test_a_causal_hint_needs_a_mask() -> None:
    _, small = made()
    with pytest.raises(InputError, match="attn_mask must be given with is_causal=True"):
        small(*inputs(), is_causal=True)


@pytest.mark.parametrize("settings", [{"add_bias_kv": True}, {"add_zero_attn": True}], ids=str)
def test_heads_with_keys_of_their_own_stay_and_are_named(settings: dict[str, Any]) -> None:
    model = SelfAttention(**settings)
    with torch.no_grad():
        model.attention.out_proj.weight[:, 2:4] = 0
    small = meden.compact(model, torch.randn(N, L, E))
    assert not small.plan.channels
    assert list(small.plan.stay.items()) == [("attention[2, 3, 10, 11, 18, 19]", "it is mixed with numbers that stay")]


class Crossed(nn.Module):
    """Attention to keys and values of other widths, whose projections are tensors of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(E, H, kdim=5, vdim=6, batch_first=True)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return self.attention(query, key, value, need_weights=False)[0]


def test_keys_and_values_of_other_widths() -> None:
    torch.manual_seed(0)
    model = Crossed()
    with torch.no_grad():
        model.attention.out_proj.weight[:, 2:4] = 0
    given = tuple(torch.randn(N, size, width) for size, width in ((L, E), (S, 5), (S, 6)))
    small = meden.compact(model, given).model
    assert [tuple(p.shape) for p in small.parameters()] == [(6, 8), (6, 5), (6, 6), (18,), (8, 6), (8,)]
    torch.testing.assert_close(small(*given), model(*given))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_does_not_go_round_it(norm_first: bool) -> None:
    """torch's inference paths read the tensors past the layer, as if each head had E / H numbers."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(E, H, 6, batch_first=True, norm_first=norm_first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first).eval()
    with torch.no_grad():
        model.layers[0].self_attn.out_proj.weight[:, :4] = 0  # two heads: an even number is left
    x = torch.randn(N, S, E)
    small = meden.compact(model, x).model
    with torch.no_grad():
        for mask in (None, PADDING):
            expected, found = (m(x, src_key_padding_mask=mask) for m in (copy.deepcopy(model), small))
            seen = slice(None) if mask is None else ~mask
            torch.testing.assert_close(found[seen], expected[seen], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [8, 7])
@pytest.mark.parametrize("heads", [False, True])
def test_inputs_of_attention_stay_and_are_named(width: int, heads: bool) -> None:
    class Net(nn.Module):
        """Attention that has one matrix for all, or one each if what it attends to is of another width."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.other, self.out = nn.Linear(5, 8), nn.Linear(5, width), nn.Linear(8, 2)
            self.attention = nn.MultiheadAttention(8, 4, kdim=width, vdim=width, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k = self.first(x).relu(), self.other(x).relu()
            return self.out(self.attention(q, k, k)[0])

    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(2, 3, 5)
    with torch.no_grad():
        for name, weight in model.attention.named_parameters():
            if name.endswith("proj_weight"):
                weight[:, 0] = 0
        model.out.weight[:, 1] = 0
        if heads:
            model.attention.out_proj.weight[:, :2] = 0
    small = meden.compact(model, x)
    torch.testing.assert_close(small.model(x), model(x))
    assert small.model.out.in_features == 7 and isinstance(small.model.attention, FewerHeads) == heads
    why = "attention (MultiheadAttention) takes inputs of one width"
    together = {8: {"first[0]": why}, 7: {"first[0]": why, "other[0]": why}}  # one matrix for all, or three
    assert small.plan.stay == together[width]
