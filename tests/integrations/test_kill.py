"""Searches around trainers are killed at random moments and divided among processes: no bit changes."""

import importlib.util

import pytest

from tests.search import killing
from tests.search.test_kill import check_kills

PACKAGES = {"huggingface": "transformers"}
pytestmark = pytest.mark.distributed


@pytest.fixture(params=killing.GUESTS)
def guest(request):
    if importlib.util.find_spec(PACKAGES.get(request.param, request.param)) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


def test_killed_at_random_moments_and_resumed_equals_uninterrupted(guest):
    check_kills(guest)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
def test_two_processes_change_no_bit(guest, tmp_path):
    assert killing.GUESTS[guest](tmp_path / "two", jobs=2) == killing.GUESTS[guest](None)
