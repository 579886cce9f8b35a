import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from meden._checks import InputError
from meden.report import Code, Column, Key, Report, ReportTable, Section, TableRow, Tile, render, write
from meden.report.charts import axis_title, chart, label, scatter
from meden.report.numbers import cell
from meden.report.page import _asset
from meden.study.page import study_report
from tests.report.studies import EVIL, study

PUBLISHED = "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
"""Hash of the script in npm's plotly.js-basic-dist-min 4.1.1."""


class Tags(HTMLParser):
    """What an HTML parser sees: tags with attributes, and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._inside: dict[str, str | None] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._inside = dict(attrs)
            self.scripts.append((self._inside, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside is None:
            self.text += data
        else:
            attrs, before = self.scripts[-1]
            self.scripts[-1] = (attrs, before + data)


def report(text: str) -> Report:
    """The same text wherever a report takes one."""
    points = scatter(x=[1, 2], y=[1, 2], name=label(text), hovertext=[label(text)] * 2, hoverinfo="text")
    drawn = chart(text, [points], x=axis_title(text), y=axis_title(text))
    table = ReportTable((Column(text), Column("n")), (TableRow((text, 1.5), "best"), TableRow((text, None))))
    section = Section(
        title=text, text=(text,), keys=(Key(text, "●", "#000"),), charts=(drawn,), table=table,
        codes=(Code(text, text),), facts={text: text},
    )  # fmt: skip
    return Report(title=text, lead=text, tiles=(Tile(text, text, text),), text=(text,), sections=(section,))


HOSTILE = [EVIL, "</script><b>", "<!--<script>", "{{ 7 * 7 }}", "\" onload=alert(1) x='", "</style></title><svg>"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_makes_no_element(text: str) -> None:
    plain, hostile = Tags(render(report("harmless"))), Tags(render(report(text)))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert [sorted(attrs) for _, attrs in hostile.tags] == [sorted(attrs) for _, attrs in plain.tags]
    assert hostile.text.count(text) == plain.text.count("harmless") > 5


def test_charts_are_data_and_labels_are_literal() -> None:
    parsed = Tags(render(report(EVIL)))
    [(_, data)] = [script for script in parsed.scripts if script[0].get("type") == "application/json"]
    spec = json.loads(data)
    assert "<" not in data and "<" not in json.dumps(spec)
    assert spec["data"][0]["name"] == label(EVIL)


def test_page_names_no_address_outside_its_scripts() -> None:
    page = render(report("harmless"))
    parsed = Tags(page)
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert "http" not in outside.replace("http-equiv", "") and "//" not in outside and "@import" not in outside
    assert "url(" not in outside
    assert not any("src" in attrs for _, attrs in parsed.tags)
    assert {attrs["href"] for _, attrs in parsed.tags if "href" in attrs} == {"data:,", "#harmless"}


def test_policy_allows_the_two_scripts_and_no_other() -> None:
    parsed = Tags(render(report("harmless")))
    [policy] = [attrs["content"] for _, attrs in parsed.tags if attrs.get("http-equiv")]
    code = [text for attrs, text in parsed.scripts if "type" not in attrs]
    wanted = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in code}
    assert policy is not None and len(wanted) == 2
    rules = {rule.split()[0]: set(rule.split()[1:]) for rule in policy.split(";")}
    assert rules["default-src"] == {"'none'"} and rules["script-src"] == wanted


@pytest.mark.parametrize(
    ("value", "measured", "wanted"),
    [(0.21, True, "0.2100"), (0.21, False, "0.21"), (float("nan"), True, "–"), (None, False, "–"),  # noqa: RUF001
     (True, False, "True"), (12345, False, "12,345"), (1.0e5, False, "100,000"), (-2.5e-9, True, "-2.500e-9"),
     (float("inf"), True, "–"), ("x", True, "x")],  # noqa: RUF001
)  # fmt: skip
def test_cells_have_four_digits(value: object, measured: bool, wanted: str) -> None:
    assert cell(value, measured) == wanted  # type: ignore[arg-type]


def test_write_makes_the_folder_and_refuses_a_folder(tmp_path: Path) -> None:
    path = write(report("harmless"), tmp_path / "new" / "report.html")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(InputError, match="path must name a file"):
        write(report("harmless"), tmp_path)


def test_sections_have_names_that_no_two_share_and_the_contents_point_at_them() -> None:
    titles = ["A", "a", "a 2", EVIL, "", "", "A" * 99]
    page = Tags(render(Report(title="t", lead="l", sections=tuple(Section(title=title) for title in titles))))
    names = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert len(set(names)) == len(titles) and all(re.fullmatch("[a-z0-9-]+", str(name)) for name in names)
    links = [str(attrs["href"]) for tag, attrs in page.tags if tag == "a" and "class" not in attrs]
    assert links == [f"#{name}" for name in names]


def test_one_section_needs_no_contents() -> None:
    assert "nav" not in [tag for tag, _ in Tags(render(report("harmless"))).tags]


def test_the_script_is_as_published_and_needs_no_escape() -> None:
    script = _asset("plotly-basic.min.js")
    assert script.startswith("/**\n* plotly.js (basic - minified) v4.1.1\n") and "MIT" in script[:200]
    assert hashlib.sha256(script.encode()).hexdigest() == PUBLISHED
    assert not re.search(r"</script|<!--|<script|\r", script, flags=re.IGNORECASE)


def test_a_page_is_below_two_megabytes(tmp_path: Path) -> None:
    """Of a large search: 200 configurations, ten folds of 300 epochs."""
    made = study_report(study(200, num_folds=10, epochs=300), tmp_path / "report.html")
    assert made.stat().st_size < 2_000_000
