"""The example runs from end to end, on few small digits."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

PATH = Path(__file__).parents[2] / "examples" / "digit_images.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Digits of 8 x 8 pixels, as 28 x 28 in a file like that of MNIST."""
    x, y = load_digits(return_X_y=True)
    images = np.pad(np.kron(x.reshape(-1, 8, 8), np.ones((3, 3))) * 15, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    parts = {"x_train": images[:500], "y_train": y[:500], "x_test": images[500:600], "y_test": y[500:600]}
    (tmp_path / "mnist").mkdir()
    np.savez(tmp_path / "mnist" / "mnist.npz", **parts)
    return tmp_path


@pytest.mark.parametrize(("net", "seeds", "epochs", "limit"), [("mlp", 2, 6, 40), ("conv", 1, 1, 100)])
def test_it_ends_with_a_table(
    net: str, seeds: int, epochs: int, limit: float, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("digit_images", PATH)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    numbers = ["--seeds", str(seeds), "--epochs", str(epochs), "--rows", "400"]
    example.main(["--data", str(folder), "--net", net, *numbers])
    table = capsys.readouterr().out
    for way in ("plain", "stopped early", "regularised"):
        (line,) = (line for line in table.splitlines() if way in line)
        error = float(line.split("│")[2].split("±")[0])
        assert 0 < error <= limit, line
