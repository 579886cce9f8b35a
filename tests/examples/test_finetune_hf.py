"""The example runs from end to end, with a tiny encoder and few sentences."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
import transformers

PATH = Path(__file__).parents[2] / "examples" / "finetune_hf.py"
WORDS = "the film is so very good fine poor dull".split()


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("finetune_hf", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=14, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def write(folder: Path, num: int, name: str) -> None:
    draws = np.random.default_rng(num)
    good = draws.integers(0, 2, num)
    texts = [f"the film is {draws.choice(['so', 'very'])} {WORDS[5 + 2 * (not is_good)]}" for is_good in good]
    labels = np.where(good, "positive", "negative")
    pd.DataFrame({"text": texts, "label": labels}).to_csv(folder / f"{name}.csv", index=False)


def test_it_ends_with_a_table(example, encoder, tmp_path, capsys, monkeypatch):
    data = tmp_path / "sst2"
    data.mkdir()
    write(data, 60, "train")
    write(data, 40, "test")
    monkeypatch.setattr(example, "encoder_folder", lambda: encoder)
    monkeypatch.setattr(example, "NUM_FIT", 32)
    monkeypatch.setattr(example, "NUM_STOP", 16)
    settings = "--seeds 2 --epochs 1 --budget 2 --jobs 1"
    right = example.main(["--data", str(tmp_path), *settings.split()])
    assert right.shape == (2, 4, 40) and right.dtype == bool
    table = capsys.readouterr().out
    for way in example.WAYS:
        assert any(way in line and "│" in line for line in table.splitlines()), table


def test_intervals_are_paired_over_seeds_and_rows(example):
    differences = np.random.default_rng(0).normal(0.2, 1.0, (5, 400))
    mean, half = example.interval(differences)
    assert mean == pytest.approx(differences.mean())
    assert 2.5 < half / np.sqrt(1 / 2000) < 6  # of independent ones, by t of four degrees, rows and seeds counted apart
    alone, _ = example.interval(differences[:1])
    assert alone == pytest.approx(differences[0].mean())


def test_a_missing_folder_is_one_line(example, capsys, monkeypatch):
    monkeypatch.delenv("MEDEN_DATA", raising=False)
    with pytest.raises(SystemExit):
        example.main([])
    assert "--data must be the folder that holds sst2/" in capsys.readouterr().err
    assert torch.get_num_threads() >= 1
