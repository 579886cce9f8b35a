"""The help of commands, in the reader's language: texts, titles of panels, usage."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from typer import rich_utils

from meden.language import language, translated

TITLES = (
    "ARGUMENTS_PANEL_TITLE",
    "OPTIONS_PANEL_TITLE",
    "COMMANDS_PANEL_TITLE",
    "DEFAULT_STRING",
    "REQUIRED_LONG_STRING",
)
"""Typer's own words, which it keeps in its module."""
Command = TypeVar("Command", bound=Any)


def in_language(command: Command) -> Command:
    """Return a command, its help and its options' in the reader's language; commands inside of it, too."""
    if language() != "en":
        _translate(command)
    return command


@contextmanager
def headed() -> Iterator[None]:
    """Have typer's own titles in the reader's language while the body runs."""
    before = {name: getattr(rich_utils, name) for name in TITLES}
    try:
        for name, title in before.items():
            setattr(rich_utils, name, translated(title))
        yield
    finally:
        for name, title in before.items():
            setattr(rich_utils, name, title)


def paragraphs(text: str) -> str:
    r"""Return a help text, its examples as they are and its paragraphs translated.

    Example:
        >>> paragraphs("One, of\ntwo lines.\n\n    meden demo")
        'One, of two lines.\n\n    meden demo'
    """
    parts = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(part if part.startswith("    ") else translated(" ".join(part.split())) for part in parts)


def _translate(command: Any) -> None:
    command.help = paragraphs(command.help or "")
    command.get_usage = _after(command.get_usage, translated)
    command.get_help_option = _after(command.get_help_option, _option)
    for param in command.params:
        _option(param)
    for inner in getattr(command, "commands", {}).values():
        _translate(inner)


def _option(param: Any) -> Any:
    if getattr(param, "help", None):
        param.help = translated(param.help)
    return param


def _after(method: Any, then: Any) -> Any:
    return lambda context: then(method(context))
