"""What a shell is told when it completes, and what that loads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = "import sys; sys.argv = ['meden']; from meden.cli import main; main()"
LOADED = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); "


def completed(shell: str, line: str) -> tuple[list[str], str]:
    """Return the words that a shell is offered for the last word of a line, and whether torch was loaded."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_TYPER_COMPLETE_ARGS": line}
    environment = {**os.environ, **words, "_MEDEN_COMPLETE": f"complete_{shell}"}
    command = [sys.executable, "-c", LOADED + PROGRAM]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.split(), ended.stderr.strip()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("meden t", ["tune"]),
        ("meden tune --str", ["--strategy"]),
        ("meden tune data.csv --target y --sto", ["--storage"]),
        ("meden tune data.csv --no-r", ["--no-racing"]),
        ("meden learning-curve data.csv --targ", ["--target"]),
        ("meden job re", ["report"]),
        ("meden tune data.csv --target ", []),  # then the shell offers files
    ],
)
def test_bash_is_offered_commands_and_options_at_once(line: str, words: list[str]) -> None:
    assert completed("bash", line) == (words, "False")


def test_zsh_is_offered_the_same() -> None:
    words, loaded = completed("zsh", "meden tune --str")
    assert '"--strategy"))\'' in words[-1] and loaded == "False"


@pytest.mark.parametrize(("shell", "line"), [("bash", "complete -o default -F"), ("zsh", "compdef ")])
def test_the_script_of_a_shell_asks_meden(shell: str, line: str) -> None:
    environment = {**os.environ, "_MEDEN_COMPLETE": f"source_{shell}"}
    ended = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert line in ended.stdout and f"_MEDEN_COMPLETE=complete_{shell}" in ended.stdout
