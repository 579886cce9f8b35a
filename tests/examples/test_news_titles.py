"""The example runs from end to end, on few texts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

PATH = Path(__file__).parents[2] / "examples" / "news_titles.py"
WORDS = {"titles": ["股市", "球赛", "考试", "电影"], "sst2": ["good ", "fine ", "poor ", "dull "]}


def example():
    spec = importlib.util.spec_from_file_location("news_titles", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Texts of two classes, each with its own words."""
    rng = np.random.default_rng(0)
    for task, words in WORDS.items():
        name = {"titles": "thucnews_titles", "sst2": "sst2"}[task]
        (tmp_path / name).mkdir()
        for part, size in {"train": 120, "test": 40, "dev": 30}.items():
            label = rng.integers(0, 2, size)
            texts = ["".join(rng.choice(words[2 * c : 2 * c + 2], 5)) for c in label]
            if part != "dev" or task == "sst2":
                pd.DataFrame({"text": texts, "label": label}).to_csv(tmp_path / name / f"{part}.csv", index=False)
    return tmp_path


@pytest.mark.parametrize("task", ["titles", "sst2"])
def test_it_ends_with_a_table(task, folder, capsys):
    accuracy = example().main(["--data", str(folder), "--task", task, "--seeds", "2", "--epochs", "8"])
    assert accuracy.shape == (2, 2) and accuracy.min() > 0.9
    said = capsys.readouterr().out
    for way in ("plain", "regularised", "difference"):
        (line,) = (line for line in said.splitlines() if f" {way} " in line)
        assert line.count("│") == 5 and "±" in line


def test_the_tested_rows_choose_nothing(folder):
    module = example()
    titles = module.load("titles", folder)
    fit, stop, score = (set(part) for part in (titles.fold.fit, titles.fold.stop, titles.fold.score))
    assert (len(fit), len(stop), len(score)) == (108, 12, 40) and len(fit | stop | score) == 160
    path = folder / "thucnews_titles" / "test.csv"
    test = pd.read_csv(path)
    test["text"] = "另外的字"
    test.to_csv(path, index=False)
    changed = module.load("titles", folder)
    assert changed.num_tokens == titles.num_tokens
    assert (changed.x[titles.fold.fit] == titles.x[titles.fold.fit]).all()
    assert (changed.x[titles.fold.score] <= 1).all()  # unknown
