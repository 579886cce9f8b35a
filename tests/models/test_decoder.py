"""The decoder: a witness written out, the future does not matter, fitting, stacking, compiling."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from meden import InputError
from meden.models import Decoder
from meden.models.decoder import normalised, rotated, rotations
from meden.models.named import check_size, find_model
from tests.models.witness import assert_fits, assert_stacks, random
from tests.training.many.architectures import tokens

KINDS = [{}, {"activation": "swiglu"}, {"tied": True, "num_mixed": 0}, {"num_mixed": 9, "hidden": 5}]


def some_tokens(*shape, seed=0):
    return torch.randint(0, 11, shape, generator=torch.Generator().manual_seed(seed))


def decoder(num_inputs=7, num_tokens=11, **options):
    torch.manual_seed(0)
    return Decoder(num_inputs, num_tokens, **{"width": 8, "num_heads": 2, "depth": 2} | options)


def loud(model):
    """Return the model in evaluation mode with weights far from their start at zero."""
    with torch.no_grad():
        for number, param in enumerate(model.parameters()):
            param.add_(0.5 * random(*param.shape, seed=number))
    return model.eval()


def by_hand(model, row):
    """Return the logits of one row of tokens, written out head by head and pair by pair with complex numbers."""

    def norm(x):
        return x / x.square().mean(-1, keepdim=True).sqrt()

    embedded = norm(model.embed.weight[row])
    x = embedded.clone()
    for before, weight in enumerate(getattr(model.mixed, "weight", ()), start=1):
        for t in range(before, len(row)):
            x[t] += weight * embedded[t - before]
    for block in model.blocks:
        heads, width = block.num_heads, x.shape[1] // block.num_heads
        queries, keys, values = (part.unflatten(1, (heads, width)) for part in block.qkv(norm(x)).chunk(3, 1))
        added = torch.zeros_like(x)
        for head in range(heads):
            turned = []
            for part in (norm(queries[:, head]), norm(keys[:, head])):
                angles = torch.outer(torch.arange(len(row)), 10_000 ** (-torch.arange(0, width, 2) / width)).double()
                pairs = torch.complex(*part.chunk(2, 1)) * torch.polar(torch.ones_like(angles), -angles)
                turned.append(torch.cat([pairs.real, pairs.imag], 1))
            scores = turned[0] @ turned[1].T / math.sqrt(width)
            scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -math.inf)
            added[:, head * width : (head + 1) * width] = scores.softmax(1) @ values[:, head]
        x = x + added @ block.mix.weight.T
        hidden = block.up(norm(x))
        if block.activation == "relu2":
            hidden = F.relu(hidden) ** 2
        else:
            hidden = F.silu(hidden[:, : hidden.shape[1] // 2]) * hidden[:, hidden.shape[1] // 2 :]
        x = x + hidden @ block.down.weight.T
    return norm(x) @ (model.embed if model.out is None else model.out).weight.T


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_it_is_what_it_says(options):
    model, rows = loud(decoder(**options).double()), some_tokens(3, 7)
    with torch.no_grad():
        wanted = torch.stack([by_hand(model, row) for row in rows])
    assert torch.allclose(model(rows), wanted, rtol=1e-5, atol=1e-7)


def test_attention_knows_distances_and_not_places():
    x, turns = normalised(random(1, 9, 1, 6)), rotations(9, 6, torch.zeros(1))
    same = rotated(x[:, :1].expand(-1, 9, -1, -1), turns)[0, :, 0]
    other = rotated(x[:, 1:2].expand(-1, 9, -1, -1), turns)[0, :, 0]
    scores = same @ other.T
    for distance in range(-8, 9):
        diagonal = scores.diagonal(distance)
        assert torch.allclose(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5)
    assert scores[:, 0].std() > 0.1


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_the_future_does_not_matter(options):
    model, rows = loud(decoder(**options)), some_tokens(3, 7)
    before = model(rows)
    for t in range(1, 7):
        after = model(torch.cat([rows[:, :t], some_tokens(3, 7 - t, seed=1)], 1))
        assert torch.allclose(after[:, :t], before[:, :t], atol=1e-5)
        assert torch.allclose(model(rows[:, :t]), before[:, :t], atol=1e-5)
        assert not torch.allclose(after[:, t:], before[:, t:], atol=1e-2)


def test_it_starts_without_an_opinion():
    logits = decoder()(some_tokens(3, 7))
    assert not logits.any()


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_it_learns_a_rule(options):
    rows = (torch.arange(20)[:, None] + torch.arange(8)) % 11  # each token is the one before, plus one
    assert_fits(decoder(width=16, depth=1, **options), rows[:, :-1], rows[:, 1:])


class Last(nn.Module):
    """Classify rows by the logits after their last token."""

    def __init__(self, num_inputs, num_outputs, **options):
        super().__init__()
        self.decoder = loud(Decoder(num_inputs, 11, width=8, num_heads=2, depth=2, **options)).train()
        self.out = nn.Linear(11, num_outputs)

    def forward(self, x):
        return self.out(self.decoder(x)[:, -1])


@pytest.mark.parametrize("options", [*KINDS, {"dropout": 0.2}], ids=str)
def test_alone_or_together(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "trained one by one", for one
        assert_stacks(lambda num_inputs, num_outputs: Last(num_inputs, num_outputs, **options).double(), tokens())


def test_dropout_is_of_the_embedding_and_of_what_blocks_add():
    model = decoder(dropout=0.5).train()
    assert sum(isinstance(module, nn.Dropout) for module in model.modules()) == 3
    rows = some_tokens(3, 7)
    hidden = []
    hook = model.blocks[0].register_forward_pre_hook(lambda _, given: hidden.append(given[0]))
    model(rows)
    hook.remove()
    assert 0.3 < (hidden[0] == 0).float().mean() < 0.7


def test_few_bits_change_little():
    model, rows = loud(decoder()), some_tokens(3, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(rows)
    assert (rough.float() - model(rows)).norm() < 0.05 * model(rows).norm()


def test_its_graph_is_whole():
    model, rows = loud(decoder()), some_tokens(3, 7)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(rows), model(rows), atol=1e-6)


def test_it_has_a_name():
    assert find_model("Decoder") is Decoder
    arguments = {"num_inputs": 7, "num_tokens": 11, "width": 8, "num_heads": 2, "depth": 2}
    check_size(Decoder, arguments, decoder().state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 9}, "width must be an even multiple of num_heads=2, got 9"),
        ({"width": 6}, "width must be an even multiple of num_heads=2, got 6"),
        ({"depth": -1}, "depth must be a whole number in \\[0, 1000\\], got -1"),
        ({"num_heads": 0}, "num_heads must be a whole number of at least 1, got 0"),
        ({"num_mixed": -1}, "num_mixed must be a whole number of at least 0, got -1"),
        ({"hidden": 0}, "hidden must be a whole number of at least 1, got 0"),
        ({"num_tokens": 0}, "num_tokens must be a whole number of at least 1, got 0"),
        ({"activation": "tanh"}, "activation must be one of relu2, swiglu, got 'tanh'"),
        ({"dropout": 1.0}, r"dropout must be a finite number in \[0, 1\), got 1.0"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        decoder(**options)


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        ({}, [(32, 8), (8, 32)]),
        ({"activation": "swiglu"}, [(2 * 21, 8), (8, 21)]),
        ({"hidden": 5}, [(5, 8), (8, 5)]),
        ({"hidden": 5, "activation": "swiglu"}, [(2 * 5, 8), (8, 5)]),
    ],
)
def test_units_of_the_hidden_layer(options, shapes):
    block = decoder(**options).blocks[1]
    assert [tuple(layer.weight.shape) for layer in (block.up, block.down)] == shapes


def test_rows_that_are_too_long():
    with pytest.raises(InputError, match="rows must have at most num_inputs=7 tokens, got 8"):
        decoder()(some_tokens(2, 8))
