"""Commands that findings advise, in words that a shell takes back as they are."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

PLACEHOLDER = "COLUMN"
"""Stands for a column that only the user can name."""
_REPEATED = ("--drop", "--read", "--na", "--search", "--set")
_SPOKEN = {"\t": "tab", " ": "space"}
"""Separators that a command line takes by name."""


def data_words(place: str | None, target: str | None, origin: Mapping[str, Any]) -> list[str]:
    r"""Return the words that read a table again as it was read.

    Args:
        place: file, or bundled name; one below the working folder is named from there. None where it is not known.
        target: column to predict; None where the data have their own.
        origin: :attr:`meden.data.Dataset.origin`, of which other names are passed over.

    Example:
        >>> data_words("a.csv", "y", {"drop": ["id"], "na": ["?"], "sep": "\t", "task": None})
        ['a.csv', '--target', 'y', '--drop', 'id', '--na', '?', '--sep', 'tab']
    """
    words = [] if target is None else ["--target", target]
    words += _given("--groups", origin.get("groups"))
    words += _given("--drop", origin.get("drop"))
    words += _given("--read", [f"{name}={kind}" for name, kind in (origin.get("read") or {}).items()])
    words += _given("--na", origin.get("na"))
    words += _given("--sep", _SPOKEN.get(str(origin.get("sep")), origin.get("sep")))
    words += _given("--decimal", origin.get("decimal"))
    words += _given("--task", origin.get("task"))
    return [(place or "data.csv").removeprefix(f"{os.getcwd()}{os.sep}"), *words]


def command(name: str, source: str, options: Sequence[str] = ()) -> str:
    """Return the line of a command; of an option that is given once, the later one counts, unless it is a placeholder.

    Args:
        name: of the command.
        source: how a command line names the data and how they are read; empty where no command takes them.
        options: names and values of more.

    Example:
        >>> command("tune", "a.csv --folds 5 --order day", ["--folds", "3", "--order", "COLUMN"])
        'meden tune a.csv --order day --folds 3'
    """
    if not source:
        return ""
    kept, more = shlex.split(source), list[str]()
    for option, value in zip(options[::2], options[1::2], strict=True):
        known = option in kept and option not in _REPEATED
        if known and value == PLACEHOLDER:
            continue
        if known:
            del kept[kept.index(option) : kept.index(option) + 2]
        more += [option, value]
    return shlex.join(["meden", name, *kept, *more])


def _given(option: str, value: Any) -> list[str]:
    values = [] if value is None else [value] if isinstance(value, str) else list(value)
    return [word for each in values for word in (option, str(each))]
