"""What all commands share: consoles, options, progress, one JSON object for machines."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from meden._shown import printable
from meden.language import translated

if TYPE_CHECKING:
    from meden.data import Dataset


class PlainConsole(Console):
    """A console to which no text gives orders: what names and cells hold is shown, control characters escaped.

    What it says is said in the reader's language.
    """

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a text as it is shown, in lines and in cells of tables."""
        return super().render_str(translated(printable(text, keep="\n")), **settings)


stdout = PlainConsole(highlight=False, soft_wrap=True, markup=False)
stderr = PlainConsole(stderr=True, highlight=False, soft_wrap=True, markup=False)
"""Brackets in names of columns and files are no markup."""

_began = [time.time()]


def begin() -> None:
    """Note that a command begins: what it may take counts from here."""
    _began[0] = time.time()


def began() -> float:
    """Return when the command began, on the clock :func:`time.time`."""
    return _began[0]


Data = Annotated[
    str,
    typer.Argument(
        help="CSV, TSV, Parquet or Feather file, or a bundled name: breast_cancer, diabetes, digits, iris, wine."
    ),
]
Target = Annotated[
    str | None, typer.Option("--target", "-t", help="Column to predict (bundled tables have a default).")
]
TaskOption = Annotated[
    str | None, typer.Option("--task", help="`classification` or `regression`. Default: inferred from the target.")
]
Drop = Annotated[
    list[str] | None,
    typer.Option("--drop", help="Column to ignore. Repeatable."),
]
Read = Annotated[
    list[str] | None,
    typer.Option("--read", help="How to read a column: `age=number`, or `category`, `date`, `drop`. Repeatable."),
]
Sep = Annotated[str | None, typer.Option("--sep", help="Field separator, such as `;` or `tab`. Default: detected.")]
Decimal = Annotated[
    str | None, typer.Option("--decimal", help="Decimal mark, `.` or `,`. Default: detected for each column.")
]
Missing = Annotated[
    list[str] | None,
    typer.Option("--na", help="Text or number that marks a missing value, such as `-999`. Repeatable."),
]
Groups = Annotated[
    str | None, typer.Option("--groups", help="Column of group labels; rows of one group stay in one fold.")
]
Order = Annotated[
    str | None,
    typer.Option(
        "--order", help="Column of numbers or dates; each fold trains only on rows earlier than those it scores."
    ),
]
Gap = Annotated[int, typer.Option("--gap", help="Number of --order values to leave out before each cut in time.")]
Folds = Annotated[int, typer.Option("--folds", help="Number of cross-validation folds.")]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="YAML recipe that replaces the model's default; fields of meden.Recipe.")
]
Model = Annotated[
    str,
    typer.Option(
        "--model", help="`tabular` (embedded numbers, robust scaling), `mlp` (a multilayer perceptron) or `linear`."
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option("--track", help="Write training curves into the folder for `tensorboard` or `mlflow`. Repeatable."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of splits, proposals, weights, batches and noise.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", help="Number of worker processes; does not change the result.")]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="Device of this machine that networks are trained on: `cpu`, `cuda`, `cuda:1`. A GPU pays "
        "where rows are many or networks wide.",
    ),
]
BackendName = Annotated[str, typer.Option("--backend", help="Where the worker processes run: `local` or `ray`.")]
Address = Annotated[
    str | None, typer.Option("--address", help="Address of the Ray cluster; `auto` is the one on this machine.")
]
AllowVersion = Annotated[
    bool,
    typer.Option(
        "--allow-version",
        help="Resume with another version of meden or torch than the one that started; numbers may differ.",
    ),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@contextmanager
def progress(what: str = "epochs") -> Iterator[Callable[..., None]]:
    """Show on standard error how far work is while the body runs: a bar on a terminal, else a line now and then.

    The body is given what it calls with a :class:`meden.search.Progress`, and a note if it has one.
    """
    from meden.search.progress import Progress, ProgressLines, in_language  # commands that train nothing do without

    lines = ProgressLines()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bar(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        job = bar.add_task(translated(what), total=None, note="")

        def show(done: Progress, note: str = "") -> None:
            if stderr.is_terminal:
                notes = in_language(done.note(), note)
                bar.update(job, completed=done.num_epochs, total=done.max_epochs, note=notes)
            else:
                lines(done, note)

        yield show


def say(text: str) -> None:
    """Print a line for people on standard error, so that standard output stays what was asked for."""
    stderr.print(text)


def no_room(error: OSError, then: str = "run again") -> str:
    """Return what to say of a full disk, in one line."""
    where = f": {error.filename}" if error.filename else ""
    return f"{os.strerror(error.errno or 0)}{where}; finished work is safe: free some disk space, and {then}"


def describe(dataset: Dataset) -> str:
    """Return what was read and how it was understood, in one line."""
    from meden.report.numbers import plural  # commands that read no data do without the rooms of data and report

    shape = f"{plural(dataset.num_rows, 'row')}, {plural(len(dataset.feature_names), 'feature')}"
    labels = ", ".join(printable(str(label)) for label in dataset.classes[:6]) + (
        ", ..." if len(dataset.classes) > 6 else ""
    )
    classes = f", {len(dataset.classes)} classes: {labels}" if dataset.classes else ""
    return f"{shape}; {dataset.task} of {dataset.target!r}{classes}"


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output; numbers that are not finite become null."""
    typer.echo(json.dumps(_plain(values), indent=1))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
