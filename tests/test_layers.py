"""Imports point down only: a room never imports its own level or one above."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "meden"

LEVELS: dict[str, int] = {
    "_checks": 0, "params": 0,
    "penalties": 1, "noise": 1, "augment": 1, "data": 1, "history": 1, "stopping": 1,
    "optim": 2, "diagnosis": 2, "strengths": 2,
    "objective": 3, "recipe": 3, "checkpoint": 3, "distributed": 3, "audit": 3, "report": 3,
    "trainer": 4, "population": 4,
    "search": 5,
    "integrations": 6, "cli": 6,
    "__init__": 7, "__main__": 7,
}  # fmt: skip
SAME_LEVEL_ALLOWED = {"_checks": {"params"}}  # both are L0; checks import nothing


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "meden" else [f"meden.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        rooms |= {n.split(".")[1] if "." in n else "__init__" for n in names if n.split(".")[0] == "meden"}
    return rooms


FILES = sorted(SRC.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    for other in imported_rooms(path) - {here}:
        allowed = LEVELS[other] < LEVELS[here] or here in SAME_LEVEL_ALLOWED.get(other, set())
        assert allowed, f"{here} (level {LEVELS[here]}) imports {other} (level {LEVELS[other]})"


def test_every_room_has_a_level() -> None:
    assert {room(p) for p in FILES} <= set(LEVELS)


def test_penalties_import_torch_only() -> None:
    for path in (SRC / "penalties").glob("*.py"):
        tree = ast.parse(path.read_text())
        roots = {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        assert roots <= {"__future__", "abc", "collections", "dataclasses", "meden", "torch", "typing"}, path
