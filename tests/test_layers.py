"""Imports point down only: a room never imports its own level or one above."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "meden"

FLOORS: list[set[str]] = [
    {"_checks"},
    {"_settings", "params"},
    {"penalties", "noise", "data", "models", "history", "stopping"},
    {"augment"},
    {"optim", "diagnosis", "strengths"},
    {"objective", "recipe", "checkpoint"},
    {"progress"},
    {"run", "member", "audit"},
    {"training", "space", "report"},
    {"study", "workers"},
    {"search"},
    {"tabular"},
    {"integrations", "cli"},
    {"__init__", "__main__"},
]
LEVELS = {name: level for level, names in enumerate(FLOORS) for name in names}


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
        assert LEVELS[other] < LEVELS[here], f"{here} (level {LEVELS[here]}) imports {other} (level {LEVELS[other]})"


def test_every_room_has_a_level() -> None:
    assert {room(p) for p in FILES} <= set(LEVELS)


def test_penalties_import_torch_only() -> None:
    for path in (SRC / "penalties").glob("*.py"):
        tree = ast.parse(path.read_text())
        roots = {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        assert roots <= {"__future__", "abc", "collections", "dataclasses", "meden", "torch", "typing"}, path
