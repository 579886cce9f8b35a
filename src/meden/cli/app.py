"""All commands, and what their endings mean: 0 done, 1 failed, 2 bad input. No traceback reaches the terminal.

``meden job report`` ends with 3 where training is to stop.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.resources import files
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from meden._checks import InputError
from meden._files import NO_ROOM
from meden._shown import printable
from meden.cli.console import begin, no_room, stderr
from meden.cli.help import headed, in_language
from meden.cli.lines import breaking
from meden.language import language, translated

UsageError: type[Any] = typer.BadParameter.__mro__[1]
"""What a wrong command line raises: click's own, or typer's copy of it."""

COMMANDS = {
    "demo": ("demo", "Show meden at work on handwritten digits: a plain network against one regularised by meden."),
    "new": (
        "new",
        "Create a small runnable project: a network of your own, a table, and scripts that tune and predict.",
    ),
    "check": ("check", "Check a table, or a split of it, for problems before training."),
    "tune": ("tune", "Find how much to regularise a network on a table."),
    "resume": (
        "tune",
        "Resume an interrupted study or run; the result equals that of an uninterrupted one on the same device.",
    ),
    "fit": (
        "fit",
        "Train one network by a recipe on a table or a text, and score it on held-out rows.",
    ),
    "job": (
        "job",
        "Commands for a program that a search runs: read parameters and rows, report losses, submit scores.",
    ),
    "compare": ("compare", "Compare regularisers on a table, with confidence intervals."),
    "select": (
        "select",
        "Select the columns of a table that matter, and estimate how certain that is and what dropping the others "
        "costs.",
    ),
    "learning-curve": (
        "learning_curve",
        "Estimate whether more rows would help, and compare that with the gain from regularisation.",
    ),
    "predict": ("predict", "Predict the target of new rows: labels with probabilities, or numbers."),
    "evaluate": ("evaluate", "Score a trained model on rows that it has not seen."),
    "diagnose": ("diagnose", "Diagnose a run or a study: what is wrong, how certain that is, and what to change."),
    "report": ("report", "Write the report of a study or run, as one HTML file that opens offline, or as Markdown."),
    "audit": (
        "audit",
        "Show what an optimizer and a model really penalise, tensor by tensor, and warn about likely mistakes.",
    ),
    "convert": ("convert", "Convert a regularisation strength from one tool's convention to another's."),
}
"""Per command, the file that holds the function of its name (``_`` for ``-``), and the first line of its docstring."""

ALONE = {"demo", "tune", "resume", "compare", "select", "learning-curve"}
"""Commands that train and are one process; `fit` may be several."""

SHOWN = 800
"""Characters of the longest message; of a longer one the middle is left out."""


class Command(TyperCommand):
    """A command of which an option is given once, unless it may be repeated: the last one would win unseen.

    One that trains is a single process: several would write one folder.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            InputError: if it trains, and was started several times as parts of one work.
        """
        processes = os.environ.get("WORLD_SIZE") or "1"
        if self.name in ALONE and processes != "1":
            raise InputError(
                f"meden {self.name} must be started as a single process, got WORLD_SIZE={processes} in the "
                "environment: start it without torchrun (commands with --jobs N train in N processes)"
            )
        return super().invoke(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments.

        Raises:
            InputError: naming an option that was given twice.
            UsageError: saying what came, too.
        """
        texts, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for option in given:
            repeated = option.param_type_name == "option" and not option.multiple and given.count(option) > 1
            if repeated and not ctx.resilient_parsing:
                raise InputError(f"{option.opts[0]} must be given once, got {given.count(option)} values")
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            text = texts.get(getattr(getattr(error, "param", None), "name", None) or "")
            if isinstance(text, str):
                error.message = f"{error.message}, got {text!r}"
            raise


