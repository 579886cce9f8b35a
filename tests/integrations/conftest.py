import pytest

from meden.members import work


@pytest.fixture
def one_by_one(monkeypatch):
    """Train alone: for a few epochs of a small network a stack's trace would take longest."""
    monkeypatch.setattr(work._Work, "_chunk", lambda *_: 1)
