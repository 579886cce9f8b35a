"""Transformers: torch's own layer as a witness, padding and the future do not matter, fitting, stacking."""

import pytest
import torch
from torch import nn

from meden import InputError
from meden.models import CausalTransformer, Transformer
from meden.models.transformer import Block
from tests.models.witness import assert_fits, assert_stacks, random
from tests.training.many.architectures import tokens


def some_tokens(*shape, num_tokens=11, seed=0):
    return torch.randint(1, num_tokens, shape, generator=torch.Generator().manual_seed(seed))


def classifier(num_inputs=7, num_outputs=3, **options):
    return Transformer(num_inputs, num_outputs, **{"num_tokens": 11, "width": 8, "num_heads": 2} | options)


def loud(model):
    """Return the model in evaluation mode with weights far from their small start."""
    with torch.no_grad():
        for number, param in enumerate(model.parameters()):
            param.add_(0.5 * random(*param.shape, seed=number))
    return model.eval()


def as_torch_layer(block, width):
    """Return torch's own encoder layer with the weights of a block."""
    layer = nn.TransformerEncoderLayer(
        width, block.num_heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    norm, first, _, last = block.perceptron
    pairs = {"norm1": block.norm, "norm2": norm, "linear1": first, "linear2": last}
    state = {f"{name}.{part}": getattr(own, part) for name, own in pairs.items() for part in ("weight", "bias")}
    state |= {f"self_attn.in_proj_{part}": getattr(block.qkv, part) for part in ("weight", "bias")}
    state |= {f"self_attn.out_proj.{part}": getattr(block.mix, part) for part in ("weight", "bias")}
    layer.load_state_dict(state)
    return layer.train()  # its evaluation mode has a path of its own


def test_a_block_is_that_of_torch():
    block, x = loud(Block(8, 2)), random(4, 6, 8)
    present = torch.arange(6) < torch.tensor([6, 4, 1, 2])[:, None]
    ours = block(x, present[:, None, None, :])
    theirs = as_torch_layer(block, 8)(x, src_key_padding_mask=~present)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_causal_block_is_that_of_torch():
    block, x = loud(Block(8, 2)), random(4, 6, 8)
    past = torch.ones(6, 6, dtype=torch.bool).tril()
    assert torch.allclose(block(x, past), as_torch_layer(block, 8)(x, src_mask=~past), atol=1e-5)


@pytest.mark.parametrize("depth", [0, 2])
def test_padding_does_not_matter(depth):
    model, rows = loud(classifier(depth=depth)), some_tokens(4, 4)
    padded = torch.cat([rows, torch.zeros(4, 3).long()], 1)
    assert torch.allclose(model(rows), model(padded), atol=1e-5)
    assert not torch.allclose(model(rows), model(torch.cat([rows, rows[:, :3]], 1)), atol=1e-2)


def test_no_depth_is_a_linear_model_of_the_normalised_mean():
    model, rows = loud(classifier(depth=0)), some_tokens(4, 7)
    embedded = model.embed.tokens.weight[rows] + model.embed.places
    assert torch.allclose(model(rows), model.out(model.norm(embedded.mean(1))), atol=1e-5)


def test_a_row_without_tokens_has_finite_outputs_and_gradients():
    model, rows = loud(classifier(depth=2)).double(), some_tokens(3, 7)
    rows[1] = 0
    outputs = model(rows)
    assert torch.allclose(outputs[1], model.out(model.norm.bias))
    outputs.sum().backward()
    assert all(param.grad.isfinite().all() for param in model.parameters())


def test_the_future_does_not_matter():
    model, rows = loud(CausalTransformer(7, 11, width=8, num_heads=2)), some_tokens(3, 7)
    before = model(rows)
    assert before.shape == (3, 7, 11)
    for t in range(1, 7):
        changed = torch.cat([rows[:, :t], some_tokens(3, 7 - t, seed=1)], 1)
        after = model(changed)
        assert torch.allclose(after[:, :t], before[:, :t], atol=1e-5)
        assert torch.allclose(model(rows[:, :t]), before[:, :t], atol=1e-5)
        assert not torch.allclose(after[:, t:], before[:, t:], atol=1e-2)


def test_learns_twenty_rows():
    assert_fits(classifier(), some_tokens(20, 7), torch.arange(20) % 3)


def test_the_causal_model_learns_a_rule():
    rows = (torch.arange(20)[:, None] + torch.arange(8)) % 11  # each token is the one before, plus one
    assert_fits(CausalTransformer(7, 11, width=16, depth=1), rows[:, :-1], rows[:, 1:])


def test_alone_or_together():
    x, y = tokens()
    x[::2, 5:] = 0
    assert_stacks(lambda num_inputs, num_outputs: classifier(num_inputs, num_outputs, dropout=0.2).double(), (x, y))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 9}, "width must be a multiple of num_heads=2, got 9"),
        ({"depth": -1}, "depth must be a whole number in \\[0, 1000\\], got -1"),
        ({"num_heads": 0}, "num_heads must be a whole number of at least 1, got 0"),
        ({"num_tokens": 0}, "num_tokens must be a whole number of at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be a finite number in \[0, 1\), got 1.0"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        classifier(**options)


def test_rows_that_are_too_long():
    with pytest.raises(InputError, match="rows must have at most num_inputs=7 tokens, got 8"):
        classifier()(some_tokens(2, 8))
