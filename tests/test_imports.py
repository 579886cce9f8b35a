"""Imports pay for what is used: what a program loads is counted in modules, not in seconds."""

import subprocess
import sys

import pytest

HEAVY = {"optuna", "pandas", "plotly", "pyarrow", "pydantic", "scipy", "sklearn", "torch"}
"""Libraries that take long to import."""
MAIN = "from meden.cli import main; main({!r}.split()); "


def loaded(program: str) -> set[str]:
    """Return which heavy libraries a program of its own has loaded when it ends."""
    program += "; import sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ended.stdout.splitlines()[-1].split()) & HEAVY


FIT = """
import torch, meden
x, y = torch.randn(20, 3), torch.randn(20, 1)
meden.fit(torch.nn.Linear(3, 1), (x, y), recipe=meden.Recipe(epochs=1, batch_size=20))"""


@pytest.mark.parametrize(
    ("program", "libraries"),
    [
        ("import meden", set()),
        ("import meden; meden.convert(1.0, source='sklearn.Ridge', to='torch.SGD', n=10)", set()),
        ("import meden.penalties; from meden.penalties import L1", {"torch"}),
        ("import meden; meden.penalties.L1(0.1); meden.noise.derive(1)", {"torch"}),
    ],
)
def test_a_part_loads_no_other(program: str, libraries: set[str]) -> None:
    assert loaded(program) == libraries


def test_training_on_tensors_needs_neither_search_nor_charts() -> None:
    assert loaded(FIT).isdisjoint({"optuna", "plotly", "scipy", "sklearn"})


@pytest.mark.parametrize(
    "arguments",
    [
        *("", "--help", "--version", "convert 1.0 --from sklearn.Ridge --to torch.SGD --n 442", "convert --help"),
        *("job report 1 0.5", "job --help", "turn"),
    ],
)
def test_commands_that_train_nothing_load_no_torch(arguments: str) -> None:
    assert loaded(MAIN.format(arguments) + "pass") <= {"pydantic"}  # typer may load it


def test_rules_load_where_python_takes_docstrings_away() -> None:
    program = "from meden.diagnosis import all_rules; print(all(rule.summary for rule in all_rules()))"
    ended = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "True\n"
