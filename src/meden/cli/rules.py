"""Options of the commands that go by rules, and the list of all rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from meden.cli.console import print_json, stdout
from meden.diagnosis import Rule
from meden.language import Own

SelectOption = Annotated[
    str | None, typer.Option("--select", help="Rules to apply: codes or families, separated by commas.")
]
IgnoreOption = Annotated[
    str | None, typer.Option("--ignore", help="Rules to skip: codes or families, separated by commas.")
]


def names(asked: str | None) -> list[str]:
    """Return codes and families of an option."""
    return [name for part in (asked or "").split(",") if (name := part.strip())]


def show_rules(rules: Sequence[Rule], as_json: bool) -> None:
    """Print rules: code, family, severity, and what each looks for."""
    if as_json:
        rows = [{"code": r.code, "family": r.family, "severity": r.severity, "summary": r.summary} for r in rules]
        print_json({"rules": rows})
        return
    table = Table("code", "family", "severity", "looks for", box=None, pad_edge=False)
    for rule in rules:
        table.add_row(Own(rule.code), Own(rule.family), rule.severity, rule.summary)
    stdout.print(table)
