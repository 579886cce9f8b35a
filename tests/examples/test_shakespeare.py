"""The example runs from end to end, on a text of a few rules."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import meden

PATH = Path(__file__).parents[2] / "examples" / "shakespeare.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("shakespeare", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_ends_with_the_loss_of_all_that_was_held_out_and_a_sample(example, tmp_path, capsys):
    text = "".join(f"KING:\nWe are {i % 7} of {i % 5}.\n\n" for i in range(400))
    path = tmp_path / "input.txt"
    path.write_text(text)
    run = example.main(path, steps=60)
    told = capsys.readouterr().out
    assert [record.step for record in run.history] == [30, 60]
    assert "step    60: loss" in told and "tokens a second" in told and "of the machine's products" in told
    train, last = example.load(path, 64)
    x, y = (torch.cat(part) for part in zip(*last.read([range(len(last))]), strict=True))
    lost = F.cross_entropy(run.model(x).flatten(0, 1), y.flatten()).item()
    assert f"nats per character of the last {len(text) - int(0.9 * len(text)):,}: {lost:.4f}" in told
    assert lost < 1.5, "it has learnt next to nothing"
    assert str(meden.diagnose(run)) in told
    assert run.num_rows < len(train), "no window was held out"
    written = told[-500:]
    assert set(written) <= set(text) and "KING:" in written


def test_what_it_writes_is_decided_by_the_seed_alone(example):
    torch.manual_seed(0)
    vocabulary = example.Characters.of(["ab\n"])
    model = example.Decoder(8, 3, width=8, num_heads=2, depth=1)
    texts = [example.sample(model, vocabulary, 40, seed=seed) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2] and len(texts[0]) == 40
