"""Dropout on residual branches: found by what a layer adds to its input, whatever the names are."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from meden._checks import InputError
from meden.edits import insert, residual_dropout
from meden.noise import Dropout, GaussianNoise, noise_layers, seed_noise

TINY = {
    "vocab_size": 64, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip
FAMILIES = {
    "Llama": ["self_attn", "mlp"],
    "Mistral": ["self_attn", "mlp"],
    "Qwen2": ["self_attn", "mlp"],
    "Qwen3": ["self_attn", "mlp"],
    "Gemma": ["self_attn", "mlp"],
    "Gemma2": ["post_attention_layernorm", "post_feedforward_layernorm"],
    "Mixtral": ["self_attn", "mlp"],
    "GPTNeoX": ["post_attention_dropout", "post_mlp_dropout"],
    "Phi": ["resid_dropout"],
    "GPT2": ["attn.resid_dropout", "mlp.dropout"],
}
HEAD = {"Qwen3", "Gemma", "Gemma2"}


def decoder(family: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    settings = TINY | ({"head_dim": 8} if family in HEAD else {})
    if family == "GPT2":
        settings = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, f"{family}Config")(**settings)
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_branches_of_decoders(family: str) -> None:
    model = decoder(family)
    before, names = copy.deepcopy(model), list(model.state_dict())
    plan = residual_dropout(model, 0.5, dry_run=True)
    assert not noise_layers(model)
    done = residual_dropout(model, 0.5)
    layers = "transformer.h" if family == "GPT2" else "gpt_neox.layers" if family == "GPTNeoX" else "model.layers"
    assert done.names == plan.names == [f"{layers}.{i}.{leaf}" for i in range(2) for leaf in FAMILIES[family]]
    assert list(model.state_dict()) == names
    assert all(float(layer.level) == 0.5 for layer in noise_layers(model).values())
    seed_noise(model, 0)
    ids = {"input_ids": torch.arange(4, 12).view(2, 4)}
    with torch.no_grad():
        one, other = model.train()(**ids).logits, model(**ids).logits
        assert not torch.allclose(one, other)
        done.undo()
        assert not noise_layers(model)
        assert torch.equal(model.eval()(**ids).logits, before.eval()(**ids).logits)


class Block(nn.Module):
    """x + branches(x), with a scale on the sum of the last two."""

    def __init__(self, parallel: bool, norm_behind: bool = False, scale: float = 1.0) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4)
        self.parallel, self.norm_behind, self.scale = parallel, norm_behind, scale

    def forward(self, x):
        if self.parallel:
            out = self.first(self.norm(x)) + self.second(self.norm(x)) + x
        else:
            x = x + self.first(self.norm(x))
            out = x + self.scale * self.second(self.norm(x))
        return self.norm(out) if self.norm_behind else (out, "cache")


class Net(nn.Module):
    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.body = nn.Module()
        self.body.layers = nn.ModuleList(blocks)

    def forward(self, x):
        for layer in self.body.layers:
            out = layer(x)
            x = out[0] if isinstance(out, tuple) else out
        return x


X = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_branches_are_found_in_any_order_and_precision(parallel: bool, dtype: torch.dtype) -> None:
    model = Net(Block(parallel), Block(parallel)).to(dtype)
    done = residual_dropout(model, 0.2, example=X.to(dtype))
    assert done.names == [f"body.layers.{i}.{leaf}" for i in range(2) for leaf in ("first", "second")]


def test_all_dropped_a_layer_is_the_identity() -> None:
    """Dropping nearly everything leaves the input, on both branches and nowhere else."""
    model = Net(Block(False)).train()
    residual_dropout(model, 1 - 1e-7, example=X)
    assert torch.equal(model(X), X)


def test_a_second_call_sets_the_probability_anew() -> None:
    model = Net(Block(True))
    residual_dropout(model, 0.2, example=X)
    done = residual_dropout(model, 0.3, example=X)
    assert done.names == ["body.layers.0.first.output_noise", "body.layers.0.second.output_noise"]
    assert [float(layer.p) for layer in noise_layers(model).values()] == pytest.approx([0.3, 0.3])
    done.undo()
    assert [float(layer.p) for layer in noise_layers(model).values()] == pytest.approx([0.2, 0.2])


def test_a_branch_with_other_noise_on_it_is_refused() -> None:
    model = Net(Block(True))
    insert(model, "body.layers.0.first", GaussianNoise(0.1), place="output")
    with pytest.raises(InputError, match="has noise already"):
        residual_dropout(model, 0.3, example=X)
    assert len(noise_layers(model)) == 1


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (Net(Block(False, norm_behind=True)), X, r"body\.layers\.0 \(Block\) is not the sum"),
        (Net(Block(False), Block(False, scale=0.5)), X, r"body\.layers\.1 \(Block\) is not the sum"),
        (Net(Block(False)), None, "example must be an input on which branches can be found"),
        (nn.Sequential(nn.Linear(4, 4)), X, "must have its layers in a ModuleList"),
    ],
)
def test_what_it_cannot_resolve_is_refused_by_name(model: nn.Module, example, message: str) -> None:
    with pytest.raises(InputError, match=message):
        residual_dropout(model, 0.1, example=example)
    assert not noise_layers(model)


def test_the_norm_behind_of_bert_is_refused_with_what_to_use() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    with pytest.raises(InputError, match=r"BertLayer.* or use set_dropout"):
        residual_dropout(transformers.BertForSequenceClassification(config), 0.1)


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_a_probability_out_of_range_is_refused(p: float) -> None:
    with pytest.raises(InputError, match="p must be"):
        residual_dropout(Net(Block(False)), p, example=X)


def test_own_dropout_at_the_end_of_a_branch_gets_the_probability() -> None:
    block = Block(False)
    block.first = nn.Sequential(nn.Linear(4, 4), Dropout(0.1))
    block.second = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1))
    model = Net(block)
    done = residual_dropout(model, 0.6, example=X)
    assert done.names == ["body.layers.0.first.1", "body.layers.0.second.1"]
    assert [float(layer.p) for layer in noise_layers(model).values()] == pytest.approx([0.6, 0.6])
    done.undo()
    assert float(block.first[1].p) == pytest.approx(0.1) and isinstance(block.second[1], nn.Dropout)


class Started(nn.Module):
    """x + attn + mlp, where the last layers may start at zero."""

    def __init__(self, zero: str) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(8), nn.Linear(8, 8), nn.LayerNorm(8)
        self.mlp = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        for layer, letter in ((self.attn, "a"), (self.mlp[2], "m")):
            if letter in zero:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


@pytest.mark.parametrize("zero", ["", "a", "m", "am"])
def test_branches_that_start_at_zero_are_found(zero: str) -> None:
    model = Net(Started(zero), Started(""))
    before = copy.deepcopy(model.state_dict())
    done = residual_dropout(model, 0.1, example=torch.randn(2, 3, 8))
    assert done.names == [f"body.layers.{i}.{leaf}" for i in range(2) for leaf in ("attn", "mlp")]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channel", [0.0, 5.0, 1000.0])
def test_few_bits_and_a_large_channel_hide_no_branch(dtype: torch.dtype, channel: float) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**TINY | {"hidden_size": 64, "intermediate_size": 64})
    )
    if channel:
        model.model.embed_tokens.weight.data[:, 3] = channel
    done = residual_dropout(model.to(dtype), 0.1)
    assert done.names == [f"model.layers.{i}.{leaf}" for i in range(2) for leaf in ("self_attn", "mlp")]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")
def test_adapters_that_start_at_zero_change_no_branch() -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"])
    model = peft.get_peft_model(decoder("Llama"), config)
    layers = "base_model.model.model.layers"
    done = residual_dropout(model, 0.1, dry_run=True)
    assert done.names == [f"{layers}.{i}.{leaf}" for i in range(2) for leaf in ("self_attn", "mlp")]


class Shifted(nn.Module):
    """Two pairs of outputs with one sum, of which the layer adds one, or both by halves."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.a, self.b, self.both = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False), both
        self.up, self.down = nn.Identity(), nn.Identity()

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        added = self.up(a + 1) + self.down(b - 1)
        return x + ((added + a + b) / 2 if self.both else added)


def test_a_layer_that_two_choices_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"body\.layers\.0 \(Shifted\) is not the sum .*several sums \(2\) are"):
        residual_dropout(Net(Shifted(False)), 0.1, example=torch.randn(2, 8))


def test_a_sum_that_only_fits_is_no_branch() -> None:
    """Without one pair, half of the other is left: only the first reaches both."""
    done = residual_dropout(Net(Shifted(True)), 0.1, example=torch.randn(2, 8))
    assert done.names == ["body.layers.0.a", "body.layers.0.b"]


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (3, X, "model must be a torch.nn.Module, got int"),
        (Net(Block(False)), "a", "example must be an input of Net .*, got str"),
        (
            Net(Block(False)),
            torch.ones(2, 7),
            r"example must be an input for them; body\.layers\.0 \(Block\) does not run: Runtime",
        ),
    ],
)
def test_what_is_no_model_or_no_input_is_refused_in_one_line(model, example, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        residual_dropout(model, 0.1, example=example)
    assert "\n" not in str(caught.value)
