"""The two benchmarks of the dropout paper's networks run at tiny size and go on where they were cut off."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

import meden
from meden.params import select_modules

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])  # the second imports the first
    monkeypatch.delitem(sys.modules, "mnist_regularizers", raising=False)
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delitem(sys.modules, "mnist_regularizers", raising=False)
    return module


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with images of ten classes, each a bright block of its own in noise, and wrong labels."""
    folder = tmp_path_factory.mktemp("data")
    rng, arrays = np.random.default_rng(0), {}
    for part, num in (("train", 300), ("test", 200)):
        y = rng.integers(0, 10, num).astype(np.uint8)
        x = rng.integers(0, 150, (num, 28, 28)).astype(np.uint8)
        for image, label in zip(x, y, strict=True):
            image[2 * label : 2 * label + 4] += 60
        y = np.where(rng.random(num) < 0.3, rng.integers(0, 10, num), y).astype(np.uint8)
        arrays |= {f"x_{part}": x, f"y_{part}": y}
    (folder / "mnist").mkdir()
    np.savez(folder / "mnist" / "mnist.npz", **arrays)
    return folder


@pytest.fixture
def small(monkeypatch):
    """Return the first benchmark with a small network."""
    benchmark = load("mnist_regularizers", monkeypatch)
    monkeypatch.setattr(benchmark, "SIZES", (784, 16, 8))
    monkeypatch.setattr(benchmark, "SECONDS", 0.01)
    return benchmark


def arguments(data, out, *, epochs=2):
    given = ["--data", str(data), "--out", str(out), "--rows", "300", "--epochs", str(epochs), "--choose-epochs", "1"]
    return [*given, "--seeds", "1"]


def test_every_way_trains_and_a_file_that_was_cut_off_gives_the_same_table(small, data, tmp_path):
    out = tmp_path / "lines.jsonl"
    rows = small.main(arguments(data, out))
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 2 + 9 + 1 and len(written) == 9 * 4
    assert all(line["status"] == "completed" and 0 <= line["error"] <= 100 for line in written)
    assert not list((tmp_path / "lines.parts").glob("*.safetensors"))

    whole = out.read_text().splitlines()
    out.write_text("\n".join(whole[:30]) + "\n" + whole[30][:40])
    assert "1 missing" in "".join(small.main([*arguments(data, out), "--report"]))
    small.main(arguments(data, out))
    again = small.Lines(out).all()
    assert [line | {"cpu_seconds": 0} for line in again] == [line | {"cpu_seconds": 0} for line in written]


def test_a_killed_training_goes_on_from_its_last_epoch(small, data, tmp_path, monkeypatch):
    given = [*arguments(data, tmp_path / "a.jsonl", epochs=4), "--ways", "dropout + max-norm + EMA"]
    small.main(given)
    (line,) = small.Lines(tmp_path / "a.jsonl").find({"stage": "test"})

    steps, step = [], torch.optim.SGD.step
    given[given.index(str(tmp_path / "a.jsonl"))] = str(tmp_path / "b.jsonl")

    def killed(self, *args, **kwargs):
        steps.append(1)
        if len(steps) == 3 * 3 + 3 * 2 + 2:  # 3 choose in 3 steps each; the third of four epochs
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        small.main(given)
    assert len(list((tmp_path / "b.parts").glob("*.safetensors"))) == 1
    before = len(steps)
    small.main(given)
    assert len(steps) - before == 2 * 3, "two epochs of four were done before"
    (resumed,) = small.Lines(tmp_path / "b.jsonl").find({"stage": "test"})
    assert {**resumed, "cpu_seconds": 0} == {**line, "cpu_seconds": 0}


def test_what_another_process_trains_is_left_to_it(small, tmp_path):
    lines, key = small.Lines(tmp_path / "lines.jsonl"), {"way": "L2", "seed": 0}
    with lines.claim(key) as checkpoint, lines.claim(key) as second:
        assert checkpoint is not None and second is None
    with FileLock(checkpoint.with_suffix(".lock")), lines.claim(key) as held:
        assert held is None
    lines.add(key | {"error": 1.0})
    with lines.claim(key) as done:
        assert done is None


