"""A report as a file: a page for browsers, or Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from meden._checks import InputError, check_choice
from meden._files import NO_ROOM, write_whole
from meden.report.document import Report
from meden.report.markdown import markdown
from meden.report.page import render

Format = Literal["html", "md"]
FORMATS: tuple[Format, ...] = get_args(Format)


def write(report: Report, path: Path | str, format: Format = "html") -> Path:
    """Write a report and return where it is.

    Args:
        report: what to write.
        path: of the file.
        format: ``"html"``, a page that opens offline, or ``"md"``, Markdown without the charts.

    Raises:
        InputError: if ``path`` is a folder or cannot be written, or the format is another.
    """
    check_choice("format", format, FORMATS)
    path = Path(path)
    if path.is_dir():
        raise InputError(f"path must name a file such as report.{format}, got the folder {str(path)!r}")
    text = render(report) if format == "html" else markdown(report)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise InputError(f"path must be a writable file, got {str(path)!r}: {error.strerror}") from error
    return path
