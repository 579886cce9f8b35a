"""The example runs from end to end, on few recordings of tones."""

from __future__ import annotations

import importlib.util
import wave
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "examples" / "spoken_digits.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of three voices, two digits and twelve numbers: the digit is the pitch."""
    data = tmp_path_factory.mktemp("data")
    (data / "fsdd").mkdir()
    rng = np.random.default_rng(0)
    for digit in range(2):
        for speaker, voice in {"ann": 1.0, "bob": 1.1, "cleo": 0.9}.items():
            for number in range(12):
                times = np.arange(rng.integers(2000, 4000)) / 8000
                sound = 0.3 * np.sin(2 * np.pi * 400 * (1 + 2 * digit) * voice * times) + rng.normal(
                    0, 0.01, len(times)
                )
                with wave.open(str(data / "fsdd" / f"{digit}_{speaker}_{number}.wav"), "wb") as file:
                    file.setparams((1, 2, 8000, 0, "NONE", ""))
                    file.writeframes((sound * 2**15).astype("<i2").tobytes())
    return data


def example():
    spec = importlib.util.spec_from_file_location("spoken_digits", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("split", "seeds", "tested"),
    [("official", 2, ["recordings 0-4"]), ("speakers", 1, ["ann", "bob", "cleo", "mean of seeds"])],
)
def test_it_ends_with_a_table(split, seeds, tested, folder, capsys):
    numbers = ["--seeds", str(seeds), "--epochs", "6" if split == "official" else "1"]
    accuracy = example().main(["--data", str(folder), "--split", split, *numbers])
    assert accuracy.shape == (2, 3 if split == "speakers" else 1, seeds)
    said = capsys.readouterr().out
    for name in tested:
        (line,) = (line for line in said.splitlines() if line.startswith("│") and f" {name} " in line)
        assert line.count("│") == 5
    if split == "official":
        assert accuracy[0].mean() >= 0.9  # tones of two pitches


def test_nothing_that_trains_is_tested(folder):
    module = example()
    digits = module.load(folder)
    assert digits.x.shape == (72, 1, 24, 32) and digits.y.bincount().tolist() == [36, 36]
    for split in module.EPOCHS:
        for name, fold in module.folds(split, digits).items():
            assert not set(fold.fit) & set(fold.score) and len(fold.score)
            if split == "speakers":
                assert set(digits.speaker[fold.score]) == {name} and name not in digits.speaker[fold.fit]
            elif split == "validation":
                assert min(digits.number[fold.fit]) == 10 and set(digits.number[fold.score]) == set(range(5, 10))
            else:
                assert min(digits.number[fold.fit]) == 5 and set(digits.number[fold.score]) == set(range(5))


def test_masks_are_all_that_differs():
    without, with_masks = example().recipes("speakers", 3).values()
    assert with_masks.replace(augment=without.augment) == without
    assert [type(part).__name__ for part in with_masks.augment] == ["TimeShift", "TimeMask", "FrequencyMask"]
