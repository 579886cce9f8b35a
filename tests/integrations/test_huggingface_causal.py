"""Causal models of transformers by a configuration or a local folder, in meden's own training."""

from __future__ import annotations

import functools
import json

import pytest
import torch

import meden
from meden import InputError
from meden.checkpoint import model_tensors

pytest.importorskip("transformers")
import transformers

from meden.integrations.huggingface import causal_model


def gpt2(**options):
    small = {"vocab_size": 13, "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
    return transformers.GPT2Config(**small | {"bos_token_id": 0, "eos_token_id": 0} | options)


def llama():
    return transformers.LlamaConfig(
        vocab_size=13, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    transformers.GPT2LMHeadModel(gpt2()).save_pretrained(tmp_path / "whole")
    gpt2().save_pretrained(tmp_path / "config")
    return tmp_path


TOKENS = torch.randint(0, 13, (20, 9), generator=torch.Generator().manual_seed(0))
X, Y = TOKENS[:, :-1], TOKENS[:, 1:]


@pytest.mark.parametrize("config", [gpt2, llama])
def test_fit_trains_what_a_configuration_says(config):
    torch.manual_seed(0)
    model = causal_model(config())
    assert model.training and torch.equal(model.eval()(X), model.model.eval()(input_ids=X).logits)
    run = meden.fit(model, (X, Y), recipe=meden.Recipe(lr=0.01, epochs=3, batch_size=10))
    assert run.history[-1].train["loss"] < run.history[0].train["loss"] < 3


def test_its_loss_is_that_of_meden_where_labels_are_padded():
    model = causal_model(gpt2()).eval()
    y = Y.clone()
    y[:, 5:] = -100
    y[3, 2:] = -100
    with torch.no_grad():
        theirs = model.model(input_ids=X, shift_labels=y, labels=y).loss
    found = meden.objective.evaluate(model, [(X, y)], "classification")
    assert found["loss"] == pytest.approx(float(theirs), rel=1e-5)


def test_weights_of_a_folder_are_the_start(folder):
    whole, drawn = causal_model(folder / "whole"), causal_model(folder / "whole", pretrained=False)
    saved = transformers.GPT2LMHeadModel.from_pretrained(folder / "whole", local_files_only=True)
    assert all(torch.equal(own, saved.state_dict()[name]) for name, own in whole.model.state_dict().items())
    assert not torch.equal(drawn.model.transformer.wte.weight, saved.transformer.wte.weight)
    assert causal_model(str(folder / "config")).model.config.n_embd == 8


def test_settings_can_be_searched():
    members = [meden.Member(meden.Recipe(epochs=1, batch_size=10), None, 0, {"n_layer": depth}) for depth in (1, 2)]
    data = torch.utils.data.TensorDataset(X, Y)
    with pytest.warns(UserWarning, match="one by one"):
        runs = meden.fit_many(functools.partial(causal_model, gpt2()), members, data)
    assert [len(run.model.model.transformer.h) for run in runs] == [1, 2]
    with pytest.warns(UserWarning, match="one by one"):
        again = meden.fit_many(functools.partial(causal_model, gpt2()), members[:1], meden.data.TensorSource(X, Y))
    ours, theirs = model_tensors(runs[0].model), model_tensors(again[0].model)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_nothing_is_fetched_and_what_is_missing_costs_one_line(folder, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", None)  # whoever asks for it fails
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "config.json").write_text(json.dumps({"model_type": "no such model"}))
    pickled = folder / "pickled"
    gpt2().save_pretrained(pickled)
    (pickled / "pytorch_model.bin").write_bytes(b"not read")
    for source, options, message in (
        ("gpt2", {}, r"source 'gpt2' must be a folder with config\.json, got none there; nothing is downloaded"),
        (folder / "empty", {}, r"got a folder without config\.json"),
        (folder / "other", {}, r"holds no model configuration"),
        (pickled, {"pretrained": True}, r"no model\.safetensors"),
        (gpt2(), {"pretrained": True}, r"no model\.safetensors, as in 'GPT2Config'"),
        (gpt2(), {"num_layers_": 3}, r"num_layers_ must be a setting of GPT2Config"),
        (7, {}, r"source must be a folder or a configuration of transformers, got int"),
        (transformers.ViTConfig(), {}, r"'ViTConfig' is not a causal language model"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            causal_model(source, **options)
        assert "\n" not in str(caught.value)
    assert causal_model(pickled).model.config.n_embd == 8
