"""``meden job``: what a command that a search runs is told, and how it answers. It is called often: no torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from meden._checks import InputError
from meden.cli.app import UsageError
from meden.job_files import KINDS, PARTS, JobFiles

STOP = 3
"""Exit status of a report after which training must stop."""
NUMBERS = {"ignore_unknown_options": True}
"""``-0.5`` is a number."""


class JobGroup(TyperGroup):
    """Commands inside of a job: what is wrong with one is told the search too, since a script may go on regardless."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that is named.

        Raises:
            InputError: or a usage error, after the search was told.
        """
        try:
            return super().invoke(ctx)
        except (InputError, UsageError) as error:
            told = error.format_message() if isinstance(error, UsageError) else str(error)
            try:
                JobFiles.here().refuse(f"meden job: {told}")
            except InputError:  # there is none, which is what was wrong
                pass
            raise


job = typer.Typer(name="job", cls=JobGroup, no_args_is_help=True, add_completion=False, rich_markup_mode="markdown")


@job.callback()
def commands() -> None:
    """Commands for a program that a search runs: read parameters and rows, report losses, submit scores.

    `meden tune data.csv --target y --command 'bash train.sh {lr}' --search lr=1e-4:1:log` runs `train.sh` for each
    configuration and fold. The script trains on the `fit` rows, reports the loss of the `stop` rows after each epoch,
    stops when it is told to, and submits results for the `score` rows. MEDEN_EPOCHS, MEDEN_SEED and MEDEN_FOLD are set.

    Example, a whole `train.sh`:

        meden job rows fit --of data.csv > fit.csv

        for epoch in $(seq $MEDEN_EPOCHS); do loss=$(...); meden job report $epoch $loss || break; done

        meden job score scored.csv --as probabilities
    """


@job.command()
def params() -> None:
    """Print all parameters, as one JSON object."""
    _print([json.dumps(JobFiles.here().params)])


@job.command()
def param(name: Annotated[str, typer.Argument(help="Name of the parameter in the space, such as lr.")]) -> None:
    """Print one parameter: a string as it is, other values as JSON.

    Example: lr=$(meden job param lr)
    """
    value = JobFiles.here().param(name)
    _print([value if isinstance(value, str) else json.dumps(value)])


@job.command()
def rows(
    part: Annotated[str, typer.Argument(help=f"Which rows: {', '.join(PARTS)}.")],
    of: Annotated[
        Path | None,
        typer.Option("--of", help="Table (text file): print its header and those rows instead of their numbers."),
    ] = None,
) -> None:
    """Print the numbers of the fitting, stopping or scored rows, one per line, from 0; or the rows themselves.

    Example: meden job rows fit --of data.csv > fit.csv
    """
    here = JobFiles.here()
    if of is None:
        _print(map(str, here.rows(part)))
        return
    try:
        lines = "".join(here.lines(part, of))
    except OSError as error:
        raise InputError(f"--of must be a readable table, got {str(of)!r}: {error.strerror}") from None
    sys.stdout.buffer.write(lines.encode(errors="surrogateescape"))
    sys.stdout.flush()


@job.command(context_settings=NUMBERS)
def report(
    epoch: Annotated[str, typer.Argument(help="Number of the finished epoch, from 1.")],
    stop_loss: Annotated[
        str | None,
        typer.Argument(help="Mean loss of the `stop` rows, lower is better; leave it out if there are none."),
    ] = None,
    train_loss: Annotated[
        str | None, typer.Option("--train-loss", help="Mean loss of the `fit` rows, for curves and diagnosis.")
    ] = None,
) -> None:
    """Report an epoch; the exit status is 0 to continue and 3 to stop now.

    Example: meden job report $epoch $loss || break
    """
    number = _number("EPOCH", epoch, int)
    losses = [None if text is None else _number(name, text, float) for name, text in _losses(stop_loss, train_loss)]
    if JobFiles.here().report(number, *losses):
        raise typer.Exit(STOP)


@job.command()
def score(
    file: Annotated[
        Path, typer.Argument(help="File with the values for the `score` rows, in their order: .npy, .csv or .txt.")
    ],
    kind: Annotated[str, typer.Option("--as", help=f"What the values are: {', '.join(KINDS)}.")],
) -> None:
    """Submit the results for the scored rows, once, after training.

    Losses and predictions are one number per row; probabilities and logits one per class, with classes in sorted order.

    Example: meden job score scored.csv --as probabilities
    """
    JobFiles.here().score(kind, file)


@job.command()
def checkpoint_dir() -> None:
    """Print a folder for checkpoints; its contents survive when a killed job is started again.

    Example: cp model.bin "$(meden job checkpoint-dir)"
    """
    _print([JobFiles.here().told["checkpoint_dir"]])


def _losses(stop_loss: str | None, train_loss: str | None) -> list[tuple[str, str | None]]:
    return [("STOP_LOSS", stop_loss), ("--train-loss", train_loss)]


def _number(name: str, text: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise InputError(f"{name} must be {what}, got {text!r}") from None


def _print(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
