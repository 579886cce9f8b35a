"""One training as two processes of a Ray cluster of this machine."""

import json
from pathlib import Path

import pytest
import torch

import meden
from meden.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.distributed,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


@pytest.fixture
def cluster():
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.train.torch")
    yield ray
    ray.shutdown()


def test_two_processes_on_a_cluster_equal_one(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(meden.__file__).parents[1]))
    asked = ["fit", "iris", "--set", "epochs=2", "--set", "width=8", "--json"]
    assert main([*asked, "--processes", "2", "--backend", "ray", "--out", "two"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == "completed" and told["folder"] == "two"
    assert main([*asked, "--out", "one"]) == 0
    two, one = (meden.load_run(folder) for folder in ("two", "one"))
    weights = zip(two.model.parameters(), one.model.parameters(), strict=True)
    assert all(torch.allclose(first, second, atol=1e-5) for first, second in weights)
    assert sorted(path.name for path in Path("two").iterdir()) == sorted(path.name for path in Path("one").iterdir())
