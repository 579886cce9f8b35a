"""What all commands share: consoles, progress, output that is never overwritten unasked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from meden._checks import InputError

stdout = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines instead of text.")]
Target = Annotated[str | None, typer.Option("--target", "-t", help="Column to predict (a bundled name has its own).")]
Task = Annotated[
    str | None, typer.Option("--task", help="`classification` or `regression`; told from the target unless given.")
]
Drop = Annotated[list[str] | None, typer.Option("--drop", help="Column to leave out; may be repeated.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of splits, proposals, weights, batches and noise.")]


@contextmanager
def progress(what: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
    """Show a bar on standard error, if it is a terminal, while the body runs."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        yield bar, bar.add_task(what, total=total, note="")


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output; numbers that are not finite become null."""
    typer.echo(json.dumps(_plain(values), indent=1))


def check_new_folder(name: str, folder: Path) -> None:
    """Check that an output folder is new or empty.

    Raises:
        InputError: if it holds anything, or is a file.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{name} must be a new or empty folder, got {str(folder)!r}, which holds something already")


def check_new_file(name: str, path: Path, *, force: bool) -> None:
    """Check that an output file is not there yet, unless it may be replaced.

    Raises:
        InputError: if it is, or if its folder is not.
    """
    if path.exists() and not force:
        raise InputError(f"{name} must be a new file (or give --force), got {str(path)!r}, which is there already")
    if not path.parent.is_dir():
        raise InputError(f"{name} must lie in a folder that is there, got {str(path)!r}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
