"""One wheel for all tests of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.built import ROOT, build


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"))
