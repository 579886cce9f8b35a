"""The command line that was given, as text that can be run again."""

from __future__ import annotations

import shlex
from typing import Any

import typer

UNTOLD = ("as_json",)
"""Parameters that change nothing but what is printed."""


def command_line(context: typer.Context) -> str:
    """Return the command with the arguments that it was given; those left at their defaults are not named.

    Args:
        context: of the command that runs.
    """
    arguments, options = [], []
    for param in context.command.params:
        name, source = str(param.name), context.get_parameter_source(str(param.name))
        if source is None or source.name != "COMMANDLINE" or name in UNTOLD:
            continue
        value = context.params[name]
        if param.param_type_name == "argument":
            arguments.append(str(value))
        else:
            options += _option(param, value)
    return shlex.join(["meden", str(context.info_name), *arguments, *options])


def _option(param: Any, value: Any) -> list[str]:
    """Return an option as it is written, once for each of its values."""
    long = max(param.opts, key=len)
    if param.is_flag:
        return [long if value else max(param.secondary_opts, key=len)]
    values = value if param.multiple else [value]
    return [part for each in values for part in (long, str(each))]
