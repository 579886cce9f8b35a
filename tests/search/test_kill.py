"""Kill it anywhere and go on: no kill changes a bit of the table or the choice.

Here a race is killed three times; ``python tests/search/killing.py 10 plain 0`` kills any number of times.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.distributed
def test_killed_at_random_moments_and_resumed_equals_uninterrupted():
    program = [sys.executable, str(Path(__file__).with_name("killing.py")), "3", "racing", "0"]
    ended = subprocess.run(program, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[0]) >= 2, ended.stdout
