"""Smaller models of transformers: heads, also such as share keys and values, and units of the feed-forward layers."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

import meden

transformers = pytest.importorskip("transformers")


def gpt2() -> nn.Module:
    sizes = {"n_embd": 8, "n_head": 4, "n_layer": 2, "n_inner": 10, "n_positions": 16, "vocab_size": 11}
    drops = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **drops, bos_token_id=0, eos_token_id=0))


def bert() -> nn.Module:
    sizes = {"hidden_size": 8, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 10}
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(
            **sizes,
            max_position_embeddings=16,
            vocab_size=11,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def llama() -> nn.Module:
    sizes = {"hidden_size": 8, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2}
    config = transformers.LlamaConfig(**sizes, intermediate_size=10, vocab_size=11, max_position_embeddings=16)
    return transformers.LlamaForCausalLM(config)


def zero(*parts: tuple[torch.Tensor, int, object]) -> None:
    with torch.no_grad():
        for tensor, axis, positions in parts:
            tensor.movedim(axis, 0)[positions] = 0


def zeros_in_gpt2(m: Any) -> int:
    """A head (2 numbers) of the first block, 3 units of the second: one that is a constant, two that nothing reads."""
    first, second = m.transformer.h
    zero((first.attn.c_proj.weight, 0, [4, 5]), (second.mlp.c_fc.weight, 1, 0), (second.mlp.c_proj.weight, 0, [3, 9]))
    return 3 * (8 * 2 + 2) + 2 * 8 + 3 * (8 + 1 + 8)


def zeros_in_bert(m: Any) -> int:
    first, second = m.bert.encoder.layer
    zero((first.attention.output.dense.weight, 1, [0, 1]), (second.output.dense.weight, 1, [3, 9]))
    zero((second.intermediate.dense.weight, 0, 0))
    return 3 * (8 * 2 + 2) + 2 * 8 + 3 * (8 + 1 + 8)


def zeros_in_llama(m: Any) -> int:
    """Two heads that share their keys and values, two units whose gates are shut, one that nothing reads."""
    first, second = m.model.layers
    zero((first.self_attn.o_proj.weight, 1, [4, 5, 6, 7]), (second.mlp.gate_proj.weight, 0, [0, 4]))
    zero((second.mlp.down_proj.weight, 1, 7))
    return (4 + 2 + 2) * 8 + 8 * 4 + 3 * 3 * 8


CASES = {"gpt2": (gpt2, zeros_in_gpt2), "bert": (bert, zeros_in_bert), "llama": (llama, zeros_in_llama)}


def made(name: str) -> tuple[nn.Module, int, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    make, zeros = CASES[name]
    model = make().double()
    for param in model.parameters():
        nn.init.normal_(param, std=0.5)
    fewer = zeros(model)
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 5:] = 0
    return model, fewer, {"input_ids": torch.randint(0, 11, (3, 7)), "attention_mask": mask}


def logits(model: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(**batch).logits


@pytest.mark.parametrize("name", CASES)
def test_the_output_is_the_same_and_heads_and_units_are_gone(name: str) -> None:
    model, fewer, batch = made(name)
    small = meden.compact(model, batch)
    count = [sum(p.numel() for p in m.parameters()) for m in (model, small.model)]
    assert count[0] - count[1] == fewer
    for given in (batch, {**batch, "input_ids": torch.randint(0, 11, (3, 7))}):
        expected = logits(model, given)
        assert (logits(small.model, given) - expected).abs().max() <= 1e-10 * expected.abs().max()
    before = copy.deepcopy(model.state_dict())
    small.undo()
    assert all(torch.equal(tensor, before[key]) for key, tensor in small.model.state_dict().items())


def held(model: nn.Module, cuts: meden.edits.Cuts) -> nn.Module:
    """Hold all that leaves at what it is."""
    params = dict(model.named_parameters())
    for (name, axis), positions in cuts.gone.items():
        if name in params:
            mask = torch.ones_like(params[name])
            mask.movedim(axis, 0)[list(positions)] = 0
            params[name].register_hook(mask.mul)
    return model


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]) -> list[float]:
    losses = []
    for step in range(20):
        optimizer.zero_grad()
        words = (batch["input_ids"] + step) % 11
        loss = model(words, attention_mask=batch["attention_mask"]).logits.square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", CASES)
def test_training_goes_on_with_equal_losses(name: str) -> None:
    model, _, batch = made(name)
    cuts = meden.compact(model, batch, dry_run=True).cuts
    optimizer = torch.optim.AdamW(held(model, cuts).parameters(), lr=1e-2, weight_decay=0.0)
    train(model, optimizer, batch)
    large, expected = copy.deepcopy((model, optimizer))
    small = meden.compact(model, batch, optimizer=optimizer).model
    losses = train(small, optimizer, batch)
    torch.testing.assert_close(losses, train(held(large, cuts), expected, batch), rtol=1e-9, atol=0)
    assert losses[-1] < losses[0]


def test_a_smaller_model_writes_the_same_text() -> None:
    """Keys and values of earlier words are kept in a cache, of fewer heads."""
    for name in ("gpt2", "llama"):
        model, _, batch = made(name)
        small = meden.compact(model.eval(), batch).model
        start = batch["input_ids"][:1]
        texts = [m.generate(start, max_new_tokens=6, do_sample=False, pad_token_id=0) for m in (model, small)]
        assert torch.equal(*texts)


def test_a_head_that_shares_its_keys_stays_while_the_other_is_read() -> None:
    model, _, batch = made("llama")
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.weight[:, :2] = 0
    small = meden.compact(model, batch)
    assert small.model.model.layers[1].self_attn.q_proj.out_features == 8
