"""Kill it anywhere and go on: no kill changes a bit of the table or the choice; nor do two processes.

Here each is killed three times; ``python -m tests.search.killing 10 plain 0`` kills any number of times.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search import killing

ROOT = Path(__file__).parents[2]


def check_kills(subject: str) -> None:
    """Check that three kills change nothing."""
    program = [sys.executable, "-m", "tests.search.killing", "3", subject, "0"]
    ended = subprocess.run(program, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[0]) >= 2, ended.stdout


@pytest.mark.distributed
@pytest.mark.parametrize("subject", ["racing", "compare", "nested", "path", "function"])
def test_killed_at_random_moments_and_resumed_equals_uninterrupted(subject):
    check_kills(subject)


@pytest.mark.distributed
@pytest.mark.parametrize(
    "subject", [killing.compared, killing.nests, killing.path, killing.function], ids=lambda s: s.__name__
)
def test_two_processes_change_no_bit(subject, tmp_path):
    assert subject(tmp_path / "two", jobs=2) == subject(None)
