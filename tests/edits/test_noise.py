"""Noise put into finished models and taken out: bit-identical state and evaluation output."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from meden._checks import InputError
from meden.edits import Edits, insert, own_dropouts, remove, retune, set_dropout
from meden.noise import (
    DropConnect,
    Dropout,
    DropPath,
    EmbeddingNoise,
    GaussianNoise,
    Noise,
    SpatialDropout,
    mc_predict,
    noise_layers,
    seed_noise,
)
from meden.noise.rng import Moment
from meden.noise.schedules import linear_depth


def conv_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.1), nn.Flatten(), nn.Linear(144, 8), nn.ReLU(),
        nn.Dropout(0.1), nn.Linear(8, 3),
    )  # fmt: skip


def torch_encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def tiny_gpt2() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
    )
    return transformers.GPT2LMHeadModel(config)


def tiny_bert() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config)


def tokens() -> dict[str, Tensor]:
    return {"input_ids": torch.arange(12).view(2, 6)}


def images() -> Tensor:
    return torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def vectors() -> Tensor:
    return torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "conv net with batch norm": (conv_net, images),
    "torch TransformerEncoder": (torch_encoder, vectors),
    "GPT-2": (tiny_gpt2, tokens),
    "BERT": (tiny_bert, tokens),
}
OPERATIONS: dict[str, Callable[[nn.Module, Any], Edits]] = {
    "set_dropout": lambda model, x: set_dropout(model, 0.4, example=x),
    "dropout on inputs": lambda model, x: insert(model, -1, Dropout(0.4), example=x),
    "noise on weights": lambda model, x: insert(model, [0, -1], GaussianNoise(0.1), place="weight", example=x),
    "DropConnect": lambda model, x: insert(model, 0, DropConnect(0.4), example=x),
    "noise on outputs": lambda model, x: insert(model, 1, DropPath(0.4), example=x),
}
every_model = pytest.mark.parametrize("name", MODELS)
every_operation = pytest.mark.parametrize("operation", OPERATIONS)


def build(name: str) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    make, example = MODELS[name]
    return make(), example()


def run(model: nn.Module, x: Any) -> Tensor:
    y = model(**x) if isinstance(x, dict) else model(x)
    return y if isinstance(y, Tensor) else y.logits


def evaluate(model: nn.Module, x: Any) -> Tensor:
    with torch.no_grad():
        return run(copy.deepcopy(model).eval(), x)


def structure(model: nn.Module) -> list[Any]:
    hooks = [
        (len(m._forward_pre_hooks), len(m._forward_hooks), len(m._forward_hooks_always_called)) for m in model.modules()
    ]
    return [[(n, type(m), m.training) for n, m in model.named_modules()], list(model.state_dict()), hooks]


def train_two_steps(model: nn.Module, x: Any) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        run(model, x).square().mean().backward()
        optimizer.step()


@every_operation
@every_model
def test_insert_train_undo_is_bit_identical(name: str, operation: str) -> None:
    model, x = build(name)
    plain = copy.deepcopy(model)
    before, keys = structure(model), list(model.state_dict())
    torch.manual_seed(1)
    edits = OPERATIONS[operation](model, x)
    seed_noise(model, 3)
    assert edits.names and noise_layers(model)
    assert list(model.state_dict()) == keys
    model.train()
    noisy = run(copy.deepcopy(model), x)
    assert not torch.equal(noisy, run(copy.deepcopy(plain), x))  # the noise acts
    train_two_steps(model, x)
    trained = evaluate(model, x)
    edits.undo()
    assert structure(model) == before
    plain.load_state_dict(model.state_dict())
    assert torch.equal(evaluate(model, x), trained)
    assert torch.equal(evaluate(plain, x), trained)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), plain.state_dict().values(), strict=True))
    torch.manual_seed(2)
    after = run(model.train(), x)
    torch.manual_seed(2)
    assert torch.equal(after, run(plain.train(), x))


@every_operation
@every_model
def test_undo_without_training_and_dry_run_leave_no_trace(name: str, operation: str) -> None:
    model, x = build(name)
    before, state, output = structure(model), copy.deepcopy(model.state_dict()), evaluate(model, x)
    with OPERATIONS[operation](model, x):
        assert torch.equal(evaluate(model, x), output)
    set_dropout(model, 0.3, dry_run=True)
    insert(model, -1, Dropout(0.3), dry_run=True)
    assert structure(model) == before
    assert torch.equal(evaluate(model, x), output)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


@every_model
def test_a_seed_and_a_copy_repeat_the_noise(name: str) -> None:
    model, x = build(name)
    own_dropouts(model)
    insert(model, [0, -1], Dropout(0.4))
    seed_noise(model, 3)
    twin = copy.deepcopy(model)
    functional = copy.deepcopy(model)
    state = {**dict(functional.named_parameters()), **dict(functional.named_buffers())}
    first = run(model, x)
    assert torch.equal(first, run(twin, x))
    kwargs = x if isinstance(x, dict) else {}
    y = functional_call(functional, state, () if kwargs else (x,), kwargs)
    assert torch.equal(first, y if isinstance(y, Tensor) else y.logits)
    assert not torch.equal(first, run(model, x))  # the next step
    seed_noise(model, 4)
    assert not torch.equal(first, run(model, x))


def test_attention_dropout_is_found_and_set() -> None:
    encoder, gpt2, bert = torch_encoder(), tiny_gpt2(), tiny_bert()
    assert "layers.0.self_attn.dropout" in set_dropout(encoder, 0.3).names
    assert encoder.layers[0].self_attn.dropout == 0.3
    assert {"transformer.drop", "transformer.h.1.attn.attn_dropout"} <= set(set_dropout(gpt2, 0.3).names)
    assert "bert.encoder.layer.0.attention.self.dropout" in set_dropout(bert, 0.3).names
    for model, x, everything_else in ((encoder, vectors(), ".dropout"), (gpt2, tokens(), "drop"), (bert, tokens(), "")):
        for name, layer in noise_layers(model).items():
            attention = "attn_dropout" in name or "attention.self" in name
            if not attention and everything_else in name:
                layer.set_level(0.0)
        torch.manual_seed(0)
        first, second = run(model.train(), x), run(model, x)
        assert not torch.equal(first, second), "attention dropout does not act"


def test_set_dropout_inserts_on_hidden_activations_only() -> None:
    model = nn.Sequential(nn.Conv1d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    assert set_dropout(model, 0.2).names == ["3", "5"]
    assert set_dropout(model, 0.4).names == ["3.input_noise", "5.input_noise"]  # a second call retunes
    assert [round(layer.level.item(), 6) for layer in noise_layers(model).values()] == [0.4, 0.4]
    assert set_dropout(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), 0.0).names == ["1"]
    with pytest.raises(InputError, match="hidden layer, got Linear"):
        set_dropout(nn.Linear(2, 2), 0.5)
    with pytest.raises(InputError, match=r"dropout must be .* in \[0, 1\), got 1"):
        set_dropout(model, 1.0)


def test_set_dropout_over_the_depth_goes_by_the_order_of_the_layers() -> None:
    three = [nn.Linear(2, 2), nn.Dropout(0.9), nn.Linear(2, 2), Dropout(0.9), nn.Linear(2, 2), nn.Dropout(0.9)]
    for shape, expected in {
        "constant": [0.6, 0.6, 0.6],
        "linear": [0.2, 0.4, 0.6],
        "funnel": [0.6, 0.4, 0.2],
        "diamond": [0.3, 0.6, 0.3],
    }.items():
        for layers in (three, [nn.Linear(2, 2) for _ in range(4)]):  # with dropout, and without
            model = copy.deepcopy(nn.Sequential(*layers))
            set_dropout(model, 0.6, shape=shape)
            levels = [layer.level.item() for layer in noise_layers(model).values()]
            assert levels == pytest.approx(expected), (shape, len(layers))
    encoder = torch_encoder()  # attributes and layers, block by block
    set_dropout(encoder, 0.4, shape="linear")
    attention = [block.self_attn.dropout for block in encoder.layers]
    assert (
        attention[0] == 0.05 and attention[1] == 0.25 and encoder.layers[1].dropout2.level.item() == pytest.approx(0.4)
    )
    with pytest.raises(InputError, match="dropout_shape must be one of constant, linear, funnel, diamond, got 'cone'"):
        set_dropout(model, 0.1, shape="cone")


def test_layers_that_are_never_called_receive_no_noise() -> None:
    names = insert(torch_encoder(), nn.Linear, Dropout(0.1), dry_run=True).names
    assert names == ["layers.0.linear1", "layers.0.linear2", "layers.1.linear1", "layers.1.linear2"]
    with pytest.raises(InputError, match="at least one layer"):
        insert(torch_encoder(), "*.out_proj", Dropout(0.1))


def test_monte_carlo_prediction_acts_in_torch_encoders() -> None:
    model = torch_encoder()
    set_dropout(model, 0.3)
    assert (mc_predict(model, vectors(), num_samples=3).spread > 0).all()


def test_recurrent_dropout_is_set_between_layers_only() -> None:
    class Reader(nn.Module):
        def __init__(self, num_layers: int) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(3, 4, num_layers), nn.Linear(4, 2)

    assert set_dropout(Reader(2), 0.3).names == ["lstm.dropout"]
    with pytest.raises(InputError, match="hidden layer"):
        set_dropout(Reader(1), 0.3)


def test_own_dropouts_keep_their_p_and_their_kind() -> None:
    model = conv_net().eval()
    assert own_dropouts(model).names == ["3", "7"]
    assert isinstance(model[3], SpatialDropout) and isinstance(model[7], Dropout)
    assert not model[3].training
    assert model[3].p.item() == pytest.approx(0.1)
    assert own_dropouts(nn.Linear(1, 1)).names == []


def test_a_dropout_used_twice_is_replaced_twice_and_put_back() -> None:
    shared = nn.Dropout(0.1)
    model = nn.Sequential(nn.Linear(2, 2), shared, nn.Linear(2, 2), shared)
    edits = set_dropout(model, 0.3)
    assert isinstance(model[1], Dropout) and isinstance(model[3], Dropout)
    edits.undo()
    assert model[1] is shared and model[3] is shared


def test_retune_and_remove() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), Dropout(0.2), nn.Linear(3, 1))
    insert(model, nn.Linear, Dropout(0.1))
    names = list(noise_layers(model))
    assert names == ["0.input_noise", "1.input_noise", "2", "3.input_noise"]
    edits = retune(model, linear_depth(0.4, 4))
    levels = [round(layer.level.item(), 6) for layer in noise_layers(model).values()]
    assert levels == [0.1, 0.2, 0.3, 0.4]
    assert retune(model, 0.5, on=-1).names == ["3.input_noise"]
    edits.undo()
    assert [round(layer.level.item(), 6) for layer in noise_layers(model).values()] == [0.1, 0.1, 0.2, 0.1]
    taken = remove(model, example=torch.ones(2, 3))
    assert list(noise_layers(model)) == ["2"] and model[2].level == 0
    assert structure(model)[2] == [(0, 0, 0)] * 5
    taken.undo()
    assert list(noise_layers(model)) == names
    with pytest.raises(InputError, match="got 2"):
        retune(model, [0.1, 0.2])
    with pytest.raises(InputError, match="p must be"):
        retune(model, 1.0)


def test_the_table_and_the_selectors() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    edits = insert(model, nn.Embedding, EmbeddingNoise(5.0), dry_run=True)
    assert str(edits).splitlines() == [
        "name  layer      before  after",
        "0     Embedding  -       EmbeddingNoise(alpha=5) on output",
    ]
    for on, names in (("*", ["0", "1", "2"]), (1, ["1"]), (-1, ["2"]), ([0, "2"], ["0", "2"]), (nn.Linear, ["2"])):
        assert insert(model, on, Dropout(0.1), dry_run=True).names == names
    assert not noise_layers(model)


def test_what_matches_nothing_is_named_with_the_nearest_name() -> None:
    model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 1)})
    with pytest.raises(InputError, match=r"got 'encodr'; did you mean 'encoder'\?"):
        insert(model, "encodr", Dropout(0.1))
    with pytest.raises(InputError, match="at least one layer"):
        insert(model, 7, Dropout(0.1))
    with pytest.raises(InputError, match="at least one noise layer"):
        retune(model, 0.1)


def test_noise_that_changes_evaluation_is_refused_and_undone() -> None:
    class Broken(Noise):
        def _perturb(self, x: Tensor, _at: Moment) -> Tensor:
            return x

        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(InputError, match="output in evaluation"):
        insert(model, 0, Broken(0.1), example=torch.ones(1, 2))
    assert not noise_layers(model)


def test_noise_moves_with_the_model() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).to("meta")
    set_dropout(model, 0.1)
    assert {b.device.type for b in model.buffers()} == {"meta"}


def test_noise_of_a_wrapped_model_is_found_by_the_names_inside():
    wrapped = nn.DataParallel(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1)))
    assert insert(wrapped, "0", Dropout(0.5)).names == ["0"]
    assert remove(wrapped).names == ["0"]
    assert not list(wrapped.module[0].children())
