"""A search on a Ray cluster of this machine: one of two workers is killed in the middle, and nothing changes."""

import os
import signal
from pathlib import Path

import pytest

import meden
from meden import InputError
from meden.models import MLP
from meden.search import tune

from .test_workers import OPTIONS, SPACE, same

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    yield ray
    ray.shutdown()


def workers() -> list[int]:
    """Return the processes that train."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::work_elsewhere"):
                found.append(int(path.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return found


@pytest.mark.parametrize("racing", [False, True])
def test_one_of_two_workers_is_killed_in_mid_run(cluster, tmp_path, racing):
    make = lambda num_inputs, num_outputs: MLP(num_inputs, num_outputs, width=8, depth=1)  # noqa: E731 - no name to import
    killed = []

    def kill(progress):
        if progress.num_fits == 5 and not killed:
            killed.append(workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    on_ray = {"jobs": 2, "backend": "ray", "study_dir": tmp_path, "on_progress": kill}
    study = tune(make, "iris", SPACE, racing=racing, **on_ray, **OPTIONS)
    assert killed and same(study, tune(make, "iris", SPACE, racing=racing, **OPTIONS))


def test_more_jobs_than_cores_are_refused(cluster):
    with pytest.raises(InputError, match="jobs must be at most 2, the number of cores of the cluster, got 3"):
        tune(MLP, "iris", SPACE, jobs=3, backend="ray", **OPTIONS)


def test_a_missing_ray_is_reported_with_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"backend 'ray' needs Ray: pip install 'meden\[ray\]'"):
        meden.tune(MLP, "iris", SPACE, backend="ray", **OPTIONS)
