"""The example of a text that repeats runs from end to end, and its benchmark resumes."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Return a text in which each letter has a few that may follow it."""
    rng = np.random.default_rng(0)
    letters, path = "abcdefgh \n", tmp_path_factory.mktemp("text") / "text.txt"
    places = rng.integers(1, 4, size=12_000).cumsum() % len(letters)
    path.write_text("".join(letters[place] for place in places))
    return path


@pytest.fixture(scope="module")
def example():
    return load(ROOT / "examples" / "repeated_text.py")


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_windows_of_two_blocks_share_no_character_that_is_predicted(example, text):
    found = example.read(text, share=0.3, num_blocks=4)
    whole = text.read_text()[: int(0.27 * 12_000)]
    letters = found.judge.vocabulary
    starts = [whole.index(letters.decode(row.tolist())) for row in found.x]
    places = [set(range(start, start + 65)) for start in starts]
    for one, other in ((0, 1), (1, 2), (2, 3)):
        here, there = (
            set.union(*(p for p, b in zip(places, found.blocks, strict=True) if b == k)) for k in (one, other)
        )
        assert not here & there
    assert torch.equal(found.x[:, 1:], found.y[:, :-1]) and len(set(starts)) == len(starts)
    assert letters.decode(found.x[0].tolist()) == whole[:64]


def test_a_text_too_short_for_its_blocks_is_refused(example, text):
    with pytest.raises(example.meden.InputError, match="must give 12 blocks a window each, got 323 characters"):
        example.read(text, share=0.03)


def test_the_example_says_what_was_gained(example, text, capsys, monkeypatch):
    monkeypatch.setattr(example, "CONTEXT", 16)
    monkeypatch.setattr(
        example, "make_model", lambda num_outputs: example.Decoder(16, num_outputs, width=8, depth=1, num_heads=2)
    )
    found = example.main(text, budget=2, epochs=2, share=0.15)
    told = capsys.readouterr().out
    assert list(found) == ["plain, at the end", "plain, at its best epoch", "chosen", "decay, dropout and EMA by hand"]
    assert found["plain, at its best epoch"] <= found["plain, at the end"] and max(found.values()) < 2.4
    assert "Expected on new rows: " in told and re.search(rf"chosen +{found['chosen']:.4f} ", told)


def test_the_benchmark_goes_on_where_it_was_cut_off(text, tmp_path):
    benchmark = load(ROOT / "benchmarks" / "repeated_text.py")
    out = tmp_path / "runs.jsonl"
    given = [
        "--text",
        str(text),
        "--out",
        str(out),
        "--share",
        "0.12",
        "--budget",
        "2",
        "--epochs",
        "1",
        "--seeds",
        "1",
    ]
    rows = benchmark.main(given)
    lines = out.read_text().splitlines()
    assert len(lines) in (3, 4) and len(rows) == len(lines) + 2
    out.write_text(lines[0] + "\n" + lines[1][:20])
    assert len(benchmark.main([*given, "--report"])) == 3
    benchmark.main(given)
    losses = [[json.loads(line)["losses"] for line in part] for part in (lines, out.read_text().splitlines())]
    assert losses[0] == losses[1]
