"""One training as two processes of a Ray cluster of this machine."""

import json
from pathlib import Path

import pytest

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
    # not weights: Adam's first steps make a rate of any gradient, also of one that is but rounding
    for first, second in zip(two.history, one.history, strict=True):
        assert first.train["loss"] == pytest.approx(second.train["loss"], rel=1e-4)
        assert first.valid["loss"] == pytest.approx(second.valid["loss"], rel=1e-4)
    assert two.held_out.losses == pytest.approx(one.held_out.losses, rel=1e-3)
    assert sorted(path.name for path in Path("two").iterdir()) == sorted(path.name for path in Path("one").iterdir())