class LazyGroup(TyperGroup):
    """Commands of which only the one that runs is imported."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=line) for name, (_, line) in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the arguments name, and the rest of them; for a shell that completes, its options."""
        name, _, rest = super().resolve_command(ctx, args)
        found = _outline(name) if name and ctx.resilient_parsing else None
        return name, name and (found or load(name)), rest


def load(name: str) -> TyperCommand | TyperGroup:
    """Return a command with its function and options, or several under one name."""
    module = import_module(f"meden.cli.{COMMANDS[name][0]}")
    found = getattr(module, name.replace("-", "_"))
    return in_language(_group(found) if isinstance(found, typer.Typer) else _single(name, found))


def _single(name: str, function: Callable[..., None]) -> TyperCommand:
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name, cls=Command)(function)
    command = typer.main.get_command(single)
    assert isinstance(command, TyperCommand)
    return command


def _outline(name: str) -> TyperCommand | None:
    """Return a command that has options and nothing else, and loads nothing; None where it is several."""
    options = json.loads(files("meden.cli").joinpath("options.json").read_text(encoding="utf-8")).get(name)
    if options is None:
        return None
    words = [(each, bool) for each in options["flags"]] + [(each, str) for each in options["values"]]
    annotations = {f"option_{i}": Annotated[kind, typer.Option(*each.split())] for i, (each, kind) in enumerate(words)}

    def nothing(**_options: Any) -> None:
        """Stand for a command."""

    nothing.__annotations__ = dict(annotations)
    nothing.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=each) for name, each in annotations.items()]
    )
    return _single(name, nothing)


def _group(several: typer.Typer) -> TyperGroup:
    for each in several.registered_commands:
        each.cls = Command
    group = typer.main.get_group(several)
    assert isinstance(group, TyperGroup)
    return group


app = typer.Typer(
    name="meden",
    cls=LazyGroup,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"meden {version('meden')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def commands(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find out how much to regularise a PyTorch model by honest cross-validation, and apply it exactly.

    Try it with `meden demo`, then: `meden tune your.csv --target COLUMN`.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    begin()
    try:
        language()
    except InputError as error:  # in no other language than its own
        return _fail(2, "error: ", str(error), said=str)
    warnings.showwarning = _show_warning
    try:
        with headed(), breaking():
            command = in_language(typer.main.get_command(app))
            status = command(args=None if arguments is None else list(arguments), standalone_mode=False)
        return status if isinstance(status, int) else 0
    except InputError as error:
        return _fail(2, "error: ", str(error))
    except UsageError as error:
        return _fail(2, "error: ", f"{error.format_message()} (see meden --help)")
    except (typer.Abort, KeyboardInterrupt):
        return _fail(1, "interrupted: ", "nothing was written")
    except Exception as error:
        if os.environ.get("MEDEN_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return _fail(1, "failed: ", no_room(error))
        if isinstance(error, OSError) and error.filename is not None:
            return _fail(1, "failed: ", f"{error.filename}: {error.strerror}")
        if "gloo/transport" in str(error):
            return _fail(1, "failed: ", "another process of this training has exited")
        if isinstance(error, MemoryError):
            return _fail(1, "failed: ", f"out of memory: {error}")
        return _fail(1, "failed: ", f"{type(error).__name__}: {error} (MEDEN_DEBUG=1 shows where)")


def _fail(status: int, kind: str, message: str, said: Callable[[str], str] = translated) -> int:
    """Say in one line what went wrong."""
    _print_line(kind, "bold red", message, said)
    return status


def _show_warning(message: Warning | str, *_where: Any, **_more: Any) -> None:
    _print_line("warning: ", "yellow", str(message))


def _print_line(kind: str, style: str, message: str, said: Callable[[str], str] = translated) -> None:
    line = said(printable(" ".join(message.split())))
    stderr.print(Text.assemble((said(kind), style), _shortened(line)))


def _shortened(text: str) -> str:
    """Return a text, without its middle if it is longer than a person reads: names and cells may have any length."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} [...] {text[-SHOWN // 2 :]}"
