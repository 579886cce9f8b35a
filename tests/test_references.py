"""Every name that a docstring refers to is there."""

import importlib
import re
from pathlib import Path

import pytest

import meden

SRC = Path(meden.__file__).parent
ROLES = re.compile(r":(?:func|class|mod|meth|attr|data):`([\w.]+)`")


def module_of(path: Path) -> str:
    return ".".join(("meden", *path.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__")


def resolves(name: str, module: str) -> bool:
    """Say whether a dotted name is found from its module, a class of it, or the top."""
    here = importlib.import_module(module)
    owners = [here, *(value for value in vars(here).values() if isinstance(value, type))]
    return any(_found(owner, name.split(".")) for owner in owners) or _imported(name)


def _found(owner: object, parts: list[str]) -> bool:
    for part in parts:
        known = hasattr(owner, part) or part in getattr(owner, "__annotations__", {})
        if not known:
            return False
        owner = getattr(owner, part, None)
    return True


def _imported(name: str) -> bool:
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:size]))
        except ImportError:
            continue
        return _found(found, parts[size:])
    return False


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: str(path.relative_to(SRC)))
def test_references_resolve(path: Path) -> None:
    lost = [name for name in ROLES.findall(path.read_text()) if not resolves(name, module_of(path))]
    assert not lost


def test_a_name_that_is_not_there_is_found_out() -> None:
    assert resolves("meden.search.nested", "meden.run") and resolves("Run.save", "meden.run")
    assert not resolves("meden.trainer.Training", "meden.run") and not resolves("compare", "meden.search.comparison")
