"""All commands, and what their endings mean: 0 done, 1 failed, 2 bad input. No traceback reaches the terminal."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from click.exceptions import Abort, ClickException
from rich.markup import escape

from meden._checks import InputError
from meden.cli import demo, fit, predict, report, tune
from meden.cli.console import stderr

app = typer.Typer(
    name="meden",
    help="How much to regularise a PyTorch model: found by honest cross-validation, applied exactly, proved.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("tune")(tune.tune)
app.command("resume")(tune.resume)
app.command("fit")(fit.fit)
app.command("predict")(predict.predict)
app.command("report")(report.report)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    warnings.showwarning = _show_warning
    try:
        status = app(args=None if arguments is None else list(arguments), standalone_mode=False)
        return status if isinstance(status, int) else 0
    except ClickException as error:
        error.show(file=sys.stderr)
        return 2
    except InputError as error:
        stderr.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 2
    except (Abort, KeyboardInterrupt):
        stderr.print("[bold red]interrupted[/]; a study goes on with: meden resume FOLDER")
        return 1
    except Exception as error:
        if os.environ.get("MEDEN_DEBUG"):
            raise
        what = " ".join(str(error).split()) or "no message"
        stderr.print(
            f"[bold red]failed:[/] {escape(type(error).__name__)}: {escape(what)} (MEDEN_DEBUG=1 shows where)",
            soft_wrap=True,
        )
        return 1


def _show_warning(message: Warning | str, *_where: Any, **_more: Any) -> None:
    stderr.print(f"[yellow]warning:[/] {escape(str(message))}", soft_wrap=True)
