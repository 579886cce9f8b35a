"""In which form a command writes its report."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from meden._checks import check_choice
from meden.report import FORMATS, Format

ReportFormat = Annotated[
    str, typer.Option("--format", help="Format of the report: `html`, or `md` for Markdown without charts.")
]


def report_format(name: str) -> Format:
    """Return the format that ``--format`` names.

    Raises:
        InputError: if there is no such format.
    """
    check_choice("--format", name, FORMATS)
    return cast(Format, name)