def test_the_lowest_held_out_error_is_chosen_once_all_settings_have_one(small, tmp_path):
    lines = small.Lines(tmp_path / "lines.jsonl")
    key = {"way": "L2", "rows": 60, "choose_epochs": 1}
    for setting, error in enumerate((2.0, 1.5, 1.7)):
        assert small.chosen(key | {"stage": "test"}, lines) is None
        lines.add(key | {"stage": "choose", "setting": setting, "error": error, "loss": 0.1})
    lines.add(key | {"rows": 50, "stage": "choose", "setting": 2, "error": 0.0, "loss": 0.1})
    assert small.chosen(key | {"stage": "test"}, lines) == 1


def test_pairs_are_counted_that_lie_as_the_papers_do(small):
    paper = {way: error for way, (error, _) in small.WAYS.items() if error is not None}
    assert len(paper) == 6 and small.in_order(paper).startswith("15 of 15 pairs")
    swapped = {**paper, "L2": paper["max-norm"], "max-norm": paper["L2"], "none": 9.0}
    assert small.in_order(swapped).startswith("10 of 15 pairs")  # L2, L2 + L1, L2 + KL lie between the two


def test_recipes_are_those_of_the_paper(small):
    p = 0.5
    drops = [float(layer.p) for layer in small.network(p) if hasattr(layer, "p")]
    assert drops == pytest.approx([0.2] + [0.5] * (len(small.SIZES) - 1))
    assert not any(hasattr(layer, "p") for layer in small.network())
    recipe = small.recipe_of({"lr": 0.1, "l2": 1e-4, "l1": 1e-5, "kl": 1e-3}, epochs=20, num_rows=60_000)
    late = next(r.schedule for r in recipe.regularizers if r.label == "L1(weights)")
    assert (late.factor(8_999), late.factor(9_000)) == (0, 1)
    (kl,) = recipe.activity
    assert set(select_modules(small.network(), kl.on)) == {f"relu{n}" for n in range(1, len(small.SIZES))}


def test_the_second_benchmark_scores_the_model_that_tune_would_train(data, tmp_path, monkeypatch):
    benchmark = load("mnist_data_size", monkeypatch)
    monkeypatch.setattr(benchmark, "NUM_TEST", 200)

    def make_model():
        return meden.models.MLP(784, 10, width=32, depth=2)

    monkeypatch.setattr(benchmark, "make_model", make_model)
    out = tmp_path / "lines.jsonl"
    given = ["--data", str(data), "--out", str(out), "--sizes", "100", "200", "--steps", "40", "--seeds", "1"]
    rows = benchmark.main(given)
    assert len(rows) == 2 + 2 and "1 of 1" in rows[-1]
    lines = benchmark.Lines(out).all()
    assert [line["size"] for line in lines] == [100, 200]

    assert min(lines[1]["errors"]) < 70 and len(set(lines[1]["errors"])) > 1, "they learn, and differ"

    x, y = benchmark.read(data)
    for line in lines:
        picked = np.random.default_rng([0, line["size"]]).permutation(300)[: line["size"]]
        (folder,) = (tmp_path / "lines.parts").glob(f"{line['size']}-*.study")
        study = meden.load_study(folder)
        run = study.refit(data=(x[picked], y[picked]), make_model=make_model)
        wrong = 100 * float((run.predict(x[300:]).values != y[300:]).mean())
        assert wrong == pytest.approx(line["errors"][benchmark.DROPOUTS.index(line["chosen"])])

    out.write_text(out.read_text().splitlines()[0] + "\n")
    assert "0 of 1" in benchmark.main([*given, "--report"])[-1]
    assert benchmark.main(given) == rows
