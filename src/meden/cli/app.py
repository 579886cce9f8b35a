"""All commands, and what their endings mean: 0 done, 1 failed, 2 bad input. No traceback reaches the terminal."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from click.exceptions import Abort, ClickException, NoArgsIsHelpError
from rich.markup import escape

from meden._checks import InputError
from meden.cli import audit, compare, convert, demo, fit, predict, report, tune
from meden.cli.console import stderr

app = typer.Typer(
    name="meden",
    no_args_is_help=True,
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
    report.report,
    audit.audit,
    convert.convert,
):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"meden {version('meden')}")
        raise typer.Exit


@app.callback()
def commands(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """How much to regularise a PyTorch model: found by honest cross-validation, applied exactly, proved.

    See it work with `meden demo`, then: `meden tune your.csv --target COLUMN`.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    warnings.showwarning = _show_warning
    try:
        status = app(args=None if arguments is None else list(arguments), standalone_mode=False)
        return status if isinstance(status, int) else 0
    except NoArgsIsHelpError as error:
        error.show(file=sys.stderr)
        return 2
    except ClickException as error:
        return _fail(2, "error", f"{error.format_message()} (see meden --help)")
    except InputError as error:
        return _fail(2, "error", str(error))
    except (Abort, KeyboardInterrupt):
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
