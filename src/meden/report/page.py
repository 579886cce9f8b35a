"""A report as one HTML file that opens offline: everything it needs is in it, and it forbids itself the network."""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import re
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from meden.language import language, translated
from meden.report.document import Report
from meden.report.numbers import cell
from meden.report.translation import in_language


def render(report: Report) -> str:
    """Return the HTML of a report; every string in it is shown literally, whatever it holds."""
    scripts = [_plotly(), _asset("report.js")]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=in_language(report),
            lang={"en": "en", "zh": "zh-CN"}[language()],
            anchors=anchors([section.title for section in report.sections]),
            style=Markup(_asset("report.css")),
            scripts=[Markup(script) for script in scripts],
            hashes=[_hash(script) for script in scripts],
        )
    )


def anchors(titles: Sequence[str]) -> list[str]:
    """Return a name for each section, by which an address points at it: of its English title, in any language.

    Example:
        >>> anchors(["Score against strength", "Über <b>", "über b", "?"])
        ['score-against-strength', 'ber-b', 'ber-b-2', 'section']
    """
    found: list[str] = []
    for title in titles:
        name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "section"
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        found.append(next(each for each in itertools.chain([name], numbered) if each not in found))
    return found


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("meden.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": cell, "translated": translated}
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
