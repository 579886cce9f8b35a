"""All commands, and what their endings mean: 0 done, 1 failed, 2 bad input. No traceback reaches the terminal."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from rich.markup import escape

from meden._checks import InputError
from meden.cli import audit, compare, convert, demo, diagnose, fit, predict, report, tune
from meden.cli.console import stderr

UsageError: type[Any] = typer.BadParameter.__mro__[1]
"""What a wrong command line raises: click's own, or typer's copy of it."""

app = typer.Typer(
    name="meden",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in (
    demo.demo,
    tune.tune,
    tune.resume,
    fit.fit,
    compare.compare,
    predict.predict,
    diagnose.diagnose,
    report.report,
    audit.audit,
    convert.convert,
):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"meden {version('meden')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def commands(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """How much to regularise a PyTorch model: found by honest cross-validation, applied exactly, proved.

    See it work with `meden demo`, then: `meden tune your.csv --target COLUMN`.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    warnings.showwarning = _show_warning
    try:
        status = app(args=None if arguments is None else list(arguments), standalone_mode=False)
        return status if isinstance(status, int) else 0
    except InputError as error:
        return _fail(2, "error", str(error))
    except UsageError as error:
        return _fail(2, "error", f"{error.format_message()} (see meden --help)")
    except (typer.Abort, KeyboardInterrupt):
        return _fail(1, "interrupted", "nothing was written")
    except Exception as error:
        if os.environ.get("MEDEN_DEBUG"):
            raise
        return _fail(1, "failed", f"{type(error).__name__}: {error} (MEDEN_DEBUG=1 shows where)")


def _fail(status: int, kind: str, message: str) -> int:
    """Say in one line what went wrong."""
    stderr.print(f"[bold red]{kind}:[/] {escape(' '.join(message.split()))}")
    return status


def _show_warning(message: Warning | str, *_where: Any, **_more: Any) -> None:
    stderr.print(f"[yellow]warning:[/] {escape(' '.join(str(message).split()))}")
