"""The example of a transferred decay runs from end to end, and its benchmark resumes."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Return a text in which each letter has a few that may follow it."""
    rng = np.random.default_rng(0)
    letters, path = "abcdefgh \n", tmp_path_factory.mktemp("text") / "text.txt"
    place, written = 0, []
    for step in rng.integers(1, 4, size=12_000):
        place = (place + step) % len(letters)
        written.append(letters[place])
    path.write_text("".join(written))
    return path


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_checks_what_it_transferred(text, capsys, monkeypatch):
    example = load(ROOT / "examples" / "transfer.py")
    monkeypatch.setattr(example, "DECAYS", (0.3, 1.0, 3.0))
    monkeypatch.setattr(example, "RATES", (0.02,))
    found = example.main(text, width=64, epochs=2, seeds=2, share=0.2)
    assert next(iter(found)) == "transferred" and all(0 < loss < 2.3 for loss in found.values())
    told = capsys.readouterr().out
    chosen = float(re.search(r"decay ([\d.e-]+) \(times", told)[1])
    moved = float(re.search(r"width 64: rates of matrices x 0.5, decay ([\d.e-]+)", told)[1])
    assert moved == pytest.approx(2 * chosen, rel=0.01)


def test_the_benchmark_goes_on_where_it_was_cut_off_and_tells_regret(text, tmp_path):
    benchmark = load(ROOT / "benchmarks" / "transfer.py")
    out = tmp_path / "runs.jsonl"
    given = ["--text", str(text), "--out", str(out), "--steps", "4", "--share", "0.2", "--widths", "16", "32"]
    given += ["--strengths", "0.3", "3", "--seeds", "1"]
    rows = benchmark.main(given)
    lines = out.read_text().splitlines()
    assert len(lines) == 4 and len(rows) == 4
    out.write_text("\n".join(lines[:2]) + "\n" + lines[2][:20])
    assert "not complete" in benchmark.main([*given, "--report"])[-1]
    assert benchmark.main(given) == rows
    losses = [[json.loads(line)["loss"] for line in part] for part in (lines, out.read_text().splitlines())]
    assert losses[0] == losses[1]


def test_the_benchmark_finds_a_planted_best_and_what_missing_it_costs():
    benchmark = load(ROOT / "benchmarks" / "transfer.py")
    strengths = np.asarray(benchmark.STRENGTHS)
    curve = 2 + 0.01 * np.log(strengths / 0.8) ** 2
    assert np.exp(benchmark.best(strengths, curve)) == pytest.approx(0.8)
    losses = np.stack([curve, curve + 0.1])
    assert benchmark.regret(strengths, losses, np.log(0.8)) == pytest.approx([0, 0], abs=1e-3)
    assert benchmark.regret(strengths, losses, np.log(3.0)) == pytest.approx([curve[3] - 2] * 2, abs=1e-3)
