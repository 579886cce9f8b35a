"""The example of smaller models runs from end to end for each task, on little data."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import meden

PATH = Path(__file__).parents[2] / "examples" / "smaller_model.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[PATH.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[PATH.stem]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Return images of which each class has a bright row of its own."""
    rng = np.random.default_rng(0)
    path, arrays = tmp_path_factory.mktemp("digits") / "digits.npz", {}
    for part, n in (("train", 300), ("test", 60)):
        y = rng.integers(0, 10, n)
        x = rng.integers(0, 40, (n, 28, 28))
        x[:, :, 14:] = 0  # nothing pulls at the weights of these
        x[np.arange(n), 2 * y + 3, :14] += 200
        arrays |= {f"x_{part}": x.astype(np.uint8), f"y_{part}": y.astype(np.uint8)}
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("to be or not to be, that is the question\n" * 100)
    return path


@pytest.mark.parametrize(("task", "strength"), [("mlp", 5e-4), ("conv", 1e-2), ("text", 1e-2)])
def test_each_task_becomes_smaller_and_keeps_its_output(example, digits, text, task, strength, capsys, monkeypatch):
    monkeypatch.setattr(example, "milliseconds", lambda models, _: [1.0] * len(models))
    path = text if task == "text" else digits
    made = example.TASKS[task](path)
    short = {"steps_per_epoch": 10} if task == "text" else {"batch_size": 8}
    quick = made.recipe.replace(epochs=2, schedule=meden.Schedule(), **short)
    kept = {name: getattr(made, name) for name in ("make_model", "train", "test", "example", "penalties", "unit")}
    made = example.Task(recipe=quick, refit=quick.replace(epochs=1), **kept)
    plain = meden.fit(made.make_model(), made.train, recipe=quick)
    found = example.experiment(made, strength, 0, plain)
    assert found["parameters"] > 1 and found["products"] > 1
    assert found["small"] == pytest.approx(found["sparse"], abs=1e-4)
    assert re.search(r"parameters [\d,]+ -> [\d,]+ \(", capsys.readouterr().out)
