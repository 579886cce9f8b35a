import pytest

from tests.cli.conftest import folder as folder
from tests.cli.conftest import meden as meden

LOCALE = ("MEDEN_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


@pytest.fixture
def no_locale(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return what sets variables, of which none that names a language is set."""
    for name in LOCALE:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDEN_LANG", "zh")
    monkeypatch.setenv("COLUMNS", "80")
