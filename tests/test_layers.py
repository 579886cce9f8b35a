"""Imports point down only: between rooms, by a table of floors, and between files, of which none form a circle."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "meden"

FLOORS: list[set[str]] = [
    {"_checks", "_randomness", "_shown"},
    {"language", "normalising", "parametrised"},
    {"_checksums", "_fields", "_settings", "params"},
    {"_files", "axes", "structure"},
    {"penalties", "noise", "data", "models", "history", "stopping", "strengths", "deadline", "job_files"},
    {"augment", "checkpoint", "logs"},
    {"optim", "diagnosis", "distributed"},
    {"edits"},
    {"objective", "recipe", "audits", "speed"},
    {"progress", "trainable", "rdrop"},
    {"run", "member"},
    {"training", "space", "report"},
    {"study", "workers"},
    {"search"},
    {"tabular"},
    {"integrations"},
    {"cli"},
    {"__init__", "__main__"},
]
LEVELS = {name: level for level, names in enumerate(FLOORS) for name in names}


def module_name(path: Path) -> str:
    """Return ``meden.room.file``, or ``meden.room`` for its ``__init__``."""
    parts = ("meden", *path.relative_to(SRC).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(SRC.rglob("*.py"))}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def nodes(path: Path) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield each import, in functions too, and whether it is for type checkers only."""
    tree = ast.parse(path.read_text())
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    for_types = {id(inner) for block in blocks for statement in block.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, id(node) in for_types


def imported(path: Path, *, for_types: bool) -> set[str]:
    """Return the files of meden that a file imports: what a name of a package stands for is the package's business."""
    found = set()
    for node, only_types in nodes(path):
        if only_types and not for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif node.module and not node.level:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(FILES)
            others = len(submodules) < len(node.names)
            found |= submodules | ({node.module} if others else set())
    return found & set(FILES)


@pytest.mark.parametrize("module", FILES)
def test_imports_point_down(module: str) -> None:
    here = room(module)
    for other in {room(name) for name in imported(FILES[module], for_types=True)} - {here}:
        assert LEVELS[other] < LEVELS[here], f"{here} (level {LEVELS[here]}) imports {other} (level {LEVELS[other]})"


@pytest.mark.parametrize("for_types", [False, True])
def test_no_files_form_a_circle(for_types: bool) -> None:
    graph = {module: imported(path, for_types=for_types) - {module} for module, path in FILES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_all_imports_are_absolute() -> None:
    for module, path in FILES.items():
        assert not any(isinstance(node, ast.ImportFrom) and node.level for node, _ in nodes(path)), module


def test_every_room_has_a_level() -> None:
    assert {room(module) for module in FILES} == set(LEVELS)


def test_penalties_import_torch_only() -> None:
    for path in (SRC / "penalties").glob("*.py"):
        tree = ast.parse(path.read_text())
        roots = {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
        assert roots <= {"__future__", "abc", "collections", "dataclasses", "meden", "torch", "typing"}, path
