"""A report as one HTML file that opens offline: everything it needs is in it, and it forbids itself the network."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from meden._checks import InputError
from meden._files import write_whole
from meden.report.document import Report, Value
from meden.report.numbers import MISSING, number


def render(report: Report) -> str:
    """Return the HTML of a report; every string in it is shown literally, whatever it holds."""
    scripts = [_plotly(), _asset("report.js")]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            style=Markup(_asset("report.css")),
            scripts=[Markup(script) for script in scripts],
            hashes=[_hash(script) for script in scripts],
        )
    )


def write(report: Report, path: Path | str) -> Path:
    """Write the HTML of a report and return where it is.

    Raises:
        InputError: if ``path`` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"path must name a file such as report.html, got the folder {str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render(report).encode())
    return path


def cell(value: Value, measured: bool) -> str:
    """Return the text of a table's cell."""
    if value is None:
        return MISSING
    return (
        number(value, keep_zeros=measured)
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else str(value)
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("meden.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = cell
    return environment


def _plotly() -> str:
    """Return plotly.js with its basic traces, a quarter of all: npm's plotly.js-basic-dist-min 4.1.1, under MIT."""
    return _asset("plotly-basic.min.js")


@functools.cache
def _asset(name: str) -> str:
    return resources.files("meden.report").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return the name under which the page's policy allows a script: no other script runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
