import pytest

from meden.training.fit_many import _Work


@pytest.fixture
def one_by_one(monkeypatch):
    """Train alone: for a few epochs of a small network a stack's trace would take longest."""
    monkeypatch.setattr(_Work, "_chunk", lambda *_: 1)
