"""The examples of other libraries' trainers run from end to end, on few digits."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.filterwarnings("ignore:the regularizers of")
@pytest.mark.parametrize(("guest", "name"), [("lightning", "lightning_module"), ("keras", "keras_model")])
def test_it_ends_with_a_verdict(guest: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(guest)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    study = example.main(["--rows", "150", "--epochs", "4", "--budget", "2"])
    said = capsys.readouterr().out
    assert len(study.trials) == 2 and set(study.choice.params) == set(example.SPACE)
    assert int(re.search(r"(\d+)% of the", said)[1]) > 10 and str(study.verdict) in said
