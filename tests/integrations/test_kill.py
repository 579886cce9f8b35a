"""Searches around trainers are killed at random moments and divided among processes: no bit changes.

Two are killed here; ``python -m tests.search.killing 10 keras 0`` and ``skorch`` kill the others.
"""

import importlib.util

import pytest

from tests.search import killing
from tests.search.test_kill import check_kills

PACKAGES = {"huggingface": "transformers"}
pytestmark = pytest.mark.distributed


def installed(*guests):
    there = {name: importlib.util.find_spec(PACKAGES.get(name, name)) is not None for name in guests}
    return [pytest.param(name, marks=pytest.mark.skipif(not there[name], reason="not installed")) for name in guests]


@pytest.mark.parametrize("guest", installed("huggingface", "lightning"))
def test_killed_at_random_moments_and_resumed_equals_uninterrupted(guest):
    check_kills(guest)


@pytest.mark.parametrize("guest", installed(*killing.GUESTS))
def test_two_processes_change_no_bit(guest, tmp_path):
    assert killing.GUESTS[guest](tmp_path / "two", jobs=2) == killing.GUESTS[guest](None)
